-- A run that is paused: what is in the queue is worked, nothing new comes into it; what happens meanwhile takes its place when it is resumed.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set client_min_messages = error;
select absurd.create_queue('paused');
create function pg_temp.at(seconds int) returns void language sql as $$
  select set_config('absurd.fake_now', (timestamptz '2026-01-05 09:00:00+00' + make_interval(secs => seconds))::text, false) $$;
select pg_temp.at(0);
create function pg_temp.seen(run uuid) returns text language sql as $$
  select status || ': ' || (select string_agg(path || ' ' || state, ', ' order by path collate "C") from absurd.workflow_run_steps(run) s) from absurd.workflow_run where workflow_run_id = run $$;
create function pg_temp.work() returns text language plpgsql as $$
declare c record; paths text := '';
begin
  for i in 1..5 loop
    for c in select run_id, headers ->> 'workflow_step' as path from absurd.claim_task('paused', 'w', 600, 100) order by 2 loop
      paths := paths || ' ' || c.path;
      perform absurd.complete_run('paused', c.run_id, to_jsonb(c.path));
    end loop;
  end loop;
  return trim(paths);
end $$;
select count(*) from absurd.register_workflow('{"name": "paused_kid", "tasks": {"k": {"task_id": "k", "operator_type": "task", "function": "f"}, "l": {"task_id": "l", "operator_type": "task", "function": "f", "dependencies": ["k"]}}}', 'paused');
select count(*) from absurd.register_workflow('{"name": "paused_flow", "deadline_seconds": 600, "tasks": {"a": {"task_id": "a", "operator_type": "task", "function": "f"},
  "b": {"task_id": "b", "operator_type": "task", "function": "f", "dependencies": ["a"]},
  "w": {"task_id": "w", "operator_type": "wait", "wait_for": "PT10S"},
  "e": {"task_id": "e", "operator_type": "wait_for_event", "event_name": "e_{{run.id}}", "timeout_seconds": 30},
  "c": {"task_id": "c", "operator_type": "child_workflow", "children": {"one": {"workflow_name": "paused_kid"}}}}}', 'paused');
select absurd.start_workflow('paused_flow') as run \gset
select absurd.pause_workflow_run(:'run');
select absurd.pause_workflow_run(:'run');
select path, waiting_for ->> 'paused_since' as paused_since, waiting_for ? 'until' as until, waiting_for ? 'event' as event from absurd.workflow_run_steps(:'run') order by path;
-- Tasks of before are worked, with batches too; nothing comes after them, no timer fires, and no event is heard.
select pg_temp.work();
select pg_temp.at(20);
select absurd.emit_event('paused', 'e_' || :'run', '1');
select absurd.advance_timers('paused');
select pg_temp.work();
select pg_temp.seen(:'run');
select count(*) as open_tasks from absurd.t_paused where state not in ('completed');
-- It cannot be moved by hand, nor can its children be paused by themselves; of others' nothing is held up.
select pg_temp.try(format('select absurd.%s', call)) from (values (format('skip_step(%L, ''b'')', :'run')), (format('fail_step(%L, ''b'')', :'run')), (format('add_workflow_items(%L, ''b'', ''[]'')', :'run')), (format('retry_workflow_run(%L)', :'run'))) v (call);
select pg_temp.try(format('select absurd.pause_workflow_run(%L)', workflow_run_id)) from absurd.workflow_run where parent_run_id = :'run';
select absurd.start_workflow('paused_flow') as other \gset
select pg_temp.work();
-- Resumed: the event came before the step's time was over, though it is now.
select pg_temp.at(100);
select absurd.resume_workflow_run(:'run');
select pg_temp.seen(:'run');
select pg_temp.work();
select pg_temp.seen(:'run');
-- A deadline that passes meanwhile ends the run when it is resumed; who resumes twice is told.
select absurd.start_workflow('paused_flow') as other \gset
select absurd.pause_workflow_run(:'other');
select pg_temp.at(1000);
select absurd.advance_timers('paused');
select status from absurd.workflow_run where workflow_run_id = :'other';
select absurd.resume_workflow_run(:'other');
select status, error ->> 'name' as error from absurd.workflow_run where workflow_run_id = :'other';
select pg_temp.try(format('select absurd.%s(%L)', verb, :'other')) from unnest(array['pause_workflow_run', 'resume_workflow_run']) verb;
select pg_temp.try('select absurd.pause_workflow_run(''00000000-0000-0000-0000-000000000000'')');
-- It can be cancelled, and retried, when it is paused no longer.
select absurd.start_workflow('paused_flow') as run \gset
select absurd.pause_workflow_run(:'run');
select absurd.cancel_workflow_run(:'run');
select absurd.retry_workflow_run(:'run');
select pg_temp.work();
select absurd.cancel_workflow_run(:'run');
-- An attempt that fails, and one that runs out of its time.
select count(*) from absurd.register_workflow('{"name": "paused_tries", "tasks": {"a": {"task_id": "a", "operator_type": "task", "function": "f", "retry_policy": {"max_retries": 2, "delay": 0}, "timeout_policy": {"timeout": 5}},
  "b": {"task_id": "b", "operator_type": "task", "function": "f", "dependencies": ["a"]}}}', 'paused');
select absurd.start_workflow('paused_tries') as run \gset
select absurd.pause_workflow_run(:'run');
select absurd.fail_run('paused', run_id, '{"name": "Once"}') from absurd.claim_task('paused', 'w');
select count(*) as claimed from absurd.claim_task('paused', 'w');
select pg_temp.at(1010);
select run_id as claimed, attempt from absurd.claim_task('paused', 'w') \gset
select :attempt as attempt;
select absurd.complete_runs('paused', array[:'claimed'::uuid]);
select pg_temp.seen(:'run');
select absurd.resume_workflow_run(:'run');
select pg_temp.work();
select pg_temp.seen(:'run');
-- One that waits its turn lets the next have it.
select count(*) from absurd.register_workflow('{"name": "paused_line", "max_active_runs": 1, "tasks": {"a": {"task_id": "a", "operator_type": "task", "function": "f"}}}', 'paused');
create temp table line as select n, absurd.start_workflow('paused_line', p_options => '{"respect_max_active_runs": true}') as id from generate_series(1, 3) n;
select absurd.pause_workflow_run(id) from line where n = 2;
select pg_temp.work();
select pg_temp.at(1100);
select pg_temp.work();
select n, status from line join absurd.workflow_run on workflow_run_id = id order by n;
select absurd.resume_workflow_run(id) from line where n = 2;
select pg_temp.at(1200);
select absurd.advance_timers('paused') >= 0 as advanced;
select pg_temp.work();
select n, status from line join absurd.workflow_run on workflow_run_id = id order by n;
select (select count(*) from absurd.workflow_stimulus) as stimuli, (select count(*) from absurd.workflow_timer) as timers, (select count(*) from absurd.workflow_wait) as waits;
select * from absurd.verify('paused');
select absurd.drop_queue('paused');
