-- What a retry keeps is decided as it was, in the order in which it happened; what it does again is done whatever earlier retries kept.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set client_min_messages = error;
set absurd.fake_now = '2026-01-05 09:00:00+00';
select absurd.create_queue('kept');
create temp table claimed (run_id uuid, path text);
create function pg_temp.start(name text, tasks jsonb, more jsonb default '{}', options jsonb default '{}') returns uuid language sql as $$
  select count(*) from absurd.register_workflow(jsonb_build_object('name', 'kept_' || name, 'tasks', tasks) || more, 'kept');
  select absurd.start_workflow('kept_' || name, p_options => options) $$;
create function pg_temp.task(id text, more jsonb default '{}') returns jsonb language sql as $$
  select jsonb_build_object(id, jsonb_build_object('task_id', id, 'operator_type', 'task', 'function', 'f') || more) $$;
create function pg_temp.claim() returns void language sql as $$
  insert into claimed select run_id, headers ->> 'workflow_step' from absurd.claim_task('kept', 'w', 600, 1000) $$;
create function pg_temp.fail(run uuid) returns void language sql as $$ select absurd.fail_run('kept', run, '{"name": "Broken"}') $$;
-- Ends the tasks of these steps one after the other, when each is there; ! before a path fails it.
create function pg_temp.in_order(variadic paths text[]) returns void language plpgsql as $$
declare one text; run uuid;
begin
  foreach one in array paths loop
    perform pg_temp.claim();
    delete from claimed where path = ltrim(one, '!') returning run_id into run;
    if run is null then raise exception 'no task for %', one; end if;
    if one like '!%' then perform pg_temp.fail(run); else perform absurd.complete_run('kept', run, to_jsonb(one || ' done')); end if;
  end loop;
end $$;
-- Ends all tasks, round after round, these by failing; answers with the paths.
create function pg_temp.work(variadic failing text[] default '{}') returns text language plpgsql as $$
declare c record; paths text := '';
begin
  loop
    perform pg_temp.claim();
    exit when not exists (select from claimed);
    for c in delete from claimed returning * loop
      paths := paths || ' ' || c.path;
      if c.path = any (failing) then perform pg_temp.fail(c.run_id); else perform absurd.complete_run('kept', c.run_id, to_jsonb(c.path || ' done')); end if;
    end loop;
  end loop;
  return (select string_agg(p, ' ' order by p) from unnest(string_to_array(trim(paths), ' ')) p);
end $$;
create function pg_temp.again(run uuid, from_step text default null) returns void language sql as $$ select absurd.retry_workflow_run(run, from_step); delete from claimed $$;
create function pg_temp.seen(run uuid) returns text language sql as $$
  select status || ': ' || (select string_agg(path || ' ' || state || coalesce(' ' || (s.error ->> 'name'), ''), ', ' order by path collate "C") from absurd.workflow_run_steps(run) s)
    from absurd.workflow_run where workflow_run_id = run $$;

-- A step failed by hand before it started hides nothing, nor does an earlier retry: what is before it is executed again too.
select pg_temp.start('hidden', pg_temp.task('a') || pg_temp.task('b', '{"dependencies": ["a"]}')) as run \gset
select absurd.fail_step(:'run', 'b', 'stop');
select pg_temp.work('a');
select pg_temp.again(:'run');
select pg_temp.work();
select pg_temp.seen(:'run');
select pg_temp.start('tolerant', pg_temp.task('x') || pg_temp.task('y') || '{"j": {"task_id": "j", "operator_type": "join", "join_tasks": ["x", "y"], "join_mode": "one_success"}}' || pg_temp.task('d', '{"dependencies": ["j"]}')) as run \gset
select pg_temp.work('x', 'd');
select pg_temp.again(:'run', 'y');
select pg_temp.work('y');
select pg_temp.again(:'run');
select pg_temp.work();
select pg_temp.seen(:'run');

