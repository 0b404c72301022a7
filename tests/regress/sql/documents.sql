-- Which workflow documents are refused, with the step and the rule named; hostile ones are refused at once.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set absurd.fake_now = '2026-01-01 00:00:00+00';
set statement_timeout = '60s';
select absurd.create_queue('documents');
create temp table bad (id serial, what text, document jsonb);
-- A document with a task a and a step x of these fields.
create function pg_temp.x(fields jsonb) returns jsonb language sql as $$
    select jsonb_build_object('name', 'bad', 'tasks', jsonb_build_object(
        'a', '{"task_id": "a", "operator_type": "task", "function": "f"}'::jsonb,
        'x', '{"task_id": "x", "operator_type": "task", "function": "f"}'::jsonb || fields))
$$;

-- The document itself.
insert into bad (what, document)
select key || ' ' || (value::text), jsonb_build_object('name', 'bad') || jsonb_build_object(key, value)
  from (values ('name', '""'::jsonb), ('name', '"A"'), ('name', '"1a"'), ('name', '"a__b"'), ('name', '"a-b"'), ('name', '"a\n"'), ('name', 'null'), ('version', '1.0'), ('version', '""'), ('version', '"1__0"'), ('version', '"1 0"'), ('version', '"1\n"'),
               ('tasks', '[]'), ('tasks', '{"x": 1}'), ('tasks', '{"x": {"task_id": "y", "operator_type": "task", "function": "f"}}'), ('variables', '[]'), ('start_task', '"nope"'), ('schedule', '"nope"'), ('schedule', '"61 * * * *"'), ('schedule', '"* * * * * *"'), ('schedule', '"0 0 31 2 *"'),
               ('start_date', '"soon"'), ('start_date', '"2025-02-30T00:00:00"'), ('catchup', '"no"'), ('is_paused', '0'), ('tags', '{}'), ('tags', '[1]'), ('max_active_runs', '0'), ('max_active_runs', '1.5'), ('deadline_seconds', '0'), ('deadline_action', '"stop"'),
               ('default_retry_policy', '{"max_retries": -1}'), ('default_retry_policy', '{"delay": "P2D"}'), ('default_retry_policy', '60')) v (key, value);
insert into bad (what, document) values ('no name', '{}'), ('an array', '[]'), ('a string', '"x"'), ('null', 'null'),
    ('task without id', '{"name": "bad", "tasks": {"x": {"operator_type": "task", "function": "f"}}}');
-- Fields that every step has.
insert into bad (what, document)
select fields::text, pg_temp.x(fields)
  from (values ('{"operator_type": "try_catch"}'::jsonb), ('{"operator_type": "nope"}'), ('{"operator_type": null}'), ('{"dependencies": ["nope"]}'), ('{"dependencies": ["x"]}'), ('{"dependencies": "a"}'), ('{"trigger_rule": "always"}'),
               ('{"retry_policy": {"max_retries": -1}}'), ('{"retry_policy": {"delay": "-PT5S"}}'), ('{"retry_policy": {"delay": "PT24H1S"}}'), ('{"retry_policy": {"delay": "soon"}}'), ('{"retry_policy": {"backoff_factor": -1}}'), ('{"retry_policy": 60}'), ('{"retry_policy": "PT5S"}'),
               ('{"timeout_policy": {}}'), ('{"timeout_policy": {"timeout": "-PT1S"}}'), ('{"circuit_breaker_policy": {"failure_threshold": 0}}'), ('{"circuit_breaker_policy": {"success_threshold": 0}}'), ('{"circuit_breaker_policy": {"isolation_duration": "x"}}'),
               ('{"on_failure_task_id": "nope"}'), ('{"on_success_task_id": "nope"}'), ('{"result_key": 1}'), ('{"idempotency_key": 1}'), ('{"function": null}'), ('{"args": {}}'), ('{"kwargs": []}'), ('{"metadata": []}'),
               ('{"preconditions": [{"variable": "{{a}}", "check": "nope"}]}'), ('{"preconditions": [{"variable": "{{a}}", "check": "in_range", "value": [1]}]}'), ('{"postconditions": [{"variable": "{{a}}", "check": "in_set", "value": "a"}]}'),
               ('{"preconditions": [{"variable": "{{a}}", "check": "matches_regex", "value": "(a"}]}'), ('{"preconditions": [{"variable": "{{a}}", "check": "matches_regex", "value": "(a)\\1"}]}'), ('{"preconditions": [{"variable": "{{a}}", "check": "type_check", "value": "nope"}]}'), ('{"preconditions": [{"check": "exists"}]}')) v (fields);
