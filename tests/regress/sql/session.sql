-- What a session has of its own, its temporary tables and its search_path, does not change what
-- the functions mean. Nothing of the extension is called before the tables exist, so nothing has
-- been planned without them.
create temp table name (x int);
create temp table text (x int);
create temp table uuid (x int);
create temp table regnamespace (x int);
create temp table regclass (x int);
create temp table queues (x int);
create temp table workflow_run (x int);
create temp table pg_class (x int);
create temp table pg_attribute (x int);
create temp table pg_index (x int);
create temp table "t_session" (x int);
create temp table "r_session" (x int);
-- Runs a statement; answers with its row, or the SQLSTATE and message of its error. Ids are masked.
create function pg_temp.try(statement pg_catalog.text) returns pg_catalog.text language plpgsql as $$
declare
    answer record;
    found_rows bigint;
    code pg_catalog.text;
    message pg_catalog.text;
begin
    execute statement into answer;
    get diagnostics found_rows = row_count;
    if found_rows = 0 then
        return 'no row';
    end if;
    return 'ok ' || regexp_replace(answer::pg_catalog.text, '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}', '<id>', 'g');
exception when others then
    get stacked diagnostics code = returned_sqlstate, message = message_text;
    return code || ' ' || regexp_replace(message, '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}', '<id>', 'g');
end $$;
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set absurd.fake_now = '2026-01-01 00:00:00+00';
set intervalstyle = 'postgres';
select pg_temp.try($$select absurd.create_queue('session')$$);
select pg_temp.try($$select absurd.ensure_queue_tables('session')$$);
select pg_temp.try($$select absurd.create_queue('session_ti')$$);
select pg_temp.try($$select absurd.set_queue_policy('session', '{"cleanup_limit": 5, "cleanup_ttl": "7 days"}')$$);
select pg_temp.try($$select cleanup_limit from absurd.get_queue_policy('session')$$);
select pg_temp.try($$select attempt, created from absurd.spawn_task('session', 'n', '{}', '{"idempotency_key": "k", "cancellation": {"max_duration": 60}}')$$);
select pg_temp.try($$select attempt, created from absurd.spawn_task('session', 'n', '{}', '{"idempotency_key": "k"}')$$);
select pg_temp.try($$select attempt from absurd.claim_task('session', 'w')$$);
select task_id as task, last_attempt_run as run from absurd.t_session \gset
select pg_temp.try(format('select absurd.set_task_checkpoint_state(''session'', %L, ''s'', ''1'', %L, 5)', :'task', :'run'));
select pg_temp.try(format('select state from absurd.get_task_checkpoint_states(''session'', %L, %L)', :'task', :'run'));
select pg_temp.try(format('select absurd.extend_claim(''session'', %L, 5)', :'run'));
select pg_temp.try(format('select * from absurd.await_event(''session'', %L, %L, ''a'', ''e'')', :'task', :'run'));
select pg_temp.try($$select absurd.emit_event('session', 'e', '1')$$);
select pg_temp.try($$select attempt, event_payload from absurd.claim_task('session', 'w')$$);
select pg_temp.try(format('select absurd.schedule_run(''session'', %L, ''2026-01-01'')', :'run'));
select pg_temp.try($$select attempt from absurd.claim_task('session', 'w')$$);
select pg_temp.try(format('select absurd.fail_run(''session'', %L, ''1'')', :'run'));
select pg_temp.try(format('select absurd.cancel_task(''session'', %L)', :'task'));
select pg_temp.try(format('select state from absurd.get_task_result(''session'', %L)', :'task'));
select absurd.create_workflow_run('session', '1', tags => '{"a": 1}') as wf \gset
select pg_temp.try(format('select attempt from absurd.spawn_task(''session'', ''n'', ''{}'', ''{"workflow_run_id": "%s"}'')', :'wf'));
select pg_temp.try(format('select absurd.update_workflow_run_status(%L, ''running'')', :'wf'));
select pg_temp.try(format('select status from absurd.get_workflow_run(%L)', :'wf'));
select pg_temp.try($$select status from absurd.list_workflow_runs('session', status => '{running}', tags => '{"a": 1}')$$);
select pg_temp.try(format('select state from absurd.workflow_run_tasks(%L)', :'wf'));
select pg_temp.try(format('select total from absurd.workflow_run_progress(%L)', :'wf'));
select pg_temp.try(format('select absurd.cancel_workflow_run(%L)', :'wf'));
select pg_temp.try(format('select to_status from absurd.workflow_run_history(%L)', :'wf'));
select pg_temp.try($$select absurd.cleanup_tasks('session', 0)$$);
select pg_temp.try($$select absurd.cleanup_events('session', 0)$$);
select pg_temp.try($$select tasks_deleted, events_deleted from absurd.cleanup_all_queues('session')$$);
select pg_temp.try($$select count(*) > 0 from absurd.list_queues()$$);
select pg_temp.try($$select absurd.drop_queue('session')$$);
select count(*) from absurd.queues where queue_name = 'session';
-- The session's own tables are still there, and empty.
select count(*) from pg_temp.t_session, pg_temp.queues;

-- Without any search_path, and with absurd alone, as clients set it.
\c -
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set absurd.fake_now = '2026-01-01 00:00:00+00';
set intervalstyle = 'postgres';
set search_path = '';
select pg_temp.try($$select absurd.create_queue('session')$$);
select pg_temp.try($$select attempt from absurd.spawn_task('session', 'n', '{}')$$);
select pg_temp.try($$select attempt from absurd.claim_task('session', 'w')$$);
set search_path = absurd;
select pg_temp.try($$select attempt from spawn_task('session', 'n', '{}')$$);
select pg_temp.try($$select attempt from claim_task('session', 'w')$$);
select "current_time"();
select pg_temp.try($$select drop_queue('session')$$);
delete from workflow_run where workflow_name = 'session';
