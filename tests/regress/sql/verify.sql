-- What does not fit together is found, by kind; what does, is not.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set absurd.fake_now = '2026-01-05 09:00:00+00';
set client_min_messages = warning;
select absurd.create_queue('verified');
create function pg_temp.found() returns table (kind text, count bigint, detail text) language sql as $$
  select kind, count(*), min(regexp_replace(detail, '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}', '<id>', 'g')) from absurd.verify('verified') group by 1 order by 1, 3 $$;
-- Every state that there is.
select count(*) from generate_series(1, 7) n, absurd.spawn_task('verified', 'task ' || n, '{}', '{"max_attempts": 1}');
create temporary table held as select row_number() over () as n, * from absurd.claim_task('verified', 'w', 600, 6);
select absurd.complete_run('verified', run_id) from held where n = 1;
select absurd.fail_run('verified', run_id, '{}') from held where n = 2;
select absurd.cancel_task('verified', task_id) from held where n = 3;
select absurd.await_event('verified', task_id, run_id, 's', 'never') from held where n = 4;
select absurd.schedule_run('verified', run_id, '2026-02-01') from held where n = 5;
select absurd.set_task_checkpoint_state('verified', task_id, 's', '1', run_id) from held where n = 6;
select workflow_name from absurd.register_workflow('{"name": "verified_flow", "tasks": {
  "t": {"task_id": "t", "operator_type": "task", "function": "f"}, "e": {"task_id": "e", "operator_type": "wait_for_event", "event_name": "flow", "timeout_seconds": 90},
  "c": {"task_id": "c", "operator_type": "child_workflow", "children": {"k": {"workflow_name": "verified_kid"}}}}}', 'verified');
select workflow_name from absurd.register_workflow('{"name": "verified_kid", "tasks": {"t": {"task_id": "t", "operator_type": "wait", "wait_for": "P1D"}}}', 'verified');
select absurd.start_workflow('verified_flow') as run \gset
select * from absurd.verify('verified');
-- Each kind, by hand.
begin;
insert into absurd.r_verified (run_id, task_id, attempt, state, available_at) values (gen_random_uuid(), gen_random_uuid(), 1, 'completed', now());
insert into absurd.c_verified (task_id, checkpoint_name) values (gen_random_uuid(), 'c');
insert into absurd.w_verified (task_id, run_id, step_name, event_name) values (gen_random_uuid(), gen_random_uuid(), 's', 'e');
select * from pg_temp.found();
rollback;
begin;
delete from absurd.r_verified where state = 'pending';
insert into absurd.r_verified (run_id, task_id, attempt, state, available_at) select gen_random_uuid(), task_id, 2, 'running', now() from held where n = 6;
select * from pg_temp.found();
rollback;
begin;
update absurd.t_verified set state = 'completed' where task_id in (select task_id from held where n in (2, 6));
update absurd.r_verified set state = 'sleeping' where run_id in (select run_id from held where n = 4) or state = 'pending';
select * from pg_temp.found();
rollback;
begin;
insert into absurd.r_verified (run_id, task_id, attempt, state, available_at) select gen_random_uuid(), task_id, 2, 'completed', now() from held where n = 1;
insert into absurd.e_verified (event_name, payload) values ('never', '1'), ('flow', '1');
delete from absurd.workflow_stimulus;
select * from pg_temp.found();
rollback;
begin;
update absurd.r_verified set available_at = 'infinity' where run_id in (select run_id from held where n = 5);
update absurd.t_verified set state = 'failed' where workflow_run_id = :'run';
update absurd.r_verified r set state = 'failed' from absurd.t_verified t where t.task_id = r.task_id and t.workflow_run_id = :'run';
update absurd.workflow_execution set status = 'completed' where workflow_run_id = (select workflow_run_id from absurd.workflow_run where parent_run_id = :'run');
select * from pg_temp.found();
rollback;
begin;
update absurd.workflow_execution set status = 'failed' where workflow_run_id = :'run';
select * from pg_temp.found();
rollback;
-- Of all queues, and rights.
select count(*) from absurd.verify() where queue_name = 'verified';
select pg_temp.try($$select * from absurd.verify('nowhere')$$);
create role verified_reader;
grant usage on schema absurd to verified_reader;
set role verified_reader;
select pg_temp.try($$select * from absurd.verify('verified')$$);
select count(*) from absurd.verify();
reset role;
drop owned by verified_reader;
drop role verified_reader;
select absurd.drop_queue('verified');
