-- A run that has failed or was cancelled goes on: what completed is not repeated, what it ended for is, and what comes after that.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set client_min_messages = error;
set absurd.fake_now = '2026-01-05 09:00:00+00';
select absurd.create_queue('again');
create function pg_temp.at(seconds int) returns void language sql as $$
  select set_config('absurd.fake_now', (timestamptz '2026-01-05 09:00:00+00' + make_interval(secs => seconds))::text, false) $$;
create function pg_temp.start(name text, tasks jsonb, more jsonb default '{}') returns uuid language sql as $$
  select count(*) from absurd.register_workflow(jsonb_build_object('name', 'again_' || name, 'tasks', tasks) || more, 'again');
  select absurd.start_workflow('again_' || name) $$;
create function pg_temp.task(id text, more jsonb default '{}') returns jsonb language sql as $$
  select jsonb_build_object(id, jsonb_build_object('task_id', id, 'operator_type', 'task', 'function', 'f') || more) $$;
-- Works off all tasks that are ready, round after round; those of the given steps fail. Returns the paths in order.
create function pg_temp.work(variadic failing text[] default '{}') returns text language plpgsql as $$
declare c record; paths text[] := '{}'; round text[];
begin
  loop
    round := '{}';
    for c in select run_id, headers ->> 'workflow_step' as path from absurd.claim_task('again', 'w', 600, 100) order by 2 loop
      round := round || c.path;
      if c.path = any (failing) then
        perform absurd.fail_run('again', c.run_id, '{"name": "Broken", "message": "told to"}');
      else
        perform absurd.complete_run('again', c.run_id, to_jsonb(c.path || ' done'));
      end if;
    end loop;
    exit when round = '{}';
    paths := paths || round;
  end loop;
  return array_to_string(paths, ', ');
end $$;
create function pg_temp.seen(run uuid) returns text language sql as $$
  select status || ': ' || coalesce((select string_agg(path || ' ' || state || coalesce(' ' || (s.error ->> 'name'), ''), ', ') from absurd.workflow_run_steps(run) s), '-')
    from absurd.workflow_run where workflow_run_id = run $$;

-- The step that failed, and what comes after it; the first stays as it was.
select pg_temp.start('line', pg_temp.task('a', '{"result_key": "a"}') || pg_temp.task('b', '{"dependencies": ["a"]}')
  || pg_temp.task('c', '{"dependencies": ["b"], "args": ["{{a}}"]}')) as run \gset
select pg_temp.work('b');
select pg_temp.seen(:'run');
select pg_temp.at(60);
select absurd.retry_workflow_run(:'run');
select pg_temp.seen(:'run');
select status, started_at, completed_at, result, error from absurd.workflow_run where workflow_run_id = :'run';
select path, state, attempts, result, started_at, finished_at from absurd.workflow_run_steps(:'run');
select pg_temp.work('b');
select absurd.retry_workflow_run(:'run');
select pg_temp.work();
select pg_temp.seen(:'run');
select params from absurd.t_again where headers ->> 'workflow_step' = 'c';
select from_status, to_status, changed_at from absurd.workflow_transition where workflow_run_id = :'run' order by number;
select count(*) as kept from absurd.workflow_kept where workflow_run_id = :'run';
-- From a step on, which is executed again though it completed.
select absurd.start_workflow('again_line') as run \gset
select pg_temp.work('c');
select absurd.retry_workflow_run(:'run', 'b');
select pg_temp.work('c');
select absurd.retry_workflow_run(:'run', 'a');
select pg_temp.work();
select pg_temp.seen(:'run');
-- A run that was cancelled goes on with what it had not done.
select absurd.start_workflow('again_line') as run \gset
select run_id as held from absurd.claim_task('again', 'w') \gset
select absurd.complete_run('again', :'held', '1');
select run_id as held from absurd.claim_task('again', 'w') \gset
select absurd.cancel_workflow_run(:'run');
select absurd.retry_workflow_run(:'run');
select pg_temp.try(format('select absurd.complete_run(%L, %L)', 'again', :'held')) ~ 'AB001' as old_worker_is_told;
select pg_temp.work();
select pg_temp.seen(:'run');