-- A join is decided by what ended first then, a while and a choice by what was known then, a key has the value that was written last.
select pg_temp.start('first', pg_temp.task('x') || pg_temp.task('y') || '{"j": {"task_id": "j", "operator_type": "join", "join_tasks": ["x", "y"], "join_mode": "any_of"}}' || pg_temp.task('d', '{"dependencies": ["j"]}')) as run \gset
select pg_temp.in_order('y', '!x', '!d');
select pg_temp.again(:'run');
select pg_temp.work();
select pg_temp.seen(:'run');
select pg_temp.start('flag', pg_temp.task('a', '{"result_key": "flag"}')
  || '{"w": {"task_id": "w", "operator_type": "while", "condition": "{{flag}} == null", "loop_body": [{"task_id": "x", "operator_type": "task", "function": "f"}]},
       "m": {"task_id": "m", "operator_type": "multi_choice", "branches": {"no": {"condition": "{{flag}} == null", "tasks": ["n"]}, "yes": {"condition": "{{flag}} != null", "tasks": ["y"]}},
         "branch_workflows": {"no": {"name": "b_no", "tasks": {"n": {"task_id": "n", "operator_type": "task", "function": "f"}}}, "yes": {"name": "b_yes", "tasks": {"y": {"task_id": "y", "operator_type": "task", "function": "f"}}}}}}'
  || pg_temp.task('d', '{"dependencies": ["w", "a", "m"]}')) as run \gset
select pg_temp.in_order('w[0]/x', 'm.no/n', 'w[1]/x', 'a', 'w[2]/x', '!d');
select pg_temp.again(:'run');
select pg_temp.work();
select pg_temp.seen(:'run');
select pg_temp.start('writers', pg_temp.task('a', '{"result_key": "k"}') || pg_temp.task('b', '{"result_key": "k"}') || pg_temp.task('c', '{"dependencies": ["a", "b"], "args": ["{{k}}"]}')) as run \gset
select pg_temp.in_order('b', 'a', '!c');
select pg_temp.again(:'run');
select distinct params from absurd.t_kept where workflow_run_id = :'run' and headers ->> 'workflow_step' = 'c';
select pg_temp.work();

-- Containers that failed, and were tolerated, have their insides still; what was written inside them is known.
select pg_temp.start('inside', '{"p": {"task_id": "p", "operator_type": "parallel", "branches": {"one": ["x"], "two": ["y"]},
    "branch_workflows": {"one": {"name": "b_one", "tasks": {"x": {"task_id": "x", "operator_type": "task", "function": "f"}}}, "two": {"name": "b_two", "tasks": {"y": {"task_id": "y", "operator_type": "task", "function": "f"}}}}},
  "seq": {"task_id": "seq", "operator_type": "foreach", "items": "[1, 2, 3]", "loop_body": [{"task_id": "b", "operator_type": "task", "function": "f", "result_key": "k"}]},
  "j": {"task_id": "j", "operator_type": "join", "join_tasks": ["p", "seq"], "join_mode": "all_of"}}'
  || pg_temp.task('z', '{"dependencies": ["x"]}') || pg_temp.task('d', '{"dependencies": ["j", "z"], "args": ["{{k}}"]}')) as run \gset
select pg_temp.work('p.two/y', 'seq[1]/b', 'd');
select pg_temp.again(:'run');
select pg_temp.work();
select pg_temp.seen(:'run');
select distinct params from absurd.t_kept where workflow_run_id = :'run' and headers ->> 'workflow_step' = 'd';
-- From an iteration on, the later ones of a sequential loop too.
select absurd.start_workflow('kept_inside') as run \gset
select pg_temp.work('d');
select pg_temp.again(:'run', 'seq[1]/b');
select pg_temp.work();

-- What an operator has ended stays so: a terminate, a loop, a join; and can be executed when it is named.
select pg_temp.start('skipped', pg_temp.task('a') || '{"t": {"task_id": "t", "operator_type": "terminate", "status": "failed", "dependencies": ["a"]},
    "e": {"task_id": "e", "operator_type": "foreach", "items": "[1, 2]", "dependencies": ["a"], "loop_body": [{"task_id": "x", "operator_type": "task", "function": "f"}]},
    "j": {"task_id": "j", "operator_type": "join", "join_tasks": ["a", "b"], "join_mode": "all_success"}}' || pg_temp.task('b', '{"dependencies": ["a"]}')
  || pg_temp.task('d', '{"dependencies": ["t", "e", "j"], "args": ["{{e}}", "{{j}}"]}')) as run \gset
