-- Workflow runs: created, moved, listed, linked to tasks; the table by hand.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set absurd.fake_now = '2026-01-01 00:00:00+00';
set intervalstyle = 'postgres';
delete from absurd.workflow_run;
select absurd.create_queue('wf');

-- Created pending, and read back.
select absurd.create_workflow_run('data_pipeline', '1.0.0', '{"in": 1}', '00000000-0000-7000-8000-00000000000a', 'alice', '{"env": "test"}', 'cafe', 'wf') as id \gset
select w.workflow_run_id = :'id' as id, workflow_name, workflow_version, workflow_hash, status, absurd_run_id, absurd_queue, inputs, created_by, tags, result, error, started_at, completed_at, task_count, created_at, updated_at
  from absurd.get_workflow_run(:'id') w;
select substr(:'id', 15, 1) as version, absurd.uuidv7_timestamp(:'id') as at;
select absurd.create_workflow_run(workflow_name => 'plain', workflow_version => 'v1') as plain \gset
select status, tags, inputs, workflow_hash from absurd.get_workflow_run(:'plain');
-- Names, versions, tags and hashes have rules.
select name, version, left(pg_temp.try(format('select absurd.create_workflow_run(%L, %L)', name, version)), 90) as answer
  from (values ('a', '1'), ('a1_b2', '_1'), ('a', 'v1.0-rc.1_x'), ('', '1'), ('A', '1'), ('1a', '1'), ('_a', '1'), ('a-b', '1'), ('a b', '1'), ('a__b', '1'), ('a_', '1'), ('ä', '1'), (E'a\n', '1'),
               ('a', ''), ('a', '1 0'), ('a', '1__0'), ('a', '1_'), ('a', '1/0'), ('a', 'é'), ('a', E'1\n')) v (name, version);
select tags, pg_temp.try(format('select absurd.create_workflow_run(''a'', ''1'', tags => %L)', tags)) from (values ('{}'), ('[]'), ('"x"'), ('null'), ('1')) v (tags);
select hash, pg_temp.try(format('select absurd.create_workflow_run(''a'', ''1'', workflow_hash => %L)', hash)) from (values ('sha256:x'), (''), (' ')) v (hash);

-- Transitions: each status to each.
create function pg_temp.in_status(wanted text) returns uuid language plpgsql as $$
declare
    id uuid := absurd.create_workflow_run('moves', '1');
begin
    if wanted = 'completed' then
        perform absurd.update_workflow_run_status(id, 'running');
    end if;
    if wanted <> 'pending' then
        perform absurd.update_workflow_run_status(id, wanted);
    end if;
    return id;
end $$;
select f as from_status, t as to_status, pg_temp.try(format('select absurd.update_workflow_run_status(%L, %L)', pg_temp.in_status(f), t))
  from unnest('{pending,running,completed,failed,cancelled}'::text[]) with ordinality a (f, i), unnest('{pending,running,completed,failed,cancelled}'::text[]) with ordinality b (t, j) order by i, j;
select pg_temp.try(format('select absurd.update_workflow_run_status(%L, ''done'')', :'id'));
select pg_temp.try($$select absurd.update_workflow_run_status('00000000-0000-7000-8000-000000000000', 'running')$$);
-- The same by hand, with search_path on absurd.
set search_path = absurd;
select f as from_status, t as to_status, pg_temp.try(format('update workflow_run set status = %2$L where workflow_run_id = %1$L returning status', pg_temp.in_status(f), t))
  from unnest('{pending,running,completed,failed,cancelled}'::text[]) with ordinality a (f, i), unnest('{pending,running,completed,failed,cancelled,done}'::text[]) with ordinality b (t, j)
 where (f, t) in (('pending', 'running'), ('pending', 'completed'), ('running', 'completed'), ('running', 'pending'), ('completed', 'running'), ('failed', 'completed'), ('cancelled', 'cancelled'), ('pending', 'done')) order by i, j;
reset search_path;

