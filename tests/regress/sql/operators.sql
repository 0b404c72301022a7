-- Each operator of workflow documents once, worked through claims and completions.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
\set include :tests '/include/worker.sql'
\i :include
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set absurd.fake_now = '2026-01-01 00:00:00+00';
delete from absurd.workflow_run;
select absurd.create_queue('ops');

-- task and activity: typed and embedded templates; the event that tells of an activity.
select pg_temp.register('ops', 'tasks', '[{"task_id": "one", "operator_type": "task", "function": "f.one", "args": ["{{n}}", "n={{n}}", "{{missing | default(7)}}"], "kwargs": {"deep": {"list": ["{{obj.a[1]}}", null]}}, "result_key": "first"},
    {"task_id": "big", "operator_type": "activity", "function": "f.big", "dependencies": ["one"], "args": ["{{first.length}}", "{{one.status}}"], "result_key": "r"},
    {"task_id": "heard", "operator_type": "wait_for_event", "event_name": "{{r.completion_event}}", "dependencies": ["big"], "result_key": "told"}]', '{"variables": {"n": 3, "obj": {"a": [1, "x"]}}}');
select absurd.start_workflow('tasks') as run \gset
select path, task_name, params from pg_temp.ready('ops');
select pg_temp.done('ops', 'one', '["a", "b"]');
select path, task_name, params from pg_temp.ready('ops');
select pg_temp.done('ops', 'big', '{"rows": 2}');
select status, result from pg_temp.verdict(:'run');
select count(*) from absurd.e_ops where event_name = format('activity:%s:big:completed', :'run');

-- condition, with what follows either branch.
select pg_temp.register('ops', 'conditions', '[{"task_id": "c", "operator_type": "condition", "condition": "{{n}} > 2 and ''{{who}}'' == ''me''", "if_true": "yes", "if_false": "no", "result_key": "decided"}, {"task_id": "yes", "operator_type": "task", "function": "f", "dependencies": ["c"]}, {"task_id": "no", "operator_type": "task", "function": "f", "dependencies": ["c"]},
    {"task_id": "after", "operator_type": "task", "function": "f", "dependencies": ["c"], "args": ["{{decided}}", "{{no.status}}"]}]', '{"variables": {"who": "me"}}');
select absurd.start_workflow('conditions', p_inputs => '{"n": "3"}') as run \gset
select path from pg_temp.ready('ops');
select pg_temp.done('ops', 'yes');
select path, params from pg_temp.ready('ops');
select pg_temp.done('ops', 'after');
select pg_temp.states(:'run');
select pg_temp.states(absurd.start_workflow('conditions', p_inputs => '{"n": 2}'));
select status, error from pg_temp.verdict(absurd.start_workflow('conditions', p_inputs => '{"n": "many"}'));
select status, error from pg_temp.verdict(absurd.start_workflow('conditions'));
select path from pg_temp.ready('ops');

-- switch: the text of the value chooses; without a match nothing is chosen.
select pg_temp.register('ops', 'switches', '[{"task_id": "s", "operator_type": "switch", "switch_on": "{{v}}", "cases": {"1": "a", "true": "b", "eu-gold": "a"}, "default": null}, {"task_id": "a", "operator_type": "task", "function": "f", "dependencies": ["s"]}, {"task_id": "b", "operator_type": "task", "function": "f", "dependencies": ["s"]}]');
select v, pg_temp.states(absurd.start_workflow('switches', p_inputs => jsonb_build_object('v', v))) from unnest('{1,true,"\"eu-gold\"",null,2}'::jsonb[]) v;
select count(*) from pg_temp.ready('ops');