-- Fields of the operators.
insert into bad (what, document)
select fields::text, pg_temp.x(fields)
  from (values ('{"operator_type": "condition"}'::jsonb), ('{"operator_type": "condition", "condition": "1", "if_true": "nope"}'), ('{"operator_type": "condition", "condition": "1", "if_true": "x"}'),
               ('{"operator_type": "wait"}'), ('{"operator_type": "wait", "wait_for": "in a while"}'), ('{"operator_type": "wait", "wait_for": "time:25:00:00"}'),
               ('{"operator_type": "parallel", "branches": {"b": ["nope"]}}'), ('{"operator_type": "parallel", "branches": {"b": "x"}}'), ('{"operator_type": "parallel", "branches": {"b": ["i"]}, "branch_workflows": {"b": {"name": "x_b", "tasks": {"i": {"task_id": "i", "operator_type": "task"}}}}}'),
               ('{"operator_type": "foreach"}'), ('{"operator_type": "foreach", "items": [1, 2]}'), ('{"operator_type": "foreach", "items": "[]", "loop_body": [{"task_id": "i", "operator_type": "nope"}]}'), ('{"operator_type": "foreach", "items": "[]", "loop_body": [{"task_id": "i", "operator_type": "task", "function": "f", "dependencies": ["i"]}]}'),
               ('{"operator_type": "while"}'), ('{"operator_type": "emit_event"}'), ('{"operator_type": "emit_event", "event_name": "e", "payload": 1}'), ('{"operator_type": "wait_for_event"}'),
               ('{"operator_type": "join"}'), ('{"operator_type": "join", "join_tasks": ["nope"]}'), ('{"operator_type": "join", "join_tasks": ["a"], "join_mode": "most"}'), ('{"operator_type": "join", "join_tasks": ["x"]}'),
               ('{"operator_type": "switch"}'), ('{"operator_type": "switch", "switch_on": "a", "cases": {"1": "nope"}}'), ('{"operator_type": "switch", "switch_on": "a", "default": "nope"}'), ('{"operator_type": "switch", "switch_on": "a", "cases": {"1": "x"}}'),
               ('{"operator_type": "reflexive"}'), ('{"operator_type": "reflexive", "generator": "g", "verifier": "v", "max_turns": 0}'), ('{"operator_type": "reflexive", "generator": "g", "verifier": "v", "max_turns": 11}'), ('{"operator_type": "multi_choice"}'), ('{"operator_type": "multi_choice", "branches": {"b": {"tasks": []}}}'), ('{"operator_type": "multi_choice", "branches": {}, "minimum_branches": -1}'), ('{"operator_type": "terminate", "status": "done"}'), ('{"operator_type": "terminate", "result": []}'),
               ('{"operator_type": "child_workflow", "children": {"c": {}}}'), ('{"operator_type": "child_workflow", "children": {"c": {"workflow_name": "bad", "inputs": 1}}}')) v (fields);
-- What looks like a mistake is said, and refused is nothing: fields one letter off, conditions that cannot be parsed.
select created from absurd.register_workflow('{"name": "linted", "max_active_run": 2, "owner": "me", "tasks": {
  "a": {"task_id": "a", "operator_type": "condition", "condition": "{{n}} >", "dependancies": [], "on_faliure_task_id": "b", "resultkey": "r", "color": "red"},
  "b": {"task_id": "b", "operator_type": "while", "condition": "1 +", "loop_body": [{"task_id": "c", "operator_type": "task", "function": "f", "kwarg": {}, "arg": []}]},
  "m": {"task_id": "m", "operator_type": "multi_choice", "branches": {"x": {"condition": "((", "tasks": []}}}}}', 'documents');
