-- Versions of a workflow: what registering leaves as it was, which is current, and what may be removed.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set absurd.fake_now = '2026-01-05 09:00:30+00';
select absurd.create_queue('versions');
create function pg_temp.reg(name text, version text, more jsonb default '{}', queue text default null) returns boolean language sql as $$
  select created from absurd.register_workflow(jsonb_build_object('name', name, 'version', version) || more, queue) $$;
create function pg_temp.minutely(paused boolean default false) returns jsonb language sql as $$
  select jsonb_build_object('schedule', '* * * * *', 'is_paused', paused) $$;
create function pg_temp.schedule(name text) returns table (version text, queue_name text, is_paused boolean, next_trigger timestamptz) language sql as $$
  select workflow_version, s.queue_name, s.is_paused, s.next_trigger from absurd.workflow_schedule s where workflow_name = name $$;
create function pg_temp.runs(name text) returns table (version text, status text, queue text, till text) language sql as $$
  select workflow_version, r.status, absurd_queue, inputs ->> 'data_interval_end' from absurd.workflow_run r where workflow_name = name order by r.workflow_run_id $$;

-- A new version that names no queue has that of the version before, for its schedule and for start_workflow.
select pg_temp.reg('moves', '1', queue => 'versions'), pg_temp.reg('moves', '2');
select workflow_version, queue_name from absurd.list_workflows() where workflow_name = 'moves';
select absurd.start_workflow('moves') is not null as started;
select * from pg_temp.runs('moves');

-- The operator's pause stays, and so does the operator's resuming; what only the documents say goes with them.
select pg_temp.reg('paused', '1', pg_temp.minutely(), 'versions');
select absurd.pause_workflow('paused');
select pg_temp.reg('paused', '2', pg_temp.minutely()), pg_temp.reg('paused', '3', pg_temp.minutely());
select * from pg_temp.schedule('paused');
select absurd.resume_workflow('paused');
select pg_temp.reg('paused', '4', pg_temp.minutely(true));
select * from pg_temp.schedule('paused');
select absurd.resume_workflow('paused');
select pg_temp.reg('paused', '5', pg_temp.minutely(true));
select * from pg_temp.schedule('paused');
select absurd.delete_workflow('paused');

-- What came due before is run with the version that was in charge.
select pg_temp.reg('due', '1', pg_temp.minutely(), 'versions');
set absurd.fake_now = '2026-01-05 09:02:10+00';
select pg_temp.reg('due', '2', pg_temp.minutely());
select * from pg_temp.runs('due');
select * from pg_temp.schedule('due');
set absurd.fake_now = '2026-01-05 09:03:00+00';
select absurd.run_schedules();
select * from pg_temp.runs('due');
-- Who may not start runs registers all the same: the trigger is left to the new version.
create role versions_admin;
grant usage on schema absurd to versions_admin;
grant select on absurd.queues to versions_admin;
grant select, insert on absurd.workflow_definition to versions_admin;
set absurd.fake_now = '2026-01-05 09:04:10+00';
set role versions_admin;
select pg_temp.reg('due', '3', pg_temp.minutely());
reset role;
select * from pg_temp.schedule('due');
select absurd.run_schedules();
select * from pg_temp.runs('due');

-- The same content again changes nothing; an older version is made current by name, and takes charge of the schedule.
select pg_temp.reg('due', '1', pg_temp.minutely());
select absurd.set_current_version('due', '1');
select workflow_version, is_latest, is_paused from absurd.list_workflows() where workflow_name = 'due';
select * from pg_temp.schedule('due');
select absurd.set_current_version('due', '1');
select pg_temp.try($$select absurd.set_current_version('due', '9')$$), pg_temp.try($$select absurd.set_current_version('nobody', '1')$$);

-- A definition that open runs need stays, whoever deletes it; the newest that is left is current when one goes.
select pg_temp.reg('used', '1', '{"tasks": {"a": {"task_id": "a", "operator_type": "task", "function": "f"}}}', 'versions'), pg_temp.reg('used', '2', pg_temp.minutely());
select absurd.start_workflow('used', '1') as used \gset
select pg_temp.try($$select absurd.delete_workflow('used', '1')$$), pg_temp.try($$select absurd.delete_workflow('used')$$),
       pg_temp.try($$delete from absurd.workflow_definition where workflow_name = 'used' returning 1$$);
select * from pg_temp.schedule('used');
select absurd.delete_workflow('used', '2');
select workflow_version, is_latest from absurd.list_workflows() where workflow_name = 'used';
select * from pg_temp.schedule('used');
select absurd.cancel_workflow_run(:'used');
select absurd.delete_workflow('used');
select count(*) from pg_temp.schedule('used');
select pg_temp.try($$select absurd.delete_workflow('used')$$), pg_temp.try($$select absurd.delete_workflow('due', '9')$$);

-- A parent stays while a child of it is open.
select pg_temp.reg('versions_kid', '1', '{"tasks": {"a": {"task_id": "a", "operator_type": "task", "function": "f"}}}', 'versions');
select pg_temp.reg('versions_par', '1', '{"tasks": {"c": {"task_id": "c", "operator_type": "child_workflow", "children": {"k": {"workflow_name": "versions_kid"}}}}}', 'versions');
select absurd.start_workflow('versions_par') as par \gset
select pg_temp.try(format('delete from absurd.workflow_run where workflow_run_id = %L returning 1', :'par'));
select absurd.cancel_workflow_run(:'par');
delete from absurd.workflow_run where workflow_run_id = :'par';
select count(*) from absurd.workflow_execution where root_run_id = :'par' and workflow_run_id = :'par';

-- The queue of a child is gone, or closed to who would start it: the child's step fails, the step before it is completed.
select absurd.create_queue('elsewhere');
select pg_temp.reg('far', '1', '{"tasks": {"a": {"task_id": "a", "operator_type": "task", "function": "f"}}}', 'elsewhere');
select pg_temp.reg('near', '1', '{"tasks": {"pay": {"task_id": "pay", "operator_type": "task", "function": "pay"},
  "c": {"task_id": "c", "operator_type": "child_workflow", "dependencies": ["pay"], "children": {"k": {"workflow_name": "far"}}}}}', 'versions');
select absurd.grant_access('versions_admin', 'worker', 'versions');
select absurd.start_workflow('near') as near \gset
set role versions_admin;
select absurd.complete_run('versions', run_id, '"paid"') from absurd.claim_task('versions', 'w', 60, 10) where task_name = 'pay';
reset role;
select path, state, result, error from absurd.workflow_run_steps(:'near');
select absurd.start_workflow('near') as near \gset
select absurd.drop_queue('elsewhere');
select absurd.complete_run('versions', run_id, '"paid"') from absurd.claim_task('versions', 'w', 60, 10) where task_name = 'pay';
select path, state, result, error from absurd.workflow_run_steps(:'near');
select absurd.drop_queue('versions');
drop owned by versions_admin;
drop role versions_admin;