-- parallel: blocking without a join task, forked with one; a branch that fails.
\set branches '"branches": {"A": ["i"], "b": ["i"], "none": []}, "branch_workflows": {"A": {"name": "p_a", "tasks": {"i": {"task_id": "i", "operator_type": "task", "function": "f.a", "result_key": "ra"}}}, "b": {"name": "p_b", "variables": {"who": "inner"}, "tasks": {"i": {"task_id": "i", "operator_type": "task", "function": "f.b", "args": ["{{who}}"]}}}, "none": {"name": "p_none", "tasks": {}}}'
select pg_temp.register('ops', 'blocking', ('[{"task_id": "p", "operator_type": "parallel", "result_key": "all", ' || :'branches' || '}, {"task_id": "after", "operator_type": "task", "function": "f", "dependencies": ["p"], "args": ["{{ra}}", "{{all.b.result}}"]}]')::jsonb, '{"variables": {"who": "outer"}}');
select absurd.start_workflow('blocking') as run \gset
select path, params from pg_temp.ready('ops');
select pg_temp.done('ops', 'p.A/i', '"from a"');
select path, params from pg_temp.ready('ops');
select pg_temp.done('ops', 'p.b/i', '"from b"');
select path, params from pg_temp.ready('ops');
select pg_temp.done('ops', 'after');
select path, state, result from pg_temp.steps(:'run');
select absurd.start_workflow('blocking') as run \gset
select path from pg_temp.ready('ops');
select pg_temp.fail('ops', 'p.A/i', '{"name": "E", "message": "broken"}');
select pg_temp.states(:'run');
select pg_temp.done('ops', 'p.b/i', '"from b"');
select path, state, error from pg_temp.steps(:'run');
select pg_temp.register('ops', 'forked', ('[{"task_id": "p", "operator_type": "parallel", "result_key": "fork", ' || :'branches' || '}, {"task_id": "wait_all", "operator_type": "task", "function": "tools.workflow.wait_for_parallel_branches", "args": ["{{fork}}"], "kwargs": {"timeout_seconds": 60}, "dependencies": ["p"], "result_key": "joined"}, {"task_id": "beside", "operator_type": "task", "function": "f", "dependencies": ["p"], "args": ["{{fork.A}}"]}]')::jsonb, '{"variables": {"who": "outer"}}');
select absurd.start_workflow('forked') as run \gset
select path, params from pg_temp.ready('ops');
select pg_temp.done('ops', path) from (values ('beside'), ('p.A/i'), ('p.b/i')) v (path);
select status, result from pg_temp.verdict(:'run');

-- multi_choice: all branches whose condition holds; too few of them fail it.
select pg_temp.register('ops', 'choices', '[{"task_id": "m", "operator_type": "multi_choice", "result_key": "got", "branches": {"hi": {"condition": "{{x}} > 1", "tasks": ["h"]}, "odd": {"condition": "{{x}} % 2 == 1", "tasks": ["o"]}}, "minimum_branches": 1, "branch_workflows": {"hi": {"name": "m_hi", "tasks": {"h": {"task_id": "h", "operator_type": "task", "function": "f"}}}, "odd": {"name": "m_odd", "tasks": {"o": {"task_id": "o", "operator_type": "task", "function": "f"}}}}}]');
select x, path, state, error from generate_series(0, 3) x, absurd.start_workflow('choices', p_inputs => jsonb_build_object('x', x)) run, lateral (select * from pg_temp.steps(run) order by path) s order by 1, 2;
select path from pg_temp.ready('ops');
select pg_temp.done('ops', path, to_jsonb(path)) from held where path like 'm.%';
select result from absurd.workflow_run where workflow_name = 'choices' and status = 'completed' order by inputs;

-- foreach: one after the other, all at once, and with items that come later.
select pg_temp.register('ops', 'each', '[{"task_id": "each", "operator_type": "foreach", "items": "{{list}}", "loop_body": [{"task_id": "b", "operator_type": "task", "function": "f", "args": ["{{item}}", "{{loop.index}}", "{{loop.last}}", "{{kept | default(\"none\")}}"], "result_key": "kept"}]},
    {"task_id": "par", "operator_type": "foreach", "parallel": true, "dynamic": true, "items": "range(1, 5, 3)", "dependencies": ["each"], "loop_body": [{"task_id": "b", "operator_type": "task", "function": "f", "args": ["{{item}}"]}]}, {"task_id": "end", "operator_type": "task", "function": "f", "dependencies": ["par"], "args": ["{{each_results}}", "{{par_results}}", "{{kept}}"]}]');
select absurd.start_workflow('each', p_inputs => '{"list": {"k": 1, "j": [2]}}') as run \gset
select path, params from pg_temp.ready('ops');
select pg_temp.done('ops', 'each[0]/b', '"first"');
select path, params from pg_temp.ready('ops');
select pg_temp.done('ops', 'each[1]/b', '"second"');
select path, params from pg_temp.ready('ops');
select absurd.add_workflow_items(:'run', 'par', '["added", {"n": 1}]');
select path, params from pg_temp.ready('ops');
select pg_temp.done('ops', path, to_jsonb(path)) from held where path like 'par%' order by path desc;
select path, params from pg_temp.ready('ops');
select pg_temp.try(format('select absurd.add_workflow_items(%L, ''par'', ''[1]'')', :'run'));
select pg_temp.done('ops', 'end');
select status, result from pg_temp.verdict(:'run');
select absurd.start_workflow('each', p_inputs => '{"list": "[1, 2]"}') as run \gset
select path from pg_temp.ready('ops');
select pg_temp.fail('ops', 'each[0]/b', '"no"');
select path, state, error from pg_temp.steps(:'run');
select status, error from pg_temp.verdict(absurd.start_workflow('each', p_inputs => '{"list": 5}'));

