-- What comes due: waits, timeouts, deadlines; by advance_timers, and by the claims of workers alone.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
\set include :tests '/include/worker.sql'
\i :include
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set absurd.fake_now = '2026-01-01 10:00:00+00';
delete from absurd.workflow_run;
select absurd.create_queue('timers'), absurd.create_queue('timers two');

-- Waits in every notation: when they wake.
select pg_temp.register('timers', 'wakes', '[{"task_id": "w", "operator_type": "wait", "wait_for": "{{t}}"}]');
create temp table woken as
select i, t, absurd.start_workflow('wakes', p_inputs => jsonb_build_object('t', t)) as run
  from unnest('{90,"\"1.5\"","\"PT1M30S\"","\"P1Y\"","\"P1DT12H\"","\"P1M\"","\"P1W\"","\"duration:5m\"","\"duration:5\"","\"datetime:2026-01-02T00:00:00\"","\"2026-01-02\"","\"2026-01-01T12:00:00+01:00\"","\"time:11:00:00\"","\"time:09:00:00\"","\"-PT5S\"","\"2025-01-01T00:00:00Z\"","\"in a while\"","null"}'::jsonb[]) with ordinality v (t, i);
select t, due_at, state, error ->> 'name' as error, error ->> 'message' as message from woken left join absurd.workflow_timer on workflow_run_id = run, absurd.workflow_run_steps(run) order by i;
select count(absurd.cancel_workflow_run(workflow_run_id)) as cancelled from absurd.workflow_run where status = 'running';
select count(*) as left_of_cancelled_runs from absurd.workflow_timer;