select absurd.skip_step(:'run', step, result) from (values ('t', null), ('e', '[7]'::jsonb), ('j', '"joined"')) v (step, result);
select pg_temp.work('d');
select pg_temp.again(:'run');
select pg_temp.work('d');
select pg_temp.seen(:'run');
select distinct params from absurd.t_kept where workflow_run_id = :'run' and headers ->> 'workflow_step' = 'd';
select pg_temp.again(:'run', 'e');
select pg_temp.work();
select pg_temp.start('given', pg_temp.task('a') || pg_temp.task('b', '{"dependencies": ["a"]}') || pg_temp.task('c', '{"dependencies": ["b"]}')) as run \gset
select pg_temp.work('b');
select absurd.skip_step(:'run', 'b', '"given"');
select pg_temp.again(:'run');
select pg_temp.work('c');
select pg_temp.again(:'run', 'b');
select pg_temp.work();
select pg_temp.seen(:'run');
-- A container that is skipped before it started: who waits for something inside it hears that it will not come.
select pg_temp.start('before', pg_temp.task('a') || '{"p": {"task_id": "p", "operator_type": "parallel", "dependencies": ["a"], "branches": {"one": ["x"]},
    "branch_workflows": {"one": {"name": "b", "tasks": {"x": {"task_id": "x", "operator_type": "task", "function": "f"}}}}}}' || pg_temp.task('z', '{"dependencies": ["x"]}')) as run \gset
select absurd.skip_step(:'run', 'p');
select pg_temp.work();
select pg_temp.seen(:'run');
-- Not in an iteration whose turn has not come; and not when its time has passed.
select pg_temp.start('turns', '{"seq": {"task_id": "seq", "operator_type": "foreach", "items": "[1, 2]", "loop_body": [{"task_id": "x", "operator_type": "task", "function": "f"}]}}', '{"deadline_seconds": 60}') as run \gset
select pg_temp.try(format('select absurd.%s(%L, %L)', verb, :'run', 'seq[1]/x')) from unnest(array['skip_step', 'fail_step']) verb;
set absurd.fake_now = '2026-01-05 09:01:00+00';
select pg_temp.try(format('select absurd.skip_step(%L, %L)', :'run', 'seq[0]/x'));
select pg_temp.seen(:'run');

-- Children of before, of steps that later retries name; and of runs that wait their turn.
select count(*) from absurd.register_workflow(jsonb_build_object('name', 'kept_kid', 'tasks', pg_temp.task('k')), 'kept');
select pg_temp.start('parents', pg_temp.task('a') || '{"c": {"task_id": "c", "operator_type": "child_workflow", "dependencies": ["a"], "children": {"k": {"workflow_name": "kept_kid"}}}}' || pg_temp.task('d', '{"dependencies": ["c"]}')) as run \gset
select pg_temp.work('d');
select pg_temp.again(:'run');
select pg_temp.work('d');
select pg_temp.again(:'run', 'c');
select pg_temp.work('d');
select pg_temp.again(:'run', 'a');
select pg_temp.work();
select status, count(*) from absurd.workflow_run where root_run_id = :'run' and parent_run_id is not null group by 1;
select pg_temp.start('bounded', pg_temp.task('a') || pg_temp.task('b', '{"dependencies": ["a"]}') || pg_temp.task('c', '{"dependencies": ["b"]}'), '{"max_active_runs": 1}', '{"respect_max_active_runs": true}') as run \gset
select pg_temp.work('c');
select absurd.start_workflow('kept_bounded', p_options => '{"respect_max_active_runs": true}') as other \gset
select pg_temp.again(:'run');
select status from absurd.workflow_run where workflow_run_id = :'run';
select absurd.cancel_workflow_run(:'run');
select pg_temp.try(format('select absurd.retry_workflow_run(%L, %L)', :'run', 'a'));
select absurd.cancel_workflow_run(:'other');
select pg_temp.work();
select pg_temp.seen(:'run');

-- Ids that look like paths.
select pg_temp.start('names', pg_temp.task('s') || pg_temp.task('s.t') || pg_temp.task('p.one/x') || '{"p": {"task_id": "p", "operator_type": "parallel", "branches": {"one": ["x"]},
    "branch_workflows": {"one": {"name": "b", "tasks": {"x": {"task_id": "x", "operator_type": "task", "function": "f"}}}}}}' || pg_temp.task('d', '{"dependencies": ["s", "s.t", "p", "p.one/x"]}')) as run \gset