-- Loops: of a parallel one the items that failed; of a sequential one from there on; of a while what came before stays.
select pg_temp.start('loops', '{"par": {"task_id": "par", "operator_type": "foreach", "items": "[1, 2, 3]", "parallel": true,
    "loop_body": [{"task_id": "x", "operator_type": "task", "function": "f"}]},
  "seq": {"task_id": "seq", "operator_type": "foreach", "items": "[1, 2, 3]",
    "loop_body": [{"task_id": "x", "operator_type": "task", "function": "f"}]},
  "whl": {"task_id": "whl", "operator_type": "while", "condition": "loop.index < 3",
    "loop_body": [{"task_id": "x", "operator_type": "task", "function": "f"}, {"task_id": "y", "operator_type": "task", "function": "f", "dependencies": ["x"]}]},
  "end": {"task_id": "end", "operator_type": "task", "function": "f", "dependencies": ["par", "seq", "whl"]}}') as run \gset
select pg_temp.work('par[1]/x', 'seq[1]/x', 'whl[1]/y');
select pg_temp.seen(:'run');
select absurd.retry_workflow_run(:'run');
select pg_temp.work();
select status from absurd.workflow_run where workflow_run_id = :'run';
-- Items that were added are there again.
select pg_temp.start('added', '{"each": {"task_id": "each", "operator_type": "foreach", "items": "[1]", "dynamic": true, "parallel": true,
    "loop_body": [{"task_id": "x", "operator_type": "task", "function": "f", "args": ["{{item}}"]}]}}') as run \gset
select absurd.add_workflow_items(:'run', 'each', '["more", {"n": 1}]');
select pg_temp.work('each[2]/x');
select pg_temp.seen(:'run');
select absurd.retry_workflow_run(:'run');
select headers ->> 'workflow_step' as path, params from absurd.t_again where state = 'pending';
select pg_temp.work();
select pg_temp.seen(:'run');

-- A failure that the workflow went on from stays, and so does its handler; one that it ended for has its handler again.
select pg_temp.start('handled', pg_temp.task('a', '{"on_failure_task_id": "h"}') || pg_temp.task('h') || pg_temp.task('z', '{"dependencies": ["h"]}')) as run \gset
select pg_temp.work('a', 'z');
select pg_temp.seen(:'run');
select absurd.retry_workflow_run(:'run');
select pg_temp.work();
select pg_temp.seen(:'run');

-- Branches, routers, waits, events and what was emitted: all that has been is not made again.
select pg_temp.start('mixed', '{"w": {"task_id": "w", "operator_type": "wait", "wait_for": "PT10S"},
  "e": {"task_id": "e", "operator_type": "wait_for_event", "event_name": "go_{{run.id}}", "result_key": "e"},
  "m": {"task_id": "m", "operator_type": "emit_event", "event_name": "told_{{run.id}}", "payload": {"at": 1}, "dependencies": ["e"]},
  "s": {"task_id": "s", "operator_type": "switch", "switch_on": "{{e}}", "cases": {"left": "l", "right": "r"}, "dependencies": ["e"]},
  "l": {"task_id": "l", "operator_type": "task", "function": "f"}, "r": {"task_id": "r", "operator_type": "task", "function": "f"},
  "p": {"task_id": "p", "operator_type": "parallel", "branches": {"one": ["x"], "two": ["y"]},
    "branch_workflows": {"one": {"name": "b_one", "tasks": {"x": {"task_id": "x", "operator_type": "task", "function": "f"}}}, "two": {"name": "b_two", "tasks": {"y": {"task_id": "y", "operator_type": "task", "function": "f"}}}}},
  "j": {"task_id": "j", "operator_type": "join", "join_tasks": ["w", "p", "r"], "join_mode": "all_success"},
  "end": {"task_id": "end", "operator_type": "task", "function": "f", "dependencies": ["j", "m"]}}') as run \gset
