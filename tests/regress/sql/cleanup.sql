-- cleanup_tasks, cleanup_events and cleanup_all_queues: what goes, in which order, and what stays.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set absurd.fake_now = '2026-01-01 00:00:00+00';
set intervalstyle = 'postgres';
select absurd.create_queue('cleanup');
-- One task that ends each second, by turns completed, failed and cancelled, with all that it can own.
create function pg_temp.ended(name text, how text, at timestamptz) returns void language plpgsql as $$
declare
    task uuid;
    run uuid;
begin
    perform set_config('absurd.fake_now', at::text, false);
    select task_id, run_id into task, run from absurd.spawn_task('cleanup', name, '{}', '{"max_attempts": 1}');
    perform absurd.claim_task('cleanup', 'w', 600, 100);
    perform absurd.set_task_checkpoint_state('cleanup', task, 'step', '1', run);
    insert into absurd.w_cleanup (task_id, run_id, step_name, event_name) values (task, run, 's', 'e');
    if how = 'completed' then
        perform absurd.complete_run('cleanup', run);
    elsif how = 'failed' then
        perform absurd.fail_run('cleanup', run, '1');
    elsif how = 'cancelled' then
        perform absurd.cancel_task('cleanup', task);
    end if;
end $$;
select count(*) from generate_series(1, 9) g, lateral (select pg_temp.ended('t' || g, (array['completed', 'failed', 'cancelled'])[1 + g % 3], timestamptz '2026-01-01 00:00:00+00' + make_interval(secs => g))) ended;
select pg_temp.ended('open', 'left running', '2026-01-01 00:00:00+00');
select count(*) from absurd.t_cleanup;

-- Oldest first, at most the limit, whichever way they ended; strictly older than the age.
set absurd.fake_now = '2026-01-01 01:00:05+00';
select absurd.cleanup_tasks('cleanup', 3600, 2);
select string_agg(task_name, ' ' order by enqueue_at, task_name) from absurd.t_cleanup;
select absurd.cleanup_tasks('cleanup', 3600);
select string_agg(task_name, ' ' order by enqueue_at, task_name) from absurd.t_cleanup;
select absurd.cleanup_tasks('cleanup', 3600);
select absurd.cleanup_tasks(p_queue_name => 'cleanup', p_ttl_seconds => 3599, p_limit => 100);
select string_agg(task_name, ' ' order by enqueue_at, task_name) from absurd.t_cleanup;
-- With everything of theirs, and nothing of others'.
select count(*) as tasks, (select count(*) from absurd.r_cleanup) as runs, (select count(*) from absurd.c_cleanup) as checkpoints,
       (select count(*) from absurd.r_cleanup where task_id not in (select task_id from absurd.t_cleanup)) as stray_runs,
       (select count(*) from absurd.c_cleanup where task_id not in (select task_id from absurd.t_cleanup)) as stray_checkpoints,
       (select count(*) from absurd.w_cleanup where task_id not in (select task_id from absurd.t_cleanup)) as stray_waits
  from absurd.t_cleanup;
-- Age zero takes all that has ended before now; an open task stays at any age.
set absurd.fake_now = '2036-01-01 00:00:00+00';
select absurd.cleanup_tasks('cleanup', 0);
select string_agg(task_name, ' ') from absurd.t_cleanup;
-- All attempts of a task go; a retried task stays.
select absurd.cancel_task('cleanup', task_id) from absurd.t_cleanup;
set absurd.fake_now = '2036-01-01 00:01:00+00';
select absurd.cleanup_tasks('cleanup', 0);
select task_id as task, run_id as run from absurd.spawn_task('cleanup', 'attempts', '{}', '{"max_attempts": 2}') \gset
select attempt from absurd.claim_task('cleanup', 'w');
select absurd.fail_run('cleanup', :'run', '1');
select run_id as run from absurd.claim_task('cleanup', 'w') \gset
select absurd.fail_run('cleanup', :'run', '2');
select attempt from absurd.retry_task('cleanup', :'task');
set absurd.fake_now = '2037-01-01 00:00:00+00';
select absurd.cleanup_tasks('cleanup', 0);
select run_id as run from absurd.claim_task('cleanup', 'w') \gset
select absurd.complete_run('cleanup', :'run');
set absurd.fake_now = '2037-01-01 00:00:01+00';
select absurd.cleanup_tasks('cleanup', 0);
select (select count(*) from absurd.t_cleanup) as tasks, (select count(*) from absurd.r_cleanup) as runs;

