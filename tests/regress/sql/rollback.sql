-- Rolled back with the caller, nothing remains: each verb, in a subtransaction and a transaction.
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set absurd.fake_now = '2026-01-01 00:00:00+00';
set intervalstyle = 'postgres';
delete from absurd.workflow_run;
select absurd.create_queue('undo');
-- All that the extension stores for this queue and for workflow runs, in one hash.
create function pg_temp.everything() returns text language plpgsql as $$
declare
    hash text := '';
    part text;
    relation text;
begin
    foreach relation in array '{t_undo,r_undo,c_undo,e_undo,w_undo,queues,workflow_run,workflow_transition}'::text[] loop
        if to_regclass('absurd.' || relation) is null then
            continue;
        end if;
        execute format('select md5(coalesce(string_agg(x::text, E''\n'' order by x::text), '''')) from absurd.%I x', relation) into part;
        hash := hash || part;
    end loop;
    select md5(hash || string_agg(relname, ' ' order by relname collate "C")) into hash from pg_class where relnamespace = 'absurd'::regnamespace;
    return hash;
end $$;
-- The statement changes something, and undoing it brings everything back.
create function pg_temp.undone(statement text) returns text language plpgsql as $$
declare
    before text := pg_temp.everything();
    during text;
begin
    begin
        execute statement;
        during := pg_temp.everything();
        raise exception sqlstate 'P0999';
    exception when sqlstate 'P0999' then
        null;
    end;
    return case when during = before then 'nothing changed' when pg_temp.everything() = before then 'undone' else 'something remains' end;
end $$;

select task_id as failed, run_id as failed_run from absurd.spawn_task('undo', 'failed', '{}', '{"max_attempts": 1}') \gset
select attempt from absurd.claim_task('undo', 'w');
select absurd.fail_run('undo', :'failed_run', '1');
select task_id as waiting, run_id as waiting_run from absurd.spawn_task('undo', 'waiting', '{}') \gset
select attempt from absurd.claim_task('undo', 'w');
select should_suspend from absurd.await_event('undo', :'waiting', :'waiting_run', 's', 'awaited');
select task_id as task, run_id as run from absurd.spawn_task('undo', 'running', '{}') \gset
select attempt from absurd.claim_task('undo', 'w', 30);
select absurd.emit_event('undo', 'old');
select task_id is not null as pending from absurd.spawn_task('undo', 'pending', '{}', '{"idempotency_key": "k"}');
select absurd.create_workflow_run('undo', '1') as wf \gset
select created from absurd.spawn_task('undo', 'linked', '{}', jsonb_build_object('workflow_run_id', :'wf'::text));

create temp table verb (id serial, statement text);
insert into verb (statement) values
    ('select absurd.create_queue(''undo new'')'), ('select absurd.drop_queue(''undo'')'), ('select absurd.set_queue_policy(''undo'', ''{"cleanup_limit": 3}'')'),
    ('select absurd.spawn_task(''undo'', ''n'', ''{}'')'), ('select absurd.spawn_task(''undo'', ''n'', ''{}'', ''{"idempotency_key": "new"}'')'),
    ('select absurd.claim_task(''undo'', ''w'', 30, 2)'), (format('select absurd.complete_run(''undo'', %L, ''1'')', :'run')), (format('select absurd.fail_run(''undo'', %L, ''1'')', :'run')),
    (format('select absurd.schedule_run(''undo'', %L, ''2027-01-01'')', :'run')), (format('select absurd.retry_task(''undo'', %L)', :'failed')), (format('select absurd.retry_task(''undo'', %L, ''{"spawn_new": true}'')', :'failed')),
    (format('select absurd.cancel_task(''undo'', %L)', :'waiting')), (format('select absurd.extend_claim(''undo'', %L, 500)', :'run')),
    (format('select absurd.set_task_checkpoint_state(''undo'', %L, ''s'', ''1'', %L, 99)', :'task', :'run')), (format('select absurd.save_checkpoint_for_run(''undo'', %L, ''s'', ''1'')', :'run')),
    (format('select absurd.await_event(''undo'', %L, %L, ''s'', ''new'')', :'task', :'run')), (format('select absurd.await_event(''undo'', %L, %L, ''s'', ''old'')', :'task', :'run')),
    ('select absurd.emit_event(''undo'', ''awaited'', ''1'')'), ('select absurd.emit_event(''undo'', ''new'')'),
    ('set local absurd.fake_now = ''2026-01-01 00:00:30+00''; select absurd.claim_task(''undo'', ''w'')'),
    ('set local absurd.fake_now = ''2027-01-01 00:00:00+00''; select absurd.cleanup_tasks(''undo'', 0)'), ('set local absurd.fake_now = ''2027-01-01 00:00:00+00''; select absurd.cleanup_events(''undo'', 0)'),
    ('set local absurd.fake_now = ''2027-01-01 00:00:00+00''; select absurd.cleanup_all_queues(''undo'')'),
    ('select absurd.create_workflow_run(''undo'', ''2'')'), (format('select absurd.update_workflow_run_status(%L, ''running'')', :'wf')), (format('select absurd.cancel_workflow_run(%L)', :'wf'));
select left(regexp_replace(statement, '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}', '<id>', 'g'), 100) as statement, pg_temp.undone(statement) from verb order by id;
show absurd.fake_now;

-- The same in transactions of their own, seen from outside.
select pg_temp.everything() as before \gset
begin;
select created from absurd.spawn_task('undo', 'n', '{}', '{"idempotency_key": "gone"}');
select absurd.complete_run('undo', :'run');
select absurd.emit_event('undo', 'awaited');
select absurd.create_queue('undo later');
select created from absurd.spawn_task('undo later', 'n', '{}');
select count(*) from absurd.claim_task('undo', 'w', 30, 10);
select absurd.cancel_workflow_run(:'wf');
rollback;
select pg_temp.everything() = :'before' as undone;
-- What was undone can be done again: no key, plan or name is kept.
select created from absurd.spawn_task('undo', 'n', '{}', '{"idempotency_key": "gone"}');
select absurd.create_queue('undo later');
select created from absurd.spawn_task('undo later', 'n', '{}');
select absurd.complete_run('undo', :'run');
-- A savepoint: the first half stays, the second is undone.
begin;
select task_id as kept from absurd.spawn_task('undo', 'kept', '{}') \gset
savepoint half;
select task_id as lost from absurd.spawn_task('undo', 'lost', '{}') \gset
select absurd.cancel_task('undo', :'kept');
select absurd.drop_queue('undo later');
rollback to half;
select state from absurd.get_task_result('undo', :'kept');
commit;
select task_name, state from absurd.t_undo where task_name in ('kept', 'lost');
select created from absurd.spawn_task('undo later', 'n', '{}');
-- An error of ours in a transaction aborts it like any other.
begin;
select created from absurd.spawn_task('undo', 'aborted', '{}');
select absurd.spawn_task('undo', '', '{}');
select created from absurd.spawn_task('undo', 'aborted', '{}');
commit;
select count(*) from absurd.t_undo where task_name = 'aborted';
select absurd.drop_queue('undo'), absurd.drop_queue('undo later');
delete from absurd.workflow_run;
