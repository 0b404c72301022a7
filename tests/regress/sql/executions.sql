-- Workflow documents that the database executes: registered, started, worked, looked at, cancelled.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
\set include :tests '/include/worker.sql'
\i :include
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set absurd.fake_now = '2026-01-01 00:00:00+00';
delete from absurd.workflow_run;
select absurd.create_queue('exec'), absurd.create_queue('exec two');

-- A document: extract, a condition, one task for each outcome, a report.
\set steps '[{"task_id": "extract", "operator_type": "task", "function": "etl.extract", "args": ["{{source}}", "{{day}}"], "kwargs": {"limit": "{{limits.rows}}"}, "result_key": "rows"}, {"task_id": "check", "operator_type": "condition", "dependencies": ["extract"], "condition": "{{rows.count}} > 10", "if_true": "load", "if_false": "note"}, {"task_id": "load", "operator_type": "task", "dependencies": ["check"], "function": "etl.load", "args": ["{{rows.count}}"], "retry_policy": {"max_retries": 2, "delay": "PT10S", "backoff_factor": 3}}, {"task_id": "note", "operator_type": "task", "dependencies": ["check"], "function": "etl.note"}, {"task_id": "report", "operator_type": "task", "dependencies": ["load", "note"], "function": "etl.report", "kwargs": {"text": "{{rows.count}} rows of {{day}}"}, "result_key": "report"}]'
\set fields '{"variables": {"source": "db", "limits": {"rows": 100}, "day": "none"}}'
select workflow_name, workflow_version, workflow_hash ~ '^[0-9a-f]{64}$' as sha, created from absurd.register_workflow(pg_temp.doc('etl', :'steps', :'fields'), 'exec');
select workflow_hash as hash from absurd.get_workflow('etl') \gset
-- The same content: with defaults written out, unknown members, other order, as YAML, as JSON text.
select created, workflow_hash = :'hash' as same from absurd.register_workflow(pg_temp.doc('etl', :'steps', :'fields') || '{"catchup": false, "tags": [], "start_task": null, "max_active_runs": 1.0, "unknown": 1, "deadline_action": "fail"}');
select created, workflow_hash = :'hash' as same from absurd.register_workflow((select document from absurd.get_workflow('etl')));
select created, workflow_hash = :'hash' as same from absurd.register_workflow_yaml(jsonb_pretty(pg_temp.doc('etl', :'steps', :'fields')));
select created, workflow_hash = :'hash' as same from absurd.register_workflow_yaml($$
version: '1'
name: etl
variables: {day: none, limits: {rows: 1_00}, source: db}
tasks:
  report: {task_id: report, operator_type: task, dependencies: [load, note], function: etl.report, kwargs: {text: '{{rows.count}} rows of {{day}}'}, result_key: report}
  note: {task_id: note, operator_type: task, dependencies: [check], function: etl.note}
  load:
    args: ['{{rows.count}}']
    dependencies: [check]
    function: etl.load
    operator_type: task
    retry_policy: {backoff_factor: 3.0, delay: 10, max_retries: 2}
    task_id: load
  check:
    condition: '{{rows.count}} > 10'
    dependencies:
    - extract
    if_false: note
    if_true: load
    operator_type: condition
    task_id: check
  extract:
    args: ['{{source}}', "{{day}}"]
    function: etl.extract
    kwargs: {limit: '{{limits.rows}}'}
    operator_type: task
    result_key: rows
    task_id: extract
$$);
-- What YAML 1.1 takes for text and for numbers.
select workflow_name, created from absurd.register_workflow_yaml(E'name: yaml\nvariables: {a: 1e3, b: 12e4, c: 0o17, d: 017, e: 1.5e+3, f: yes, g: ~, h: "1", i: 2026-01-01}\ntasks: {}\n', 'exec');
select document -> 'variables' from absurd.get_workflow('yaml');
-- Other content under a known name and version is refused, a new version is not; the latest is the one registered last.
select pg_temp.try(format('select * from absurd.register_workflow(%L)', pg_temp.doc('etl', :'steps', :'fields') || '{"description": "other"}'));
select workflow_version, created from absurd.register_workflow(pg_temp.doc('etl', :'steps', :'fields') || '{"version": "0.9", "description": "other"}', 'exec two');
select workflow_version, queue_name, is_latest, registered_at, registered_by = current_user as by_me from absurd.get_workflow('etl');
select workflow_name, workflow_version, queue_name, is_latest, schedule, is_paused, next_trigger from absurd.list_workflows() where workflow_name in ('etl', 'yaml');
-- Again with a queue: only the queue changes.
select created from absurd.register_workflow(pg_temp.doc('etl', :'steps', :'fields') || '{"version": "0.9", "description": "other"}', 'exec');
select workflow_version, queue_name from absurd.list_workflows() where workflow_name = 'etl';
select pg_temp.try(format('select * from absurd.register_workflow(%L, ''nowhere'')', pg_temp.doc('etl', :'steps', :'fields')));
select queue_name from absurd.get_workflow('etl', '1');