-- while: its condition looks at what the body has left.
select pg_temp.register('ops', 'whiles', '[{"task_id": "w", "operator_type": "while", "condition": "{{n}} < 3 and loop.index < 10", "result_key": "turned", "loop_body": [{"task_id": "b", "operator_type": "task", "function": "f", "args": ["{{n}}", "{{loop.iteration}}"], "result_key": "n"}]}]');
select absurd.start_workflow('whiles', p_inputs => '{"n": 1}') as run \gset
select path, params from pg_temp.ready('ops');
select pg_temp.done('ops', 'w[0]/b', '2');
select path, params from pg_temp.ready('ops');
select pg_temp.done('ops', 'w[1]/b', '3');
select status, result from pg_temp.verdict(:'run');

-- emit_event and wait_for_event: between two runs, to a plain task, from outside, already emitted.
select pg_temp.register('ops', 'tells', '[{"task_id": "t", "operator_type": "emit_event", "event_name": "ready_{{day}}", "payload": {"n": "{{n}}"}, "result_key": "told"}]', '{"variables": {"n": 5}}');
select pg_temp.register('ops', 'hears', '[{"task_id": "h", "operator_type": "wait_for_event", "event_name": "ready_{{day}}", "result_key": "msg"}, {"task_id": "use", "operator_type": "task", "function": "f", "dependencies": ["h"], "args": ["{{msg.payload.n}}", "{{h}}"]}]');
select absurd.start_workflow('hears', p_inputs => '{"day": "mon"}') as run \gset
select task_id as plain, run_id as plain_run from absurd.spawn_task('ops', 'plain', '{}') \gset
select task_name from absurd.claim_task('ops', 'worker');
select should_suspend, payload from absurd.await_event('ops', :'plain', :'plain_run', 'step', 'ready_mon');
select pg_temp.states(:'run');
select status, result from pg_temp.verdict(absurd.start_workflow('tells', p_inputs => '{"day": "mon"}'));
select path, task_name, params from pg_temp.ready('ops');
select pg_temp.done('ops', 'use');
select status, result from pg_temp.verdict(:'run');
select absurd.start_workflow('hears', p_inputs => '{"day": "tue"}') as run \gset
select absurd.emit_event('ops', 'ready_tue', '{"n": "outside"}');
select path, params from pg_temp.ready('ops') where path = 'use';
select pg_temp.states(absurd.start_workflow('hears', p_inputs => '{"day": "tue"}'));
select path from pg_temp.ready('ops');

