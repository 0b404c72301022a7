-- complete_run, fail_run and schedule_run: what they store, what follows, what they refuse.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set intervalstyle = 'postgres';
set absurd.fake_now = '2026-01-01 00:00:00+00';
select absurd.create_queue('cf');
-- Spawns and claims one task; the ids come back.
create function pg_temp.started(options jsonb default '{}', out task uuid, out run uuid) language plpgsql as $$
begin
    select s.task_id, s.run_id into task, run from absurd.spawn_task('cf', 'n', '{}', options) s;
    perform 1 from absurd.claim_task('cf', 'w', 600, 100) c where c.run_id = run;
    if not found then
        raise exception 'the run was not handed out';
    end if;
end $$;
-- A task and its runs in one line each.
create function pg_temp.show(of_task uuid) returns setof text language sql as $$
    select format('task %s attempts=%s cancelled_at=%s', state, attempts, cancelled_at) from absurd.t_cf where task_id = of_task
    union all
    (select format('run %s %s available=%s %s', attempt, state, available_at, failure_reason) from absurd.r_cf where task_id = of_task order by attempt)
$$;

-- complete_run stores the payload on run and task and clears waits.
select * from pg_temp.started() \gset
insert into absurd.w_cf (task_id, run_id, step_name, event_name) values (:'task', :'run', 's', 'e');
set absurd.fake_now = '2026-01-01 00:00:05+00';
select absurd.complete_run('cf', :'run', '{"answer": 42}');
select state, completed_at, result from absurd.r_cf where run_id = :'run';
select state, completed_payload from absurd.t_cf where task_id = :'task';
select count(*) as waits from absurd.w_cf;
-- Once only; and not on what is not running.
select pg_temp.try(format('select absurd.complete_run(''cf'', %L)', :'run'));
select pg_temp.try(format('select absurd.fail_run(''cf'', %L, ''1'')', :'run'));
select pg_temp.try(format('select absurd.schedule_run(''cf'', %L, now())', :'run'));
select run_id as run from absurd.spawn_task('cf', 'pending', '{}', '{"delay_seconds": 9999999}') \gset
select pg_temp.try(format('select absurd.complete_run(''cf'', %L)', :'run'));
select pg_temp.try(format('select absurd.fail_run(''cf'', %L, ''1'')', :'run'));
select pg_temp.try(format('select absurd.schedule_run(''cf'', %L, now())', :'run'));
select state from absurd.r_cf where run_id = :'run';
-- A payload that is left out, or JSON null.
select * from pg_temp.started() \gset
select absurd.complete_run('cf', :'run');
select state, completed_payload is null as no_payload from absurd.t_cf where task_id = :'task';
select * from pg_temp.started() \gset
select absurd.complete_run('cf', :'run', 'null');
select state, completed_payload from absurd.t_cf where task_id = :'task';
-- A run whose lease is over, and which nobody has swept, may still complete.
select * from pg_temp.started() \gset
set absurd.fake_now = '2026-01-01 01:00:00+00';
select absurd.complete_run('cf', :'run', '"late"');
select completed_payload from absurd.t_cf where task_id = :'task';
-- Whatever non-final state the task shows.
select * from pg_temp.started() \gset
update absurd.t_cf set state = 'sleeping' where task_id = :'task';
select absurd.complete_run('cf', :'run');
select state from absurd.t_cf where task_id = :'task';

-- fail_run without a strategy: the next attempt at once.
set absurd.fake_now = '2026-01-02 00:00:00+00';
select * from pg_temp.started() \gset
insert into absurd.w_cf (task_id, run_id, step_name, event_name) values (:'task', :'run', 's', 'e');
select absurd.fail_run('cf', :'run', '{"name": "Oops"}');
select pg_temp.show(:'task');
select count(*) as waits from absurd.w_cf;
select last_attempt_run <> :'run' as points_to_the_next from absurd.t_cf where task_id = :'task';
select pg_temp.try(format('select absurd.fail_run(''cf'', %L, ''1'')', :'run'));
-- Every kind of strategy: the delay after the first attempt; fractions count.
create temp table strategy (id serial, strategy jsonb);
insert into strategy (strategy) values ('{"kind": "none", "base_seconds": 7}'), ('{}'), ('{"kind": null}'), ('{"kind": "fixed"}'), ('{"kind": "fixed", "base_seconds": 0}'), ('{"kind": "fixed", "base_seconds": 1.5}'),
    ('{"kind": "exponential"}'), ('{"kind": "exponential", "base_seconds": 10, "factor": 3}'), ('{"kind": "exponential", "base_seconds": 100, "max_seconds": 60}');
create temp table failed as
    select id, strategy, task, run from strategy, pg_temp.started(jsonb_build_object('retry_strategy', strategy));
select count(absurd.fail_run('cf', run, '1')) from failed;
select id, strategy, t.state, r.state, r.available_at - '2026-01-02 00:00:00+00' as delay
  from failed join absurd.t_cf t on task_id = task join absurd.r_cf r using (task_id) where r.attempt = 2 order by id;
-- Growth with the attempts, and its bounds.
select attempt, absurd.retry_delay_seconds('{"kind": "exponential"}', attempt) as doubling,
       absurd.retry_delay_seconds('{"kind": "exponential", "base_seconds": 1, "factor": 10, "max_seconds": 500}', attempt) as capped,
       absurd.retry_delay_seconds('{"kind": "exponential", "base_seconds": 8, "factor": 0.5}', attempt) as shrinking,
       absurd.retry_delay_seconds('{"kind": "exponential", "factor": 0}', attempt) as zero,
       absurd.retry_delay_seconds('{"kind": "fixed", "base_seconds": 7, "max_seconds": 1}', attempt) as fixed
  from unnest('{1,2,3,4,13,2147483647}'::int[]) attempt;
