-- Partitioned queues: what they are made of, every verb on them, and how time cuts them.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set absurd.fake_now = '2026-12-30 12:00:00+00';
select absurd.create_queue('parts', 'partitioned');
-- Again with the same mode: no effect. With another: refused.
select absurd.create_queue('parts', 'partitioned');
select pg_temp.try($$select absurd.create_queue('parts')$$);
-- Five weeks from the one of now, across the 53rd week of 2026, and the default ones.
create view parts as
select regexp_replace(p.relname, '^(.)_.*_', '\1 ') as part, pg_get_expr(p.relpartbound, p.oid) as bound
  from pg_inherits i join pg_class p on p.oid = i.inhrelid join pg_class t on t.oid = i.inhparent
 where t.relname in ('t_parts', 'r_parts', 'c_parts', 'w_parts');
select string_agg(part, ', ' order by part) from parts;
select part, absurd.uuidv7_timestamp(substring(bound from $$FROM \('([^']+)$$)::uuid) as from_week, absurd.uuidv7_timestamp(substring(bound from $$TO \('([^']+)$$)::uuid) as to_week
  from parts where part like 't %' order by 2;
\d absurd.t_parts
\d absurd.r_parts
\d absurd.i_parts
-- The verbs.
select created from absurd.spawn_task('parts', 'one', '{"n": 1}', '{"idempotency_key": "k", "max_attempts": 2}');
select created from absurd.spawn_task('parts', 'one', '{"n": 2}', '{"idempotency_key": "k"}');
select idempotency_key, (select task_name from absurd.t_parts t where t.task_id = i.task_id) from absurd.i_parts i;
select task_id as task, run_id as run, params from absurd.claim_task('parts', 'w', 60) \gset
select :'params' as params;
select absurd.set_task_checkpoint_state('parts', :'task', 'step', '1', :'run', 60);
select * from absurd.await_event('parts', :'task', :'run', 'wait', 'go', 60);
select absurd.emit_event('parts', 'go', '"now"');
select event_payload from absurd.claim_task('parts', 'w', 60);
select absurd.fail_run('parts', :'run', '"first"');
select run_id as run, attempt from absurd.claim_task('parts', 'w', 60) \gset
select absurd.extend_claim('parts', :'run', 90);
select absurd.schedule_run('parts', :'run', '2026-12-30 12:01:00+00');
set absurd.fake_now = '2026-12-30 12:01:00+00';
select run_id = :'run' as same, attempt from absurd.claim_task('parts', 'w', 60);
select checkpoint_name, state from absurd.get_task_checkpoint_states('parts', :'task', :'run');
select absurd.complete_run('parts', :'run', '"done"');
select state, result from absurd.get_task_result('parts', :'task');
select task_id as task from absurd.spawn_task('parts', 'two', '{}', '{"max_attempts": 1}') \gset
select run_id as run from absurd.claim_task('parts', 'w', 60) \gset
select absurd.fail_run('parts', :'run', '"over"');
select attempt, created from absurd.retry_task('parts', :'task');
select attempt, created from absurd.spawn_task('parts', 'three', null, '{"cancellation": {"max_delay": 10}}');
select absurd.cancel_task('parts', :'task');
set absurd.fake_now = '2026-12-30 12:02:00+00';
select count(*) from absurd.claim_task('parts', 'w', 60, 10);
select task_name, state from absurd.t_parts order by enqueue_at;
-- Everything of an ended task goes, its key too.
select absurd.cleanup_tasks('parts', 0);
set absurd.fake_now = '2026-12-30 12:03:00+00';
select absurd.cleanup_tasks('parts', 0), absurd.cleanup_events('parts', 0);
select (select count(*) from absurd.t_parts) as t, (select count(*) from absurd.r_parts) as r, (select count(*) from absurd.c_parts) as c,
       (select count(*) from absurd.w_parts) as w, (select count(*) from absurd.i_parts) as i, (select count(*) from absurd.e_parts) as e;