-- Not before, and at the instant; in one queue, in all, as many as asked for.
select pg_temp.register('timers', 'minute', '[{"task_id": "w", "operator_type": "wait", "wait_for": "PT1M", "result_key": "woke"}, {"task_id": "after", "operator_type": "task", "function": "f", "dependencies": ["w"], "args": ["{{woke}}"]}]');
select count(absurd.start_workflow('minute', p_queue_name => queue)) from (values ('timers'), ('timers'), ('timers'), ('timers two')) v (queue);
set absurd.fake_now = '2026-01-01 10:00:59.999999+00';
select absurd.advance_timers();
set absurd.fake_now = '2026-01-01 10:01:00+00';
select absurd.advance_timers('timers', 2) as two, absurd.advance_timers('timers') as rest, absurd.advance_timers('timers') as none, absurd.advance_timers() as other_queue;
select path, params from pg_temp.ready('timers');
select count(*) from pg_temp.ready('timers two');
select pg_temp.try('select absurd.advance_timers(' || call || ')') from (values ('''nowhere'''), ('''timers'', 0'), ('null, -1')) v (call);
-- Claims alone: one fires what is due and hands out what follows.
select count(absurd.start_workflow('minute')) from generate_series(1, 3);
set absurd.fake_now = '2026-01-01 10:02:00+00';
create function pg_temp.claims(queue text, times int) returns bigint language plpgsql as $$
declare
    claimed bigint := 0;
begin
    for i in 1 .. times loop
        claimed := claimed + (select count(*) from pg_temp.ready(queue));
    end loop;
    return claimed;
end $$;
select pg_temp.claims('timers', 10) as claimed;
select count(*) as left_to_fire from absurd.workflow_timer where due_at <= absurd.current_time();

-- The timeout of an event, of a parallel, of its join task, of a choice, of children, of any operator by its policy.
\set branch '"branches": {"b": ["i"]}, "branch_workflows": {"b": {"name": "x_b", "tasks": {"i": {"task_id": "i", "operator_type": "task", "function": "f"}}}}'
select pg_temp.register('timers', 'kid', '[{"task_id": "i", "operator_type": "task", "function": "f"}]');
select pg_temp.register('timers', name, steps::jsonb) from (values
    ('t_event', '[{"task_id": "x", "operator_type": "wait_for_event", "event_name": "never", "timeout_seconds": 60, "on_failure_task_id": "late"}, {"task_id": "late", "operator_type": "task", "function": "f", "args": ["{{error.name}}", "{{failed_task_id}}"]}]'),
    ('t_parallel', '[{"task_id": "x", "operator_type": "parallel", "timeout": 60, ' || :'branch' || '}]'),
    ('t_join', '[{"task_id": "x", "operator_type": "parallel", ' || :'branch' || '}, {"task_id": "j", "operator_type": "task", "function": "tools.workflow.wait_for_parallel_branches", "args": ["{{x}}"], "kwargs": {"timeout_seconds": 60}, "dependencies": ["x"]}]'),
    ('t_choice', '[{"task_id": "x", "operator_type": "multi_choice", "timeout": 60, "branches": {"b": {"condition": "true", "tasks": ["i"]}}, "branch_workflows": {"b": {"name": "x_b", "tasks": {"i": {"task_id": "i", "operator_type": "task", "function": "f"}}}}}]'),
    ('t_children', '[{"task_id": "x", "operator_type": "child_workflow", "timeout_seconds": 60, "children": {"c": {"workflow_name": "kid"}}}]'),
    ('t_policy', '[{"task_id": "x", "operator_type": "foreach", "items": "[1, 2]", "timeout_policy": {"timeout": "PT1M"}, "loop_body": [{"task_id": "i", "operator_type": "task", "function": "f"}]}]'),
    ('t_smaller', '[{"task_id": "x", "operator_type": "wait_for_event", "event_name": "never", "timeout_seconds": 600, "timeout_policy": {"timeout": "PT1M"}}]'),
    ('t_zero', '[{"task_id": "x", "operator_type": "wait_for_event", "event_name": "never", "timeout_seconds": 0}]')) v (name, steps);
create temp table started as select name, absurd.start_workflow(name) as run from unnest('{t_event,t_parallel,t_join,t_choice,t_children,t_policy,t_smaller,t_zero}'::text[]) name;
truncate held;
select count(*) from pg_temp.ready('timers');
select name, status, error ->> 'message' as error from started, pg_temp.verdict(run) where status <> 'running';
set absurd.fake_now = '2026-01-01 10:03:00+00';
select absurd.advance_timers('timers');
select name, pg_temp.states(run) from started order by name;
select name, status, error from started, pg_temp.verdict(run) order by name;
select path, params from pg_temp.ready('timers') where path = 'late';
select status, count(*) from absurd.workflow_run where workflow_name = 'kid' group by 1;
-- The tasks within are cancelled.
select t.state, count(*) from started, absurd.workflow_run_tasks(run) t where name <> 't_event' group by 1;
select pg_temp.try(format('select absurd.complete_run(''timers'', %L)', run_id)) from held where path = 'x.b/i' limit 1;

-- The timeout of a task is one of an attempt: from its claim, and repeated as other failures are.
select pg_temp.register('timers', 'attempt', '[{"task_id": "kill", "operator_type": "task", "function": "f", "timeout_policy": {"timeout": "PT30S"}, "retry_policy": {"max_retries": 1, "delay": "PT10S"}}, {"task_id": "leave", "operator_type": "task", "function": "f", "dependencies": [], "timeout_policy": {"timeout": "PT30S", "kill_on_timeout": false}}]');
select absurd.start_workflow('attempt') as run \gset
set absurd.fake_now = '2026-01-01 10:10:00+00';
truncate held;
select path, attempt from pg_temp.ready('timers') where path in ('kill', 'leave');
set absurd.fake_now = '2026-01-01 10:10:29+00';
select absurd.advance_timers('timers');
set absurd.fake_now = '2026-01-01 10:10:30+00';
select count(*) from pg_temp.ready('timers');
select path, state, attempts, error from pg_temp.steps(:'run');
-- What comes of an attempt too late: refused for one that was ended, ignored for one that was left alone.
select pg_temp.try(format('select absurd.complete_run(''timers'', %L, ''"late"'')', run_id)) from held where path in ('kill', 'leave') order by path;
set absurd.fake_now = '2026-01-01 10:10:40+00';
select path, attempt from pg_temp.ready('timers');
select pg_temp.done('timers', 'kill', '"second"');
select path, state, attempts, result, error from pg_temp.steps(:'run');
select status, error from pg_temp.verdict(:'run');

-- Deadlines count from the start of the run; they fail or cancel it.
select pg_temp.register('timers', 'd_' || action, '[{"task_id": "a", "operator_type": "task", "function": "f", "on_failure_task_id": "h"}, {"task_id": "h", "operator_type": "task", "function": "f"}, {"task_id": "b", "operator_type": "wait", "wait_for": "P1D", "dependencies": []}]', jsonb_build_object('deadline_seconds', 60, 'deadline_action', action)) from unnest('{fail,cancel}'::text[]) action;
truncate started;
insert into started select name, absurd.start_workflow(name) from unnest('{d_fail,d_cancel}'::text[]) name;
select count(*) from pg_temp.ready('timers');
set absurd.fake_now = '2026-01-01 10:11:39+00';
select absurd.advance_timers('timers');
set absurd.fake_now = '2026-01-01 10:11:40+00';
select pg_temp.claims('timers', 10) as claimed;
select name, status, result, error, started_at, completed_at from started, pg_temp.verdict(run) order by name;
select name, pg_temp.states(run) from started order by name;
select name, t.state from started, absurd.workflow_run_tasks(run) t order by name;
select at, from_status, to_status from started, absurd.workflow_run_history(run) where name = 'd_fail';
-- A run that ends in time leaves no deadline behind.
select pg_temp.register('timers', 'in_time', '[{"task_id": "a", "operator_type": "task", "function": "f"}]', '{"deadline_seconds": 60}');
select absurd.start_workflow('in_time') as run \gset
select path from pg_temp.ready('timers');
select pg_temp.done('timers', 'a');
select count(*) from absurd.workflow_timer where workflow_run_id = :'run';
-- Circuit breaker: opens after two failures, refuses, lets one through when isolation ends.
select pg_temp.register('timers', 'breaker', '[{"task_id": "c", "operator_type": "task", "function": "f", "circuit_breaker_policy": {"failure_threshold": 2, "success_threshold": 1, "isolation_duration": "PT1M", "ignore_exceptions": ["Fine"]}}]');
create function pg_temp.try_step(reason jsonb default null) returns table (status text, error text) language plpgsql as $$
declare
    run uuid := absurd.start_workflow('breaker');
begin
    if exists (select from pg_temp.ready('timers') r where r.path = 'c') then
        if reason is null then perform pg_temp.done('timers', 'c'); else perform pg_temp.fail('timers', 'c', reason); end if;
    end if;
    return query select w.status, w.error ->> 'name' from absurd.get_workflow_run(run) w;
end $$;
select s.* from unnest('{"{\"name\": \"Fine\"}","{\"name\": \"Bad\"}","{\"name\": \"Fine\"}","{\"name\": \"Bad\"}",null}'::jsonb[]) with ordinality v (reason, i), pg_temp.try_step(reason) s order by i;
set absurd.fake_now = '2026-01-01 10:12:39+00';
select * from pg_temp.try_step();
set absurd.fake_now = '2026-01-01 10:12:40+00';
select * from pg_temp.try_step('{"name": "Bad"}');
select * from pg_temp.try_step();
set absurd.fake_now = '2026-01-01 10:13:40+00';
select * from pg_temp.try_step();
select * from pg_temp.try_step('{"name": "Bad"}');
select * from pg_temp.try_step();
select absurd.drop_queue('timers'), absurd.drop_queue('timers two');
delete from absurd.workflow_run;
