-- retry_task, in place and as a new task; cancel_task, by the task's id and by a run's.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set intervalstyle = 'postgres';
set absurd.fake_now = '2026-01-01 00:00:00+00';
select absurd.create_queue('rc');
create function pg_temp.failed(options jsonb default '{"max_attempts": 1}', out task uuid, out run uuid) language plpgsql as $$
begin
    select s.task_id, s.run_id into task, run from absurd.spawn_task('rc', 'n', '{"p": 1}', options) s;
    perform absurd.claim_task('rc', 'w', 600, 100);
    perform absurd.fail_run('rc', run, '"why"');
end $$;

-- In place: one more attempt, pending now, and a fresh start for max_duration.
select * from pg_temp.failed('{"max_attempts": 1, "headers": {"h": 1}, "cancellation": {"max_duration": 60, "max_delay": 30}}') \gset
set absurd.fake_now = '2026-01-01 02:00:00+00';
select task_id = :'task' as same_task, run_id <> :'run' as new_run, run_id as run2, attempt, created from absurd.retry_task('rc', :'task') \gset retry_
select :'retry_same_task' as same_task, :'retry_new_run' as new_run, :retry_attempt as attempt, :'retry_created' as created;
select state, attempts, max_attempts, first_started_at, last_attempt_run = :'retry_run2' as points_to_new from absurd.t_rc where task_id = :'task';
select attempt, state, available_at, failure_reason from absurd.r_rc where task_id = :'task' order by 1;
select attempt, task_name, params, headers, max_attempts from absurd.claim_task('rc', 'w', 600);
set absurd.fake_now = '2026-01-01 02:00:59+00';
select absurd.complete_run('rc', :'retry_run2', '"at last"');
select state, result, failure_reason from absurd.get_task_result('rc', :'task');
-- max_duration counts from the new start.
select * from pg_temp.failed('{"max_attempts": 1, "cancellation": {"max_duration": 60}}') \gset
set absurd.fake_now = '2026-01-01 03:00:00+00';
select attempt from absurd.retry_task('rc', :'task');
select attempt from absurd.claim_task('rc', 'w', 600);
set absurd.fake_now = '2026-01-01 03:00:59+00';
select count(*) from absurd.claim_task('rc', 'w', 600);
select state from absurd.t_rc where task_id = :'task';
set absurd.fake_now = '2026-01-01 03:01:00+00';
select count(*) from absurd.claim_task('rc', 'w', 600);
select state from absurd.t_rc where task_id = :'task';

-- max_attempts must exceed the attempts made.
select * from pg_temp.failed() \gset
select pg_temp.try(format('select * from absurd.retry_task(''rc'', %L, ''{"max_attempts": 1}'')', :'task'));
select pg_temp.try(format('select * from absurd.retry_task(''rc'', %L, ''{"max_attempts": 0}'')', :'task'));
select pg_temp.try(format('select * from absurd.retry_task(''rc'', %L, ''{"max_attempts": 2.5}'')', :'task'));
select pg_temp.try(format('select * from absurd.retry_task(''rc'', %L, ''{"max_attempts": "3"}'')', :'task'));
select pg_temp.try(format('select * from absurd.retry_task(''rc'', %L, ''{"spawn_new": 1}'')', :'task'));
select pg_temp.try(format('select * from absurd.retry_task(''rc'', %L, ''[]'')', :'task'));
select state, attempts, max_attempts from absurd.t_rc where task_id = :'task';
select count(*) from absurd.r_rc where task_id = :'task';
select attempt, created from absurd.retry_task('rc', :'task', '{"max_attempts": 5}');
select state, attempts, max_attempts from absurd.t_rc where task_id = :'task';

-- Only failed tasks.
select pg_temp.try(format('select * from absurd.retry_task(''rc'', %L)', :'task'));
select count(*) from absurd.claim_task('rc', 'w', 600, 100);
select pg_temp.try(format('select * from absurd.retry_task(''rc'', %L)', :'task'));
select absurd.cancel_task('rc', :'task');
select pg_temp.try(format('select * from absurd.retry_task(''rc'', %L)', :'task'));
select pg_temp.try(format('select * from absurd.retry_task(''rc'', %L, ''{"spawn_new": true}'')', :'task'));
select pg_temp.try($$select * from absurd.retry_task('rc', '00000000-0000-7000-8000-000000000000')$$);