select pg_temp.work('d');
select pg_temp.again(:'run', 's');
select pg_temp.work();

-- Inputs of a join that were at work when the run was cancelled go on; those that the join has ended do not.
select pg_temp.start('inputs', pg_temp.task('x') || pg_temp.task('y') || '{"j": {"task_id": "j", "operator_type": "join", "join_tasks": ["x", "y"], "join_mode": "one_success"}}') as run \gset
select pg_temp.in_order('y');
select absurd.cancel_workflow_run(:'run');
select pg_temp.again(:'run');
select pg_temp.work();
select pg_temp.start('losers', pg_temp.task('x') || pg_temp.task('y') || '{"j": {"task_id": "j", "operator_type": "join", "join_tasks": ["x", "y"], "join_mode": "one_success", "metadata": {"absurd": {"cancel_losers": true}}}}' || pg_temp.task('d', '{"dependencies": ["j"]}')) as run \gset
select pg_temp.in_order('y', '!d');
select pg_temp.again(:'run');
select pg_temp.work();
select pg_temp.seen(:'run');
-- A run that was cancelled while it probed a breaker lets another probe.
select pg_temp.start('probing', pg_temp.task('a', '{"circuit_breaker_policy": {"failure_threshold": 1, "isolation_duration": "PT1S"}}')) as run \gset
select pg_temp.work('a');
set absurd.fake_now = '2026-01-05 09:02:00+00';
select absurd.start_workflow('kept_probing') as run \gset
select absurd.cancel_workflow_run(:'run');
select pg_temp.again(:'run');
select pg_temp.work();
select pg_temp.seen(:'run');
-- More than a transition ends is replayed in pieces.
select pg_temp.start('large', '{"each": {"task_id": "each", "operator_type": "foreach", "items": "range(2500)", "parallel": true, "loop_body": [{"task_id": "x", "operator_type": "switch", "switch_on": "{{item}}"}]}}' || pg_temp.task('d', '{"dependencies": ["each"], "args": ["{{each.length}}"]}')) as run \gset
select count(absurd.advance_timers('kept')) from generate_series(1, 20);
select pg_temp.work('d');
select pg_temp.again(:'run');
select count(absurd.advance_timers('kept')) from generate_series(1, 20);
select pg_temp.work();
select status, (select count(*) from absurd.workflow_run_steps(:'run') s where s.state = 'completed') as completed from absurd.workflow_run where workflow_run_id = :'run';
select (select count(*) from absurd.workflow_kept k join absurd.workflow_run using (workflow_run_id) where status = 'completed') as kept,
       (select count(*) from absurd.workflow_stimulus) as stimuli, (select count(*) from absurd.workflow_timer) as timers;
select * from absurd.verify('kept');
-- A container that was ended from outside is ended so again, with what was inside it.
select pg_temp.start('cut', '{"p": {"task_id": "p", "operator_type": "parallel", "branches": {"one": ["n"], "two": ["s"]},
    "branch_workflows": {"one": {"name": "b_one", "tasks": {"n": {"task_id": "n", "operator_type": "task", "function": "f", "result_key": "nk"}}}, "two": {"name": "b_two", "tasks": {"s": {"task_id": "s", "operator_type": "task", "function": "f"}}}}},
  "j": {"task_id": "j", "operator_type": "join", "join_tasks": ["p"], "join_mode": "all_of"}}'
  || pg_temp.task('z', '{"dependencies": ["n"]}') || pg_temp.task('d', '{"dependencies": ["j", "z"], "args": ["{{nk}}"]}')) as run \gset
select pg_temp.in_order('p.one/n', 'z');
select absurd.fail_step(:'run', 'p');
delete from claimed;
select pg_temp.work('d');
select pg_temp.again(:'run');
select pg_temp.work();
select pg_temp.seen(:'run');
select distinct params from absurd.t_kept where workflow_run_id = :'run' and headers ->> 'workflow_step' = 'd';
-- What failed inside a container that completed, and something outside waits for.
select pg_temp.start('below', '{"p": {"task_id": "p", "operator_type": "parallel", "branches": {"one": ["x", "y"]},
    "branch_workflows": {"one": {"name": "b_one", "tasks": {"x": {"task_id": "x", "operator_type": "task", "function": "f"}, "y": {"task_id": "y", "operator_type": "task", "function": "f", "dependencies": ["x"], "trigger_rule": "all_done"}}}}}}'
  || pg_temp.task('d', '{"dependencies": ["x"]}')) as run \gset