-- Timestamps fill themselves; history.
set absurd.fake_now = '2026-01-01 01:00:00+00';
select absurd.update_workflow_run_status(:'id', 'running');
select status, started_at, completed_at, updated_at from absurd.get_workflow_run(:'id');
set absurd.fake_now = '2026-01-01 02:00:00+00';
select absurd.update_workflow_run_status(:'id', 'running', task_count => 3);
select started_at, task_count, updated_at from absurd.get_workflow_run(:'id');
select absurd.update_workflow_run_status(:'id', 'completed', '{"out": 1}');
select status, result, error, started_at, completed_at from absurd.get_workflow_run(:'id');
select at, from_status, to_status, changed_by = current_user as by_me from absurd.workflow_run_history(:'id');
-- Repeating a final report: the same is fine, what is unset may come, other results are refused.
set absurd.fake_now = '2026-01-01 03:00:00+00';
select absurd.update_workflow_run_status(:'id', 'completed', '{"out": 1}');
select completed_at from absurd.get_workflow_run(:'id');
select pg_temp.try(format('select absurd.update_workflow_run_status(%L, ''completed'', ''{"out": 2}'')', :'id'));
select pg_temp.try(format('select absurd.update_workflow_run_status(%L, ''completed'', error => ''{}'')', :'id'));
select id is not null as again, (select count(*) from absurd.workflow_run_history(id)) as moves from (select :'id'::uuid as id) x;
select pg_temp.in_status('completed') as done \gset
select absurd.update_workflow_run_status(:'done', 'completed', '[1]', task_count => 4);
select result, task_count from absurd.get_workflow_run(:'done');
select pg_temp.in_status('failed') as failed \gset
select started_at is null as never_started, completed_at from absurd.get_workflow_run(:'failed');
select absurd.update_workflow_run_status(:'failed', 'failed', error => '"e"');
select pg_temp.try(format('select absurd.update_workflow_run_status(%L, ''failed'', error => ''"other"'')', :'failed'));
-- What does not belong to a status.
select pg_temp.try(format('select absurd.update_workflow_run_status(%L, ''running'', result => ''1'')', :'plain'));
select pg_temp.try(format('select absurd.update_workflow_run_status(%L, ''running'', error => ''1'')', :'plain'));
select pg_temp.try(format('select absurd.update_workflow_run_status(%L, ''failed'', result => ''1'')', :'plain'));
select pg_temp.try(format('select absurd.update_workflow_run_status(%L, ''running'', task_count => -1)', :'plain'));
select pg_temp.try(format('select absurd.update_workflow_run_status(%L, ''running'', completed_at => ''2026-01-01'')', :'plain'));
select pg_temp.try(format('select absurd.update_workflow_run_status(%L, ''failed'', started_at => ''2026-01-02'', completed_at => ''2026-01-01'')', :'plain'));
select status, updated_at from absurd.get_workflow_run(:'plain');
-- Clocks of clients differ: a started_at ahead of ours, the end is not before it.
select absurd.update_workflow_run_status(:'plain', 'running', started_at => '2026-01-01 05:00:00+00');
select absurd.update_workflow_run_status(:'plain', 'completed', completed_at => '2026-01-01 04:00:00+00');
select started_at, completed_at from absurd.get_workflow_run(:'plain');
select absurd.create_workflow_run('ahead', '1') as ahead \gset
select absurd.update_workflow_run_status(:'ahead', 'running', started_at => '2030-01-01 00:00:00+00');
select absurd.update_workflow_run_status(:'ahead', 'completed');
select started_at, completed_at from absurd.get_workflow_run(:'ahead');
-- What names a run does not change.
select pg_temp.try(format('update absurd.workflow_run set workflow_name = ''b'' where workflow_run_id = %L returning 1', :'done'));
select pg_temp.try(format('update absurd.workflow_run set workflow_version = ''2'' where workflow_run_id = %L returning 1', :'done'));
select pg_temp.try(format('update absurd.workflow_run set workflow_run_id = gen_random_uuid() where workflow_run_id = %L returning 1', :'done'));

