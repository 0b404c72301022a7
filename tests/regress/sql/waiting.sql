-- What the steps of a run wait for, what went wrong last, who waits for an event; and a join that ends the inputs it was decided without.
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set absurd.fake_now = '2026-01-05 09:00:00+00';
select absurd.create_queue('waiting');
create function pg_temp.reg(name text, tasks jsonb) returns void language sql as $$
  select count(*) from absurd.register_workflow(jsonb_build_object('name', name, 'tasks', tasks), 'waiting') $$;
select pg_temp.reg('waiting_kid', '{"w": {"task_id": "w", "operator_type": "wait", "wait_for": "P1D"}}');
select pg_temp.reg('waiting_all', '{
  "queued": {"task_id": "queued", "operator_type": "task", "function": "nobody"},
  "backoff": {"task_id": "backoff", "operator_type": "task", "function": "f", "retry_policy": {"max_retries": 5, "delay": "PT1H"}},
  "worked": {"task_id": "worked", "operator_type": "task", "function": "g"},
  "event": {"task_id": "event", "operator_type": "wait_for_event", "event_name": "paid_77", "timeout_seconds": 90},
  "timer": {"task_id": "timer", "operator_type": "wait", "wait_for": "P3D"},
  "child": {"task_id": "child", "operator_type": "child_workflow", "children": {"k": {"workflow_name": "waiting_kid"}}},
  "late": {"task_id": "late", "operator_type": "join", "join_tasks": ["timer"], "timeout_policy": {"timeout": 30}},
  "not_yet": {"task_id": "not_yet", "operator_type": "task", "function": "h", "dependencies": ["queued"]}}');
select absurd.start_workflow('waiting_all') as run \gset
create temporary table held as select * from absurd.claim_task('waiting', 'worker 1', 60, 3);
select absurd.fail_run('waiting', run_id, '{"name": "Http503", "message": "try later"}') from held where task_name = 'f';
select absurd.schedule_run('waiting', run_id, absurd.current_time()) from held where task_name = 'nobody';
select path, state, replace(waiting_for::text, (select workflow_run_id from absurd.workflow_run where parent_run_id = :'run')::text, '<child>') as waiting_for, last_error
  from absurd.workflow_run_steps(:'run') order by path;
select workflow_name, path, queue_name, event_name, timeout_at from absurd.list_event_waits('paid_77');
select count(*) from absurd.list_event_waits('paid_77', 'nowhere');
select count(*) from absurd.list_event_waits(p_queue_name => 'waiting');
-- A task's worker that awaits an event.
select absurd.await_event('waiting', task_id, run_id, 's', 'shipped') from held where task_name = 'g';
select path, waiting_for from absurd.workflow_run_steps(:'run') where path = 'worked';
-- Who may not read the queue's tables sees what the engine itself knows, of runs that it sees.
create role waiting_viewer;
grant usage on schema absurd to waiting_viewer;
set role waiting_viewer;
select count(*) from absurd.list_event_waits();
reset role;
grant select on absurd.workflow_run to waiting_viewer;
set role waiting_viewer;
select path, waiting_for is not null as waits, last_error from absurd.workflow_run_steps(:'run') order by path;
select count(*) from absurd.list_event_waits();
reset role;
-- Nothing holds up what has ended.
select absurd.cancel_workflow_run(:'run') > 0 as cancelled;
select count(*) filter (where waiting_for is not null) as waiting, count(*) filter (where last_error is not null) as errors from absurd.workflow_run_steps(:'run');
select count(*) from absurd.list_event_waits();

-- A join that ends the inputs it was decided without: events, tasks, containers and children; what has not begun, too. Not by default.
create function pg_temp.seen(run uuid) returns text language sql as $$
  select status || ': ' || (select string_agg(path || ' ' || state, ', ' order by path) from absurd.workflow_run_steps(run) s) from absurd.workflow_run where workflow_run_id = run $$;
select pg_temp.reg('waiting_first', '{
  "win": {"task_id": "win", "operator_type": "wait_for_event", "event_name": "win_{{run.id}}"},
  "event": {"task_id": "event", "operator_type": "wait_for_event", "event_name": "lose_{{run.id}}"},
  "task": {"task_id": "task", "operator_type": "task", "function": "f"},
  "loop": {"task_id": "loop", "operator_type": "foreach", "items": "[1, 2]", "loop_body": [{"task_id": "body", "operator_type": "task", "function": "f"}]},
  "child": {"task_id": "child", "operator_type": "child_workflow", "children": {"k": {"workflow_name": "waiting_kid"}}},
  "next": {"task_id": "next", "operator_type": "task", "function": "f", "dependencies": ["task"]},
  "j": {"task_id": "j", "operator_type": "join", "join_tasks": ["win", "event", "task", "loop", "child", "next"], "join_mode": "any_of", "metadata": {"absurd": {"cancel_losers": "{{ends}}"}}}}');
select absurd.start_workflow('waiting_first', p_inputs => '{"ends": true}') as run \gset
select absurd.emit_event('waiting', 'win_' || :'run');
select pg_temp.seen(:'run');
select count(*) as open_tasks from absurd.t_waiting where state in ('pending', 'running', 'sleeping') and workflow_run_id in (select workflow_run_id from absurd.workflow_run where root_run_id = :'run');
select status from absurd.workflow_run where parent_run_id = :'run';
select (select count(*) from absurd.workflow_wait) as waits, (select count(*) from absurd.workflow_timer) as timers;
select absurd.start_workflow('waiting_first', p_inputs => '{"ends": false}') as run \gset
select absurd.emit_event('waiting', 'win_' || :'run');
select pg_temp.seen(:'run');
select absurd.cancel_workflow_run(:'run') > 0 as cancelled;
-- Also where the join fails by the first input.
select pg_temp.reg('waiting_fails', '{
  "bad": {"task_id": "bad", "operator_type": "condition", "condition": "1 / 0 > 0"},
  "event": {"task_id": "event", "operator_type": "wait_for_event", "event_name": "lose_{{run.id}}"},
  "j": {"task_id": "j", "operator_type": "join", "join_tasks": ["bad", "event"], "join_mode": "all_success", "metadata": {"absurd": {"cancel_losers": true}}}}');
select absurd.start_workflow('waiting_fails') as run \gset
select pg_temp.seen(:'run');
-- What is no option of the engine's is refused.
select pg_temp.reg('waiting_wrong', '{"a": {"task_id": "a", "operator_type": "task", "function": "f", "metadata": {"absurd": {"cancel_losers": true}}}}');
select pg_temp.reg('waiting_wrong', '{"a": {"task_id": "a", "operator_type": "task", "function": "f", "metadata": {"absurd": {"max_lost": 3}}}}');
select absurd.drop_queue('waiting');
drop owned by waiting_viewer;
drop role waiting_viewer;