-- The graph.
create function pg_temp.graph(edges jsonb, more jsonb default '{}') returns jsonb language sql as $$
    select jsonb_build_object('name', 'bad', 'tasks', (select coalesce(jsonb_object_agg(key, jsonb_build_object('task_id', key, 'operator_type', 'task', 'function', 'f', 'dependencies', value)), '{}') from jsonb_each(edges)) || more)
$$;
insert into bad (what, document) values
    ('a cycle of two', pg_temp.graph('{"a": ["b"], "b": ["a"]}')), ('a cycle of three', pg_temp.graph('{"a": ["c"], "b": ["a"], "c": ["b"]}')), ('a join behind itself', pg_temp.graph('{"b": ["j"]}', '{"j": {"task_id": "j", "operator_type": "join", "join_tasks": ["b"]}}')),
    ('two routers that lead to each other', pg_temp.graph('{}', '{"q": {"task_id": "q", "operator_type": "condition", "condition": "1", "if_true": "r"}, "r": {"task_id": "r", "operator_type": "condition", "condition": "1", "if_true": "q"}}')),
    ('a name in two branches', pg_temp.graph('{"after": ["i"]}', '{"p": {"task_id": "p", "operator_type": "parallel", "branches": {"b": ["i"], "c": ["i"]}, "branch_workflows": {"b": {"name": "p_b", "tasks": {"i": {"task_id": "i", "operator_type": "task", "function": "f"}}}, "c": {"name": "p_c", "tasks": {"i": {"task_id": "i", "operator_type": "task", "function": "f"}}}}}}')),
    ('a target in a branch', pg_temp.graph('{}', '{"r": {"task_id": "r", "operator_type": "condition", "condition": "1", "if_true": "i"}, "p": {"task_id": "p", "operator_type": "parallel", "branches": {"b": ["i"]}, "branch_workflows": {"b": {"name": "p_b", "tasks": {"i": {"task_id": "i", "operator_type": "task", "function": "f"}}}}}}')),
    ('a handler in a loop', pg_temp.graph('{}', '{"a": {"task_id": "a", "operator_type": "task", "function": "f", "on_failure_task_id": "i"}, "l": {"task_id": "l", "operator_type": "foreach", "items": "[]", "loop_body": [{"task_id": "i", "operator_type": "task", "function": "f"}]}}')),
    ('a fault deep inside', pg_temp.graph('{}', '{"l": {"task_id": "l", "operator_type": "foreach", "items": "[]", "loop_body": [{"task_id": "p", "operator_type": "parallel", "branches": {"b": ["i"]}, "branch_workflows": {"b": {"name": "p_b", "tasks": {"i": {"task_id": "i", "operator_type": "try_catch"}}}}}]}}'));
select count(*) >= 40 as enough from bad;
select id, what, pg_temp.try(format('select * from absurd.register_workflow(%L, ''documents'')', document)) as answer from bad order by id;
select count(*) as registered from absurd.workflow_definition where workflow_name = 'bad';

-- Text that is not YAML, or not as the exporter writes it.
select yaml, pg_temp.try(format('select * from absurd.register_workflow_yaml(%L)', yaml)) from (values (''), ('x'), ('- a'), ('name: [a'), (E'name: a\n  tasks: {}'), (E'name: a\nname: b'), ('name: 1'), (E'name: a\nversion: 1.0'), (E'name: a\ntasks: {1: {}}'), (E'name: &n a\nversion: *nope'), (E'name: a\n---\nname: b'), (E'name: !!python/object:os.system a'), (E'name: a\nvariables: {x: .inf}')) v (yaml);