select created from absurd.spawn_task('parts', 'again', '{}', '{"idempotency_key": "k"}');
select tableoid::regclass from absurd.t_parts;
-- Rows that a week lacks its partition for lie in the default one, and move when the week is made (D12).
set absurd.fake_now = '2027-06-01 00:00:00+00';
select count(*) from generate_series(1, 3) n, absurd.spawn_task('parts', 'late ' || n, '{}', jsonb_build_object('idempotency_key', n::text));
select tableoid::regclass, count(*) from absurd.t_parts group by 1 order by 1;
select absurd.ensure_partitions('parts');
select tableoid::regclass, count(*) from absurd.t_parts group by 1 order by 1;
select tableoid::regclass, count(*) from absurd.r_parts group by 1 order by 1;
select absurd.ensure_partitions('parts');
select count(*) from absurd.claim_task('parts', 'w', 60, 10);
-- A year of weeks.
select absurd.set_queue_policy('parts', '{"partition_lookahead": "364 days", "partition_lookback": "0"}');
select absurd.ensure_partitions();
select count(*) from parts where part like 't %' and part <> 't d';
-- Without a default partition a week that is missing is an error; with one that holds rows it cannot go.
select absurd.set_queue_policy('parts', '{"default_partition": "disabled"}');
select string_agg(part, ', ' order by part) from parts where part like '% d';
set absurd.fake_now = '2029-01-01 00:00:00+00';
select pg_temp.try($$select absurd.spawn_task('parts', 'nowhere', '{}')$$);
select absurd.set_queue_policy('parts', '{"default_partition": "enabled"}');
select string_agg(part, ', ' order by part) from parts where part like '% d';
select pg_temp.try($$select absurd.spawn_task('parts', 'somewhere', '{}')$$);
select pg_temp.try($$select absurd.set_queue_policy('parts', '{"default_partition": "disabled"}')$$);
select default_partition from absurd.get_queue_policy('parts');
-- A tag comes back after ten years, and is noticed (D13); other queues get their partitions all the same.
select absurd.create_queue('parts too', 'partitioned');
set absurd.fake_now = '2036-12-24 00:00:00+00';
select absurd.ensure_partitions('parts');
\set VERBOSITY terse
select absurd.ensure_partitions();
\set VERBOSITY default
select count(*) from pg_inherits where inhparent = 'absurd."t_parts too"'::regclass;
select absurd.set_queue_policy('parts too', '{"partition_lookahead": "4000 days"}');
select pg_temp.try($$select absurd.ensure_partitions('parts too')$$);
-- Unpartitioned and unknown queues.
select absurd.create_queue('whole');
select absurd.ensure_partitions('whole');
select pg_temp.try($$select absurd.ensure_partitions('nobody')$$);
select pg_temp.try($$select absurd.set_queue_policy('whole', '{"default_partition": "disabled"}')$$);
-- Names of weeks belong to their queue, in either direction.
select pg_temp.try($$select absurd.create_queue('parts_601')$$);
select pg_temp.try($$select absurd.create_queue('parts_d', 'partitioned')$$);
select pg_temp.try($$select absurd.create_queue('parts_x')$$);
select absurd.create_queue('whole_601');
select pg_temp.try($$select absurd.create_queue('whole', 'partitioned')$$);
select absurd.drop_queue('whole');
select pg_temp.try($$select absurd.create_queue('whole', 'partitioned')$$);
-- A dropped queue takes its partitions along, those that were detached too.
alter table absurd.t_parts detach partition absurd.t_parts_653;
select absurd.drop_queue('parts');
select absurd.drop_queue('parts too');
select relname from pg_class where relnamespace = 'absurd'::regnamespace and relname ~ '^._parts' and relname !~ '_parts_x' order by 1;
select absurd.drop_queue('parts_x');
select absurd.drop_queue('whole_601');
drop view parts;