select pg_temp.work('p.one/x');
select pg_temp.seen(:'run');
select pg_temp.again(:'run');
select pg_temp.work();
select pg_temp.seen(:'run');
-- A loser is one again, however often.
select pg_temp.start('twice', pg_temp.task('g') || pg_temp.task('x') || pg_temp.task('y') || '{"j": {"task_id": "j", "operator_type": "join", "join_tasks": ["x", "y"], "join_mode": "any_of", "dependencies": ["g"], "metadata": {"absurd": {"cancel_losers": true}}}}'
  || pg_temp.task('d', '{"dependencies": ["j"]}')) as run \gset
select pg_temp.in_order('g', 'y', '!d');
select pg_temp.again(:'run', 'g');
select pg_temp.work('d');
select pg_temp.again(:'run', 'g');
select pg_temp.work();
select pg_temp.seen(:'run');
-- A terminate that was skipped while others were at work.
select pg_temp.start('beside', pg_temp.task('a') || '{"t": {"task_id": "t", "operator_type": "terminate", "status": "failed", "dependencies": ["a"]}}' || pg_temp.task('d')) as run \gset
select absurd.skip_step(:'run', 't');
select pg_temp.work('d');
select pg_temp.again(:'run');
select pg_temp.work();
select pg_temp.seen(:'run');
-- One that was not ends the run again.
select absurd.start_workflow('kept_beside') as run \gset
select pg_temp.in_order('a');
select pg_temp.seen(:'run');
select pg_temp.again(:'run');
select pg_temp.seen(:'run');
delete from claimed;

-- A retry that is interrupted, and interrupted again, loses nothing of what was kept.
select pg_temp.start('often', '{"each": {"task_id": "each", "operator_type": "foreach", "items": "range(1500)", "loop_body": [{"task_id": "x", "operator_type": "switch", "switch_on": "{{item}}"}, {"task_id": "y", "operator_type": "task", "function": "f", "dependencies": ["x"]}]}}') as run \gset
select length(pg_temp.work('each[1300]/y')) > 0 as worked;
select pg_temp.again(:'run');
select absurd.cancel_workflow_run(:'run');
select pg_temp.again(:'run');
select count(absurd.advance_timers('kept')) from generate_series(1, 2);
select absurd.cancel_workflow_run(:'run');
select pg_temp.again(:'run');
select count(absurd.advance_timers('kept')) from generate_series(1, 20);
select left(pg_temp.work('each[1301]/y'), 100);
select pg_temp.again(:'run', 'each[1300]/y');
select count(absurd.advance_timers('kept')) from generate_series(1, 20);
select left(pg_temp.work(), 40);
select status, (select count(*) from absurd.t_kept t where t.workflow_run_id = r.workflow_run_id) as tasks from absurd.workflow_run r where workflow_run_id = :'run';
-- A role that row security keeps from changing a run.
create role kept_worker;
grant usage on schema absurd to kept_worker;
select absurd.grant_access('kept_worker', 'worker', 'kept');
select absurd.start_workflow('kept_line') from absurd.register_workflow(jsonb_build_object('name', 'kept_line', 'tasks', pg_temp.task('a')), 'kept') limit 1 \gset line_
create policy seen on absurd.workflow_run for select using (true);
alter table absurd.workflow_run enable row level security;
set role kept_worker;
select pg_temp.try(format('select absurd.%s', call)) from (values (format('skip_step(%L, ''a'')', :'line_start_workflow')), (format('fail_step(%L, ''a'')', :'line_start_workflow')), (format('retry_workflow_run(%L)', :'run'))) v (call);
reset role;
alter table absurd.workflow_run disable row level security;
drop policy seen on absurd.workflow_run;
select absurd.drop_queue('kept');
drop owned by kept_worker;
drop role kept_worker;