-- Hostile documents. Each is refused, or bounded when run, within seconds on any machine.
create temp table hostile (id serial, what text, call text);
create function pg_temp.nested(inner_text text, open_text text, close_text text, times int) returns text language sql as $$ select repeat(open_text, times) || inner_text || repeat(close_text, times) $$;
insert into hostile (what, call) values
    ('values 3,000 deep', format('register_workflow(%L)', '{"name": "bad", "variables": {"a": ' || pg_temp.nested('1', '[', ']', 3000) || '}}')),
    ('YAML 100,000 deep', format('register_workflow_yaml(%L)', 'name: bad' || E'\nvariables: {a: ' || pg_temp.nested('1', '[', ']', 100000) || '}')),
    ('YAML 3,000 mappings deep', format('register_workflow_yaml(%L)', 'name: bad' || E'\nvariables: ' || pg_temp.nested('1', '{a: ', '}', 3000))),
    ('loops 200 deep', format('register_workflow(%L)', '{"name": "bad", "tasks": {"x": ' || pg_temp.nested('{"task_id": "x", "operator_type": "task", "function": "f"}', '{"task_id": "x", "operator_type": "foreach", "items": "[]", "loop_body": [', ']}', 200) || '}}')),
    ('a number of 100,000 digits in a bound', format('register_workflow(%L)', '{"name": "bad", "max_active_runs": ' || repeat('9', 100000) || '}')),
    ('a duration of 10^300', format('register_workflow(%L)', pg_temp.x('{"timeout_policy": {"timeout": 1e300}}'))), ('years without end', format('register_workflow(%L)', pg_temp.x('{"retry_policy": {"delay": "P99999999999999999999Y"}}'))),
    ('a backoff of 10^400', format('register_workflow(%L)', pg_temp.x('{"retry_policy": {"backoff_factor": 1e400}}'))), ('retries without end', format('register_workflow(%L)', pg_temp.x('{"retry_policy": {"max_retries": 99999999999}}'))),
    ('a regex that repeats repetitions', format('register_workflow(%L)', pg_temp.x('{"preconditions": [{"variable": "{{a}}", "check": "matches_regex", "value": "((a{1000}){1000}){1000}"}]}'))),
    ('a regex of 100 KB', format('register_workflow(%L)', pg_temp.x(jsonb_build_object('preconditions', jsonb_build_array(jsonb_build_object('variable', 'a', 'check', 'matches_regex', 'value', repeat('(a|b)*', 17000))))))),
    ('a billion laughs', format('register_workflow_yaml(%L)', E'name: bad\nvariables:\n  l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n' || (select string_agg(format('  l%s: &l%s [*l%s, *l%s, *l%s, *l%s, *l%s, *l%s, *l%s, *l%s, *l%s, *l%s]', i, i, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1), E'\n' order by i) from generate_series(1, 9) i))),
    ('an alias to itself', format('register_workflow_yaml(%L)', E'name: bad\nvariables: &v {a: *v}')), ('two million values', format('register_workflow_yaml(%L)', E'name: bad\nvariables: {a: [' || repeat('1,', 2000000) || '1]}')), ('40 MB of text', format('register_workflow_yaml(%L)', E'name: bad\ndescription: ' || repeat('x', 40000000)));
create function pg_temp.quick(statement text) returns table (quick boolean, answer text) language plpgsql as $$
declare
    since timestamptz := clock_timestamp();
begin
    answer := pg_temp.try(statement);
    quick := clock_timestamp() - since < interval '10 seconds';
    return next;