select absurd.retry_delay_seconds('{"kind": "exponential", "base_seconds": 0, "factor": 1e308}', 2147483647) as nothing,
       absurd.retry_delay_seconds('{"kind": "exponential"}', 0) as zeroth, absurd.retry_delay_seconds('{"kind": "exponential"}', -2147483648) as below,
       absurd.retry_delay_seconds('{"kind": "none"}', 3) as none;
select pg_temp.try($$select absurd.retry_delay_seconds('{"kind": "linear"}', 1)$$);
select pg_temp.try($$select absurd.retry_delay_seconds('[]', 1)$$);

-- p_retry_at beats the strategy, also when it lies in the past.
select * from pg_temp.started('{"retry_strategy": {"kind": "fixed"}}') \gset
select absurd.fail_run('cf', :'run', '1', '2026-01-02 05:00:00+00');
select pg_temp.show(:'task');
select * from pg_temp.started('{"retry_strategy": {"kind": "fixed"}}') \gset
select absurd.fail_run('cf', :'run', '1', '2025-12-31 00:00:00+00');
select t.state, r.state, attempt, r.available_at <= absurd.current_time() as ready from absurd.t_cf t join absurd.r_cf r using (task_id) where task_id = :'task' and attempt = 2;

-- Attempts run out: failed for good, with the last reason.
select * from pg_temp.started('{"max_attempts": 2}') \gset
select absurd.fail_run('cf', :'run', '"first"');
select run_id as run from absurd.claim_task('cf', 'w', 600, 100) where task_id = :'task' \gset
select absurd.fail_run('cf', :'run', '"second"', '2026-01-09 00:00:00+00');
select pg_temp.show(:'task');
select state, result, failure_reason from absurd.get_task_result('cf', :'task');

-- max_duration: what could only start too late is cancelled instead.
set absurd.fake_now = '2026-01-03 00:00:00+00';
select * from pg_temp.started('{"cancellation": {"max_duration": 60}, "retry_strategy": {"kind": "fixed", "base_seconds": 61}}') \gset
select absurd.fail_run('cf', :'run', '"late"');
select pg_temp.show(:'task');
select * from pg_temp.started('{"cancellation": {"max_duration": 60}, "retry_strategy": {"kind": "fixed", "base_seconds": 59}}') \gset
select absurd.fail_run('cf', :'run', '"in time"');
select pg_temp.show(:'task');
-- A stored strategy that cannot be followed fails the task for good.
select * from pg_temp.started('{"max_attempts": 9}') \gset
update absurd.t_cf set retry_strategy = '{"kind": "fixed", "base_seconds": -5}' where task_id = :'task';
select absurd.fail_run('cf', :'run', '"broken"');
select pg_temp.show(:'task');

-- fail_run takes a sleeping run, and a NULL reason is JSON null.
select * from pg_temp.started('{"max_attempts": 1}') \gset
select absurd.schedule_run('cf', :'run', '2026-02-01 00:00:00+00');
select absurd.fail_run('cf', :'run', null);
select t.state, r.state, jsonb_typeof(r.failure_reason) from absurd.t_cf t join absurd.r_cf r using (task_id) where task_id = :'task';

-- schedule_run: asleep until then, lease given up; claimed again afterwards as the same attempt.
select * from pg_temp.started() \gset
insert into absurd.w_cf (task_id, run_id, step_name, event_name) values (:'task', :'run', 's', 'stale');
update absurd.r_cf set event_payload = '"stale"', wake_event = 'stale' where run_id = :'run';
select absurd.schedule_run('cf', :'run', '2026-01-03 01:00:00+00');
select t.state, r.state, available_at, wake_event, event_payload, claim_expires_at from absurd.t_cf t join absurd.r_cf r using (task_id) where task_id = :'task';
select count(*) as stale_waits from absurd.w_cf where run_id = :'run';
select pg_temp.try(format('select absurd.schedule_run(''cf'', %L, now())', :'run'));
set absurd.fake_now = '2026-01-03 00:59:59+00';
select count(*) from absurd.claim_task('cf', 'w', 600, 100) where run_id = :'run';
set absurd.fake_now = '2026-01-03 01:00:00+00';
select attempt, wake_event, event_payload from absurd.claim_task('cf', 'w', 600, 100) where run_id = :'run';
-- Into the past: ready at once. For ever: never.
select absurd.schedule_run('cf', :'run', '2020-01-01');
select attempt from absurd.claim_task('cf', 'w', 600, 100) where run_id = :'run';
select absurd.schedule_run('cf', :'run', 'infinity');
select state, available_at from absurd.r_cf where run_id = :'run';

-- After a cancel: AB001 from all three; after a failure: AB002; unknown: not found.
select * from pg_temp.started() \gset
select absurd.cancel_task('cf', :'task');
select pg_temp.try(format('select absurd.complete_run(''cf'', %L)', :'run'));
select pg_temp.try(format('select absurd.fail_run(''cf'', %L, ''1'')', :'run'));
select pg_temp.try(format('select absurd.schedule_run(''cf'', %L, now())', :'run'));
select * from pg_temp.started() \gset
select absurd.fail_run('cf', :'run', '1');
select pg_temp.try(format('select absurd.complete_run(''cf'', %L)', :'run'));
select pg_temp.try(format('select absurd.fail_run(''cf'', %L, ''1'')', :'run'));
select pg_temp.try(format('select absurd.schedule_run(''cf'', %L, now())', :'run'));
select pg_temp.try(format('select absurd.complete_run(''cf'', %L)', :'task'));
select absurd.drop_queue('cf');