-- Events by emitted_at.
set absurd.fake_now = '2026-01-01 00:00:01+00';
select absurd.emit_event('cleanup', 'e1');
set absurd.fake_now = '2026-01-01 00:00:02+00';
select absurd.emit_event('cleanup', 'e2');
set absurd.fake_now = '2026-01-01 00:00:03+00';
select absurd.emit_event('cleanup', 'e3');
set absurd.fake_now = '2026-01-01 00:01:03+00';
select absurd.cleanup_events('cleanup', 60, 1);
select string_agg(event_name, ' ' order by event_name) from absurd.e_cleanup;
select absurd.cleanup_events('cleanup', 60);
select string_agg(event_name, ' ' order by event_name) from absurd.e_cleanup;
select absurd.cleanup_events('cleanup', 59);
select count(*) from absurd.e_cleanup;

-- Arguments.
select pg_temp.try($$select absurd.cleanup_tasks('cleanup', -1)$$);
select pg_temp.try($$select absurd.cleanup_tasks('cleanup', 0, 0)$$);
select pg_temp.try($$select absurd.cleanup_tasks('cleanup', 2147483647, 2147483647)$$);
select pg_temp.try($$select absurd.cleanup_events('cleanup', -1)$$);
select pg_temp.try($$select absurd.cleanup_events('cleanup', 0, -7)$$);
select pg_temp.try($$select absurd.cleanup_events('cleanup', 2147483647, 2147483647)$$);

-- By policy: each queue by its own, one batch a call.
select absurd.create_queue('cleanup two');
select absurd.set_queue_policy('cleanup', '{"cleanup_ttl": "1 hour", "cleanup_limit": 2}');
select pg_temp.ended('p1', 'completed', '2026-01-01 00:00:00+00'), pg_temp.ended('p2', 'failed', '2026-01-01 00:00:01+00'), pg_temp.ended('p3', 'cancelled', '2026-01-01 00:00:02+00');
set absurd.fake_now = '2026-01-01 00:00:00+00';
select absurd.emit_event('cleanup', 'p'), absurd.emit_event('cleanup two', 'p');
set absurd.fake_now = '2026-01-01 02:00:00+00';
select * from absurd.cleanup_all_queues('cleanup two');
select * from absurd.cleanup_all_queues() where queue_name like 'cleanup%';
select * from absurd.cleanup_all_queues(p_queue_name => 'cleanup');
select * from absurd.cleanup_all_queues('cleanup');
-- The other queue keeps its 30 days: still there at their end, gone after.
set absurd.fake_now = '2026-01-31 00:00:00+00';
select * from absurd.cleanup_all_queues('cleanup two');
set absurd.fake_now = '2026-01-31 00:00:01+00';
select * from absurd.cleanup_all_queues('cleanup two');
select pg_temp.try($$select * from absurd.cleanup_all_queues('cleanup nowhere')$$);
-- What one queue's row holds does not stop the cleanup of the others: a name too long to have tables,
-- an age that reaches back beyond all timestamps.
insert into absurd.queues (queue_name) values ('cleanup' || repeat('x', 60));
select pg_temp.try($$select * from absurd.cleanup_all_queues() where queue_name = 'cleanup two'$$);
select absurd.drop_queue('cleanup' || repeat('x', 60));
update absurd.queues set cleanup_ttl = '200000 years' where queue_name = 'cleanup';
select pg_temp.try($$select * from absurd.cleanup_all_queues() where queue_name = 'cleanup two'$$);
select absurd.drop_queue('cleanup'), absurd.drop_queue('cleanup two');