end $$;
select what, quick, left(answer, 140) as answer from hostile, pg_temp.quick('select workflow_name, created from absurd.' || call) order by id;
-- What only running it shows.
insert into hostile (what, call)
select what, format('select path, state, error - ''task_id'' as error from absurd.workflow_run_steps(absurd.start_workflow(%L, p_inputs => %L)) where path = ''x''', 'hostile_' || place, inputs)
  from (values (1, 'a regex that would go wrong elsewhere', '{"preconditions": [{"variable": "{{text}}", "check": "matches_regex", "value": "^(a+)+$"}]}'::jsonb, jsonb_build_object('text', repeat('a', 60000) || 'b')),
               (2, 'a fan-out without end', '{"operator_type": "foreach", "parallel": true, "items": "range(1000000000000)"}', '{}'), (3, 'a loop without end', '{"operator_type": "while", "condition": "true"}', '{}'),
               (4, 'templates that multiply', jsonb_build_object('args', jsonb_build_array(repeat('{{text}}', 10000))), jsonb_build_object('text', repeat('x', 10000))), (5, 'a wait beyond all time', '{"operator_type": "wait", "wait_for": "{{text}}"}', '{"text": "1e300"}'),
               (6, 'a negative range', '{"operator_type": "foreach", "items": "range(0, 10, 0)"}', '{}'), (8, 'a condition 20,000 deep', jsonb_build_object('operator_type', 'condition', 'condition', pg_temp.nested('1', '(', ')', 20000)), '{}'), (9, 'a condition of 30,000 nots', jsonb_build_object('operator_type', 'condition', 'condition', repeat('!', 30000) || '1'), '{}'),
               (10, 'a condition of 1 MB', jsonb_build_object('operator_type', 'condition', 'condition', repeat('1 + ', 250000) || '1'), '{}'), (11, 'no expression', '{"operator_type": "condition", "condition": "1 +"}', '{}'), (12, 'a call', '{"operator_type": "condition", "condition": "pg_sleep(10)"}', '{}'), (13, 'a chain of comparisons', '{"operator_type": "while", "condition": "1 < 2 < 3"}', '{}'),
               (14, 'a branch without an expression', '{"operator_type": "multi_choice", "branches": {"b": {"condition": "(", "tasks": []}}}', '{}'),
               (7, 'a number that overflows', '{"operator_type": "condition", "condition": "{{text}} * {{text}} * {{text}} > 0"}', '{"text": 1e200}')) v (place, what, fields, inputs),
       absurd.register_workflow(pg_temp.x(fields) || jsonb_build_object('name', 'hostile_' || place), 'documents');
select what, quick, left(answer, 200) as answer from hostile, pg_temp.quick(call) where call ^@ 'select' order by id;
-- Names that no index can hold fail their step, not the call that came to them.
select operator, pg_temp.try(format('select state from absurd.workflow_run_steps(absurd.start_workflow(''long'', %L, p_inputs => %L)) where path = ''x''', operator, (select jsonb_build_object('text', string_agg(md5(i::text), '')) from generate_series(1, 300) i)))
  from (values ('emit_event', '{"operator_type": "emit_event", "event_name": "{{text}}"}'::jsonb), ('wait_for_event', '{"operator_type": "wait_for_event", "event_name": "{{text}}"}'), ('wait', '{"operator_type": "wait", "wait_for": "{{text}}"}'), ('task', '{"operator_type": "task", "idempotency_key": "{{text}}"}')) v (operator, fields),
       absurd.register_workflow(pg_temp.x(fields) || jsonb_build_object('name', 'long', 'version', operator), 'documents') order by 1;
-- Children that start themselves end at a depth.
select created from absurd.register_workflow('{"name": "deep", "tasks": {"x": {"task_id": "x", "operator_type": "child_workflow", "children": {"c": {"workflow_name": "deep"}}}}}', 'documents');
select absurd.start_workflow('deep') as run \gset
select absurd.advance_timers('documents') > 1000 as endless;
select count(*) < 1000 as bounded, bool_and(status = 'failed') as all_failed from absurd.workflow_execution where workflow_name = 'deep';
-- A loop that turns without workers goes on a piece a call, however many items it has.
select created from absurd.register_workflow(pg_temp.x('{"operator_type": "foreach", "parallel": true, "items": "range(900000)", "loop_body": [{"task_id": "i", "operator_type": "condition", "condition": "{{item}} >= 0"}]}'), 'documents');
select absurd.start_workflow('bad') is not null as started;
select count(*) between 1 and 2000 as bounded from absurd.workflow_scope c join absurd.workflow_execution e using (workflow_run_id) where e.workflow_name = 'bad';
select absurd.drop_queue('documents');
delete from absurd.workflow_run;
