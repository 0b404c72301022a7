-- get_task_result: what a task has come to, in every state.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set absurd.fake_now = '2026-01-01 00:00:00+00';
set intervalstyle = 'postgres';
select absurd.create_queue('result');
select task_id as task, run_id as run from absurd.spawn_task('result', 'n', '{}', '{"max_attempts": 2}') \gset
select task_id = :'task' as task, state, result, failure_reason from absurd.get_task_result('result', :'task');
select attempt from absurd.claim_task('result', 'w');
select state, result, failure_reason from absurd.get_task_result('result', :'task');
select absurd.schedule_run('result', :'run', '2026-01-01 00:00:00+00');
select state, result, failure_reason from absurd.get_task_result('result', :'task');
select attempt from absurd.claim_task('result', 'w');
-- A failed attempt is not a failed task.
select absurd.fail_run('result', :'run', '{"name": "first"}');
select state, result, failure_reason from absurd.get_task_result('result', :'task');
select run_id as run from absurd.claim_task('result', 'w') \gset
select absurd.fail_run('result', :'run', '{"name": "last"}');
select state, result, failure_reason from absurd.get_task_result('result', :'task');
-- Revived: no reason any more; completed: the result and no reason.
select run_id as run from absurd.retry_task('result', :'task') \gset
select state, result, failure_reason from absurd.get_task_result('result', :'task');
select attempt from absurd.claim_task('result', 'w');
select absurd.complete_run('result', :'run', '[1, 2]');
select state, result, failure_reason from absurd.get_task_result('result', :'task');
-- Completed with JSON null and with nothing.
select task_id as task, run_id as run from absurd.spawn_task('result', 'n', '{}') \gset
select attempt from absurd.claim_task('result', 'w');
select absurd.complete_run('result', :'run', 'null');
select state, jsonb_typeof(result) as type, failure_reason from absurd.get_task_result('result', :'task');
select task_id as task, run_id as run from absurd.spawn_task('result', 'n', '{}') \gset
select attempt from absurd.claim_task('result', 'w');
select absurd.complete_run('result', :'run');
select state, jsonb_typeof(result) as type, failure_reason from absurd.get_task_result('result', :'task');
-- Cancelled: neither, also after a failed attempt.
select task_id as task, run_id as run from absurd.spawn_task('result', 'n', '{}') \gset
select attempt from absurd.claim_task('result', 'w');
select absurd.fail_run('result', :'run', '"why"');
select absurd.cancel_task('result', :'task');
select state, result, failure_reason from absurd.get_task_result('result', :'task');
-- Unknown, or another's id: no row.
select count(*) from absurd.get_task_result('result', '00000000-0000-7000-8000-000000000000');
select count(*) from absurd.get_task_result('result', :'run');
select absurd.drop_queue('result');