select absurd.emit_event('again', 'go_' || :'run', '"right"');
select pg_temp.at(75);
select pg_temp.work('p.two/y');
select pg_temp.seen(:'run');
delete from absurd.e_again;
select absurd.retry_workflow_run(:'run');
select pg_temp.work();
select pg_temp.seen(:'run');
select count(*) as emitted from absurd.e_again;
select count(*) as timers from absurd.workflow_timer;

-- A fork's branch, and the barrier that waits for it; what came after the fork's beginning stays.
select pg_temp.start('fork', '{"p": {"task_id": "p", "operator_type": "parallel", "result_key": "fork", "branches": {"one": ["x"], "two": ["y"]},
    "branch_workflows": {"one": {"name": "b_one", "tasks": {"x": {"task_id": "x", "operator_type": "task", "function": "f"}}}, "two": {"name": "b_two", "tasks": {"y": {"task_id": "y", "operator_type": "task", "function": "f"}}}}},
  "all": {"task_id": "all", "operator_type": "task", "function": "tools.workflow.wait_for_parallel_branches", "args": ["{{fork}}"], "dependencies": ["p"]},
  "beside": {"task_id": "beside", "operator_type": "task", "function": "f", "dependencies": ["p"]},
  "end": {"task_id": "end", "operator_type": "task", "function": "f", "dependencies": ["all"]}}') as run \gset
select pg_temp.work('p.one/x');
select pg_temp.seen(:'run');
select absurd.retry_workflow_run(:'run');
select pg_temp.work();
select pg_temp.seen(:'run');

-- A child goes on with its own steps; one that completed is not started again.
select count(*) from absurd.register_workflow(jsonb_build_object('name', 'again_kid', 'tasks', pg_temp.task('k') || pg_temp.task('l', '{"dependencies": ["k"]}')), 'again');
select pg_temp.start('parent', '{"c": {"task_id": "c", "operator_type": "child_workflow", "children": {"one": {"workflow_name": "again_kid"}, "two": {"workflow_name": "again_line"}}},
  "end": {"task_id": "end", "operator_type": "task", "function": "f", "dependencies": ["c"]}}') as run \gset
select pg_temp.work('l');
select workflow_name, pg_temp.seen(workflow_run_id) from absurd.workflow_run where root_run_id = :'run' order by 1;
select workflow_run_id as kid from absurd.workflow_run where parent_run_id = :'run' and workflow_name = 'again_kid' \gset
select pg_temp.try(format('select absurd.retry_workflow_run(%L)', :'kid'));
select absurd.retry_workflow_run(:'run');
select pg_temp.work();
select workflow_name, pg_temp.seen(workflow_run_id) from absurd.workflow_run where root_run_id = :'run' order by 1;

-- What the members of a loop, or of a parallel, came to of which one failed: what follows sees it, under id and result key.
select pg_temp.start('partial', '{"each": {"task_id": "each", "operator_type": "foreach", "items": "[1, 2, 3]", "parallel": true, "result_key": "of_each",
    "loop_body": [{"task_id": "x", "operator_type": "task", "function": "f"}]},
  "whl": {"task_id": "whl", "operator_type": "while", "condition": "loop.index < 3", "loop_body": [{"task_id": "x", "operator_type": "task", "function": "f"}]},
  "p": {"task_id": "p", "operator_type": "parallel", "result_key": "of_p", "branches": {"one": ["x"], "two": ["y"]},
    "branch_workflows": {"one": {"name": "b_one", "tasks": {"x": {"task_id": "x", "operator_type": "task", "function": "f", "result_key": "x_of_one"}}}, "two": {"name": "b_two", "tasks": {"y": {"task_id": "y", "operator_type": "task", "function": "f"}}}}}}'
  || pg_temp.task('end', '{"dependencies": ["each", "p", "whl"], "trigger_rule": "all_done", "args": ["{{of_each}}", "{{each.result}}", "{{of_p.one.status}}", "{{p.two.status}}", "{{of_p.one.results}}", "{{whl.iterations}}", "{{each.status}}"]}')) as run \gset