-- Cancelling: all open tasks of the run, in every queue.
select absurd.create_queue('wf two');
select absurd.create_workflow_run('linked', '1') as run \gset
select task_id as by_option, run_id as option_run from absurd.spawn_task('wf', 'by option', '{}', jsonb_build_object('workflow_run_id', :'run'::text)) \gset
select task_id as by_header from absurd.spawn_task('wf two', 'by header', '{}', jsonb_build_object('headers', jsonb_build_object('workflow_run_id', :'run'::text))) \gset
select task_id as by_params from absurd.spawn_task('wf', 'by params', jsonb_build_object('workflow_run_id', :'run'::text)) \gset
select task_id as by_run_id from absurd.spawn_task('wf', 'by run id', jsonb_build_object('workflow_run_id', :'option_run'::text)) \gset
-- The option goes before the header, the header before the params; what is no UUID is skipped there.
select task_id as first from absurd.spawn_task('wf', 'option first', '{"workflow_run_id": "00000000-0000-7000-8000-000000000000"}', jsonb_build_object('workflow_run_id', :'run'::text, 'headers', '{"workflow_run_id": "00000000-0000-7000-8000-000000000000"}'::jsonb)) \gset
select task_id as skipped from absurd.spawn_task('wf', 'skipped', jsonb_build_object('workflow_run_id', :'run'::text), '{"headers": {"workflow_run_id": "x"}}') \gset
select task_id as alone, run_id as alone_run from absurd.spawn_task('wf', 'alone', '{"workflow_run_id": 5}') \gset
select task_id as of_alone from absurd.spawn_task('wf', 'of alone', jsonb_build_object('workflow_run_id', :'alone_run'::text)) \gset
select task_name, workflow_run_id = :'run' as linked from absurd.t_wf order by task_name;
select queue_name, task_name, state, attempts, enqueue_at, first_started_at, finished_at, result, failure_reason from absurd.workflow_run_tasks(:'run') order by queue_name, task_name;
select count(*) from absurd.claim_task('wf two', 'w');
select run_id as two_run from absurd."r_wf two" \gset
select absurd.complete_run('wf two', :'two_run', '"done"');
select * from absurd.workflow_run_progress(:'run');
select task_name, state, finished_at, result from absurd.workflow_run_tasks(:'run') where state = 'completed';
select absurd.cancel_workflow_run(:'run', 'enough') as tasks_cancelled;
select status, error, completed_at from absurd.get_workflow_run(:'run');
select * from absurd.workflow_run_progress(:'run');
select state from absurd.t_wf where task_id = :'alone';
select absurd.cancel_workflow_run(:'run', 'again');
select error from absurd.get_workflow_run(:'run');
select pg_temp.try(format('select absurd.cancel_workflow_run(%L)', :'done'));
-- A final or unknown run takes no more tasks; nothing is spawned then.
select pg_temp.try(format('select * from absurd.spawn_task(''wf'', ''late'', ''{}'', ''{"workflow_run_id": "%s"}'')', :'run'));
select pg_temp.try(format('select * from absurd.spawn_task(''wf'', ''late'', ''{"workflow_run_id": "%s"}'')', :'run'));
select pg_temp.try($$select * from absurd.spawn_task('wf', 'late', '{}', '{"headers": {"workflow_run_id": "00000000-0000-7000-8000-000000000000"}}')$$);
select pg_temp.try($$select * from absurd.spawn_task('wf', 'late', '{"workflow_run_id": "00000000-0000-7000-8000-000000000000"}')$$);
select count(*) from absurd.t_wf where task_name = 'late';
-- A retry as a new task inherits the link, and is refused once the run is final.
select absurd.create_workflow_run('retried', '1') as run \gset
select task_id as task, run_id as task_run from absurd.spawn_task('wf two', 'fails', '{}', jsonb_build_object('workflow_run_id', :'run'::text, 'max_attempts', 1)) \gset
select task_name from absurd.claim_task('wf two', 'w');
select absurd.fail_run('wf two', :'task_run', '"why"');
select task_name, state, finished_at, result, failure_reason from absurd.workflow_run_tasks(:'run');
select task_id as again from absurd.retry_task('wf two', :'task', '{"spawn_new": true}') \gset
select state, workflow_run_id = :'run' as linked from absurd."t_wf two" where task_id = :'again';
select total, pending, failed from absurd.workflow_run_progress(:'run');
select absurd.update_workflow_run_status(:'run', 'failed', error => '"why"');
select pg_temp.try(format('select attempt from absurd.retry_task(''wf two'', %L, ''{"spawn_new": true}'')', :'task'));
select absurd.drop_queue('wf'), absurd.drop_queue('wf two');
delete from absurd.workflow_run;
select count(*) as history_goes_with_its_run from absurd.workflow_transition;