-- Started: the run with hash and inputs, its first step in the queue.
select absurd.start_workflow('etl', '1', '{"day": "monday"}', p_options => '{"created_by": "alice", "tags": {"env": "test"}, "idempotency_key": "k"}') as run \gset
select workflow_name, workflow_version, workflow_hash = :'hash' as hash, status, absurd_queue, inputs, created_by, tags, started_at, root_run_id = workflow_run_id as root, parent_run_id, parent_step, created_at from absurd.get_workflow_run(:'run');
select absurd.start_workflow('etl', '1', '{"day": "tuesday"}', p_options => '{"idempotency_key": "k"}') = :'run' as same_run;
select task_name, params, headers - 'workflow_run_id' as headers, (headers ->> 'workflow_run_id')::uuid = :'run' as of_the_run, workflow_run_id = :'run' as linked, max_attempts, retry_strategy from absurd.t_exec;
select * from pg_temp.steps(:'run');
select * from absurd.workflow_run_progress(:'run');
select absurd.workflow_run_context(:'run');
-- A start that is rolled back leaves nothing.
begin;
select absurd.start_workflow('etl') is not null as started;
rollback;
select count(*) from absurd.t_exec;
-- Worked: one attempt at load fails and is repeated with the same arguments.
select * from pg_temp.ready('exec');
select pg_temp.done('exec', 'extract', '{"count": 12}');
select pg_temp.states(:'run');
select * from pg_temp.ready('exec');
select pg_temp.fail('exec', 'load', '{"name": "IOError", "message": "disk"}');
select pg_temp.states(:'run');
select state, attempts, max_attempts, retry_strategy, (select max(available_at) from absurd.r_exec r where r.task_id = t.task_id) as next from absurd.t_exec t where task_name = 'etl.load';
select * from absurd.workflow_run_progress(:'run');
select * from pg_temp.ready('exec');
set absurd.fake_now = '2026-01-01 00:00:10+00';
select * from pg_temp.ready('exec');
-- Ending a step and starting what follows is one transaction.
begin;
select pg_temp.done('exec', 'load', '"loaded"');
select pg_temp.states(:'run');
rollback;
select pg_temp.states(:'run');
select pg_temp.done('exec', 'load', '"loaded"');
select * from pg_temp.ready('exec');
set absurd.fake_now = '2026-01-01 00:01:00+00';
select pg_temp.done('exec', 'report', '"fine"');
select * from pg_temp.verdict(:'run');
select * from pg_temp.steps(:'run');
select path, step_name, queue_name, task_id is not null as task, started_at, finished_at from absurd.workflow_run_steps(:'run');
select absurd.workflow_run_context(:'run');
select * from absurd.workflow_run_progress(:'run');
select at, from_status, to_status, changed_by = current_user as by_me from absurd.workflow_run_history(:'run');
select queue_name, task_name, state, attempts, finished_at, result from absurd.workflow_run_tasks(:'run') order by task_name;
-- Diagrams.
\pset format unaligned
\pset tuples_only on
select absurd.workflow_diagram('etl', '1');
select absurd.workflow_run_diagram(:'run');
\pset format aligned
\pset tuples_only off

-- A run that fails: what follows is upstream_failed, and counts as failed.
select absurd.start_workflow('etl', '1', p_queue_name => 'exec two') as failing \gset
select task_name, params from absurd."t_exec two";
select count(*) from pg_temp.ready('exec two');
select pg_temp.fail('exec two', 'extract', '{"name": "IOError", "message": "gone"}');
select * from pg_temp.verdict(:'failing');
select * from pg_temp.steps(:'failing');
select * from absurd.workflow_run_progress(:'failing');
-- A step whose task is cancelled from outside has failed.
select absurd.start_workflow('etl', '1') as run \gset
select absurd.cancel_task('exec', task_id) from absurd.workflow_run_steps(:'run') where path = 'extract';
select status, error from pg_temp.verdict(:'run');

-- The status of an executed run is not set by hand.
select absurd.start_workflow('etl', '1') as run \gset
create function pg_temp.full(statement text) returns table (code text, message text, hint text) language plpgsql as $$
begin
    execute statement;
    code := 'none';
    return next;
exception when others then
    get stacked diagnostics code = returned_sqlstate, message = message_text, hint = pg_exception_hint;
    message := regexp_replace(message, '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}', '<id>', 'g');
    return next;