select pg_temp.work('each[1]/x', 'p.two/y', 'whl[2]/x');
select pg_temp.seen(:'run');
select path, result from absurd.workflow_run_steps(:'run') where path in ('each', 'p', 'whl') order by 1;
select params from absurd.t_again where workflow_run_id = :'run' and headers ->> 'workflow_step' = 'end';

-- A key of the document's does not bind the step to the failure.
select pg_temp.start('key', pg_temp.task('p', '{"idempotency_key": "pay_{{run.id}}"}')) as run \gset
select pg_temp.work('p');
select absurd.retry_workflow_run(:'run');
select pg_temp.work();
select pg_temp.seen(:'run');
select state, idempotency_key is not null as has_key from absurd.t_again where workflow_run_id = :'run' order by 1;

-- Steps that an operator ends: at work, waiting, in a run that has failed.
select pg_temp.start('settled', pg_temp.task('a') || pg_temp.task('b', '{"dependencies": ["a"], "args": ["{{a}}"]}')
  || '{"e": {"task_id": "e", "operator_type": "wait_for_event", "event_name": "never", "dependencies": ["b"]}}' || pg_temp.task('f', '{"dependencies": ["e"]}')) as run \gset
select run_id as held from absurd.claim_task('again', 'w') \gset
select absurd.skip_step(:'run', 'a', '{"by": "hand"}');
select pg_temp.seen(:'run');
select pg_temp.try(format('select absurd.complete_run(%L, %L)', 'again', :'held')) ~ 'AB001' as old_worker_is_told;
select pg_temp.work();
select absurd.skip_step(:'run', 'e');
select absurd.fail_step(:'run', 'f', 'not today');
select pg_temp.seen(:'run');
select path, result, error from absurd.workflow_run_steps(:'run') where path in ('a', 'f');
select absurd.skip_step(:'run', 'f', '"agreed"');
select pg_temp.seen(:'run');
select absurd.retry_workflow_run(:'run');
select pg_temp.seen(:'run');
select path, result from absurd.workflow_run_steps(:'run') where path = 'f';

-- What cannot be.
select pg_temp.try(format('select absurd.%s', call)) from (values
  (format('retry_workflow_run(%L)', :'run')),
  (format('retry_workflow_run(%L)', '00000000-0000-0000-0000-000000000000')),
  (format('skip_step(%L, %L)', :'run', 'a')),
  (format('fail_step(%L, %L)', :'run', 'a'))) v (call);
select absurd.start_workflow('again_line') as run \gset
select pg_temp.try(format('select absurd.%s', call)) from (values
  (format('retry_workflow_run(%L)', :'run')),
  (format('skip_step(%L, %L)', :'run', 'nothing')),
  (format('skip_step(%L, %L, %L)', :'run', 'a', repeat('[', 1100) || repeat(']', 1100)))) v (call);
select pg_temp.work('a');
select pg_temp.try(format('select absurd.%s', call)) from (values
  (format('retry_workflow_run(%L, %L)', :'run', 'nothing')),
  (format('fail_step(%L, %L)', :'run', 'a'))) v (call);
select absurd.create_workflow_run('tracked', '1') as tracked \gset
select pg_temp.try(format('select absurd.retry_workflow_run(%L)', :'tracked'));
select * from absurd.verify('again');
select absurd.drop_queue('again');
select pg_temp.try(format('select absurd.retry_workflow_run(%L)', :'run'));