-- join: in each mode, with one input that completes, one that fails, one that is skipped.
select pg_temp.register('ops', 'join_' || mode, format('[{"task_id": "a", "operator_type": "task", "function": "f"}, {"task_id": "b", "operator_type": "task", "function": "f", "dependencies": []}, {"task_id": "c", "operator_type": "condition", "condition": "false", "if_true": "s"}, {"task_id": "s", "operator_type": "task", "function": "f", "dependencies": ["c"]},
    {"task_id": "j", "operator_type": "join", "join_tasks": ["a", "b", "s"], "join_mode": "%s", "dependencies": ["b"], "result_key": "joined"}]', mode)::jsonb) from unnest('{all_of,any_of,all_success,one_success}'::text[]) mode;
create function pg_temp.joins(first text, second text) returns table (mode text, halfway text, ended text, result jsonb, error jsonb) language plpgsql as $$
declare
    run uuid;
begin
    foreach mode in array '{all_of,any_of,all_success,one_success}'::text[] loop
        run := absurd.start_workflow('join_' || mode);
        perform pg_temp.ready('ops');
        if first = 'done' then perform pg_temp.done('ops', 'a', '1'); else perform pg_temp.fail('ops', 'a', '{"name": "E"}'); end if;
        select state into halfway from absurd.workflow_run_steps(run) where path = 'j';
        if second = 'done' then perform pg_temp.done('ops', 'b', '2'); else perform pg_temp.fail('ops', 'b', '{"name": "E"}'); end if;
        select s.state, s.result, s.error - 'task_id' into ended, result, error from absurd.workflow_run_steps(run) s where path = 'j';
        return next;
    end loop;
end $$;
select * from pg_temp.joins('done', 'done');
select * from pg_temp.joins('done', 'fails');
select * from pg_temp.joins('fails', 'done');
select * from pg_temp.joins('fails', 'fails');

-- wait: durations, an instant of the past, an event's name.
select pg_temp.register('ops', 'waits', '[{"task_id": "past", "operator_type": "wait", "wait_for": "2025-01-01T02:00:00+02:00", "result_key": "past"}, {"task_id": "minute", "operator_type": "wait", "wait_for": "PT1M", "result_key": "minute"}, {"task_id": "named", "operator_type": "wait", "wait_for": "go_ahead", "result_key": "named"}]');
select absurd.start_workflow('waits') as run \gset
select pg_temp.states(:'run');
select absurd.emit_event('ops', 'go_ahead', '"yes"');
set absurd.fake_now = '2026-01-01 00:01:00+00';
select absurd.advance_timers('ops');
select status, result from pg_temp.verdict(:'run');

-- reflexive: one task, with its own placeholders left alone.
select pg_temp.register('ops', 'reflex', '[{"task_id": "g", "operator_type": "reflexive", "generator": "gen.{{kind}}", "generator_kwargs": {"prompt": "{{p}}"}, "verifier": "check", "max_turns": 4, "correction_prompt_template": "fix {{error}}", "result_key": "code"}]', '{"variables": {"kind": "sql", "p": "write"}}');
select absurd.start_workflow('reflex') as run \gset
select path, task_name, jsonb_pretty(params) as params from pg_temp.ready('ops');
select pg_temp.done('ops', 'g', '"select 1"');
select status, result from pg_temp.verdict(:'run');

-- terminate: from within a branch, whatever is still open.
select pg_temp.register('ops', 'stops', '[{"task_id": "open", "operator_type": "task", "function": "f"}, {"task_id": "p", "operator_type": "parallel", "branches": {"b": ["first", "stop"]}, "branch_workflows": {"b": {"name": "p_b", "tasks": {"first": {"task_id": "first", "operator_type": "task", "function": "f"}, "stop": {"task_id": "stop", "operator_type": "terminate", "dependencies": ["first"], "status": "failed", "result": {"sku": "{{sku}}"}, "reason": "no stock for {{sku}}"}}}}}, {"task_id": "later", "operator_type": "task", "function": "f", "dependencies": ["p"]}]');
select absurd.start_workflow('stops', p_inputs => '{"sku": "x1"}') as run \gset
select path from pg_temp.ready('ops');
select pg_temp.done('ops', 'p.b/first');
select status, result, error from pg_temp.verdict(:'run');
select pg_temp.states(:'run');
select state from absurd.workflow_run_tasks(:'run') order by 1;
select result from pg_temp.steps(:'run') where path = 'p.b/stop';
select pg_temp.try($$select pg_temp.done('ops', 'open')$$);

-- child_workflow: two children, one of which fails; the tree has one root.
select pg_temp.register('ops', 'child', '[{"task_id": "work", "operator_type": "task", "function": "f", "args": ["{{url}}"], "result_key": "sum"}]');
select pg_temp.register('ops', 'parent', '[{"task_id": "fan", "operator_type": "child_workflow", "result_key": "kids", "children": {"a": {"workflow_name": "child", "inputs": {"url": "{{u}}"}}, "b": {"workflow_name": "child", "inputs": {"url": 2}}}}, {"task_id": "use", "operator_type": "task", "function": "f", "dependencies": ["fan"], "args": ["{{kids.a.result.sum}}"]}]');
select absurd.start_workflow('parent', p_inputs => '{"u": "http"}') as run \gset
select workflow_name, status, inputs, root_run_id = :'run' as root, parent_run_id = :'run' as parent, parent_step from absurd.workflow_run where root_run_id = :'run' order by workflow_name, inputs::text;
create temp table kids as select c.run_id, t.params #>> '{args,0}' as url from absurd.claim_task('ops', 'worker', 0, 10) c join absurd.t_ops t using (task_id);
select absurd.complete_run('ops', run_id, to_jsonb('sum of ' || url)) from kids where url = 'http';
select pg_temp.states(:'run');
select absurd.complete_run('ops', run_id, to_jsonb('sum of ' || url)) from kids where url = '2';
select path, params from pg_temp.ready('ops');
select path, state, result from pg_temp.steps(:'run');
select absurd.start_workflow('parent', p_inputs => '{"u": "http"}') as run \gset
truncate kids;
insert into kids select c.run_id, t.params #>> '{args,0}' from absurd.claim_task('ops', 'worker', 0, 10) c join absurd.t_ops t using (task_id) where t.task_name = 'f';
select absurd.fail_run('ops', run_id, '{"name": "E", "message": "gone"}') from kids where url = '2';
select absurd.complete_run('ops', run_id, '1') from kids where url = 'http';
select path, state, error from pg_temp.steps(:'run');
select absurd.start_workflow('parent', p_inputs => '{"u": "http"}') as run \gset
select absurd.cancel_workflow_run(:'run') as tasks_cancelled;
select status, count(*) from absurd.workflow_run where root_run_id = :'run' group by 1;
select absurd.drop_queue('ops');
delete from absurd.workflow_run;