end $$;
select status, f.* from unnest('{pending,running,completed,failed,cancelled}'::text[]) status, pg_temp.full(format('select absurd.update_workflow_run_status(%L, %L)', :'run', status)) f;
select status, f.* from unnest('{pending,completed,failed,cancelled}'::text[]) status, pg_temp.full(format('update absurd.workflow_run set status = %L where workflow_run_id = %L', status, :'run')) f;
select f.* from pg_temp.full(format('update absurd.workflow_run set root_run_id = null where workflow_run_id = %L', :'run')) f;
select change, f.code, f.message from (values ('result = ''1'''), ('error = ''1'''), ('started_at = null'), ('completed_at = ''2026-01-02'''), ('parent_run_id = workflow_run_id'), ('tags = ''{"b": 1}'''), ('task_count = 5')) v (change),
    pg_temp.full(format('update absurd.workflow_run set %s where workflow_run_id = %L', change, :'run')) f;
select status, result, error, started_at, completed_at, tags, task_count from absurd.get_workflow_run(:'run');
-- Nor does it come to name another document than the one it executes.
select f.code as refused from pg_temp.full(format('update absurd.workflow_run set workflow_hash = ''x'' where workflow_run_id = %L', :'run')) f;
-- Cancelling: the open task too, running steps cancelled, the others skipped.
select count(*) from pg_temp.ready('exec');
select absurd.cancel_workflow_run(:'run', 'enough') as tasks_cancelled;
select * from pg_temp.verdict(:'run');
select pg_temp.states(:'run');
select * from absurd.workflow_run_progress(:'run');
select from_status, to_status from absurd.workflow_run_history(:'run');
select absurd.cancel_workflow_run(:'run', 'again') as tasks_cancelled;
select pg_temp.try($$select pg_temp.done('exec', 'extract')$$);
select f.* from pg_temp.full(format('select absurd.cancel_workflow_run(%L)', :'failing')) f;
-- No more tasks for a run that has ended; a document without tasks has ended when it starts.
select pg_temp.try(format('select * from absurd.spawn_task(''exec'', ''late'', ''{}'', ''{"workflow_run_id": "%s"}'')', :'run'));
select status, result from pg_temp.verdict(absurd.start_workflow('yaml'));
-- A run keeps its version while a newer one is registered.
select absurd.start_workflow('etl') as run \gset
select workflow_version, created from absurd.register_workflow(pg_temp.doc('etl', '[{"task_id": "only", "operator_type": "task", "function": "f"}]') || '{"version": "2"}', 'exec');
select workflow_version from absurd.get_workflow_run(:'run');
select count(*) from pg_temp.ready('exec');
select pg_temp.done('exec', 'extract', '{"count": 1}');
select pg_temp.states(:'run');
select workflow_version from absurd.get_workflow_run(absurd.start_workflow('etl'));

-- What cannot be started, and what is not executed.
select args, pg_temp.try(format('select absurd.start_workflow(%s)', args)) from (values ('''nope'''), ('''etl'', ''7'''), ('''etl'', ''1'', ''[]'''), ('''etl'', ''1'', ''null'''), ('''etl'', ''1'', ''{}'', ''nowhere'''), ('''etl'', ''1'', ''{}'', ''exec'', ''[]'''),
    ('''etl'', ''1'', ''{}'', ''exec'', ''{"tags": 1}'''), ('''etl'', ''1'', ''{}'', ''exec'', ''{"idempotency_key": " "}'''), ('''etl'', ''1'', ''{}'', ''exec'', ''{"created_by": 1}'''), ('''etl'', ''1'', ''{}'', ''exec'', ''{"respect_max_active_runs": "x"}''')) v (args);
select created from absurd.register_workflow(pg_temp.doc('no_queue', '[]'));
select pg_temp.try($$select absurd.start_workflow('no_queue')$$);
select absurd.create_workflow_run('plain', '1') as plain \gset
select f, pg_temp.try(format('select * from absurd.%I(%L)', f, run)) from unnest('{workflow_run_steps,workflow_run_context,workflow_run_diagram}'::text[]) f, (values (:'plain'), ('00000000-0000-7000-8000-000000000000')) v (run) order by f, run desc;
select pg_temp.try(format('select absurd.add_workflow_items(%L, %L, ''[1]'')', run, path)) from (values (:'plain', 'a'), (:'run', 'nope'), (:'run', 'extract')) v (run, path);
select f, pg_temp.try(format('select * from absurd.%I(''nope'')', f)) from unnest('{get_workflow,workflow_diagram,pause_workflow,resume_workflow}'::text[]) f;
select absurd.drop_queue('exec'), absurd.drop_queue('exec two');
delete from absurd.workflow_run;
select count(*) as steps_go_with_their_run from absurd.workflow_step;