-- spawn_new: another task from the same inputs; the failed one stays.
select * from pg_temp.failed('{"max_attempts": 1, "headers": {"h": 2}, "retry_strategy": {"kind": "fixed"}, "cancellation": {"max_delay": 900}, "idempotency_key": "key", "tenant_id": "acme"}') \gset
set absurd.fake_now = '2026-01-01 04:00:00+00';
select task_id as new_task, run_id as new_run, attempt, created from absurd.retry_task('rc', :'task', '{"spawn_new": true}') \gset
select :attempt as attempt, :'created' as created, :'new_task' <> :'task' as another_task, :'new_run' <> :'run' as another_run;
select task_name, params, headers, retry_strategy, max_attempts, cancellation, state, attempts, enqueue_at, idempotency_key, tenant_id from absurd.t_rc where task_id = :'new_task';
select attempt, state, available_at from absurd.r_rc where task_id = :'new_task';
select state, attempts from absurd.t_rc where task_id = :'task';
select task_id = :'task' as key_stays_with_the_first, created from absurd.spawn_task('rc', 'n', '{}', '{"idempotency_key": "key"}');
select task_id as new_task from absurd.retry_task('rc', :'task', '{"spawn_new": true, "max_attempts": 7}') \gset
select max_attempts from absurd.t_rc where task_id = :'new_task';

-- cancel_task: pending, running and sleeping tasks, with their open runs and waits.
truncate absurd.t_rc, absurd.r_rc, absurd.c_rc, absurd.e_rc, absurd.w_rc;
select task_id as task from absurd.spawn_task('rc', 'pending', '{}', '{"delay_seconds": 999}') \gset
select absurd.cancel_task('rc', :'task');
select t.state, cancelled_at, r.state from absurd.t_rc t join absurd.r_rc r using (task_id) where task_id = :'task';
-- Again: nothing, said with false.
set absurd.fake_now = '2026-01-01 05:00:00+00';
select absurd.cancel_task('rc', :'task');
select cancelled_at from absurd.t_rc where task_id = :'task';
select task_id as task, run_id as run from absurd.spawn_task('rc', 'running', '{}') \gset
select task_name from absurd.claim_task('rc', 'w', 600);
select absurd.cancel_task('rc', :'task');
select t.state, r.state from absurd.t_rc t join absurd.r_rc r using (task_id) where task_id = :'task';
select pg_temp.try(format('select absurd.complete_run(''rc'', %L)', :'run'));
select task_id as task, run_id as run from absurd.spawn_task('rc', 'sleeping', '{}') \gset
select task_name from absurd.claim_task('rc', 'w', 600);
select should_suspend from absurd.await_event('rc', :'task', :'run', 's', 'e');
select absurd.cancel_task('rc', :'task');
select t.state, r.state, wake_event from absurd.t_rc t join absurd.r_rc r using (task_id) where task_id = :'task';
select count(*) as waits from absurd.w_rc;
select absurd.emit_event('rc', 'e');
select count(*) as revived from absurd.claim_task('rc', 'w', 600, 100);
-- By a run's id, also that of an earlier attempt.
select task_id as task, run_id as run from absurd.spawn_task('rc', 'by run', '{}') \gset
select task_name from absurd.claim_task('rc', 'w', 600);
select absurd.fail_run('rc', :'run', '1');
select absurd.cancel_task('rc', :'run');
select t.state, array_agg(r.state order by attempt) from absurd.t_rc t join absurd.r_rc r using (task_id) where task_id = :'task' group by 1;
select absurd.cancel_task('rc', :'run');
-- A terminal task is left alone.
select task_id as task, run_id as run from absurd.spawn_task('rc', 'done', '{}') \gset
select task_name from absurd.claim_task('rc', 'w', 600);
select absurd.complete_run('rc', :'run');
select absurd.cancel_task('rc', :'task'), absurd.cancel_task('rc', :'run');
select state, cancelled_at from absurd.t_rc where task_id = :'task';
select * from pg_temp.failed() \gset
select absurd.cancel_task('rc', :'task');
select state from absurd.t_rc where task_id = :'task';
select pg_temp.try($$select absurd.cancel_task('rc', '00000000-0000-7000-8000-000000000000')$$);
-- Nothing else was touched.
select state, count(*) from absurd.t_rc group by 1 order by 1;
select absurd.drop_queue('rc');
