-- Checkpoints: the functions of a task, and those of a run.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set intervalstyle = 'postgres';
set absurd.fake_now = '2026-01-01 00:00:00+00';
select absurd.create_queue('cp');
select task_id as task, run_id as run from absurd.spawn_task('cp', 'n', '{}') \gset
select attempt from absurd.claim_task('cp', 'w', 600);

-- Written, read, overwritten by its own run.
select absurd.set_task_checkpoint_state('cp', :'task', 'one', '{"v": 1}', :'run');
select checkpoint_name, state, status, owner_run_id = :'run' as own, updated_at from absurd.get_task_checkpoint_state('cp', :'task', 'one');
set absurd.fake_now = '2026-01-01 00:00:01+00';
select absurd.set_task_checkpoint_state('cp', :'task', 'one', '{"v": 2}', :'run');
set absurd.fake_now = '2026-01-01 00:00:02+00';
select absurd.set_task_checkpoint_state('cp', :'task', ' two ', '[]', :'run');
select checkpoint_name, state, updated_at from absurd.get_task_checkpoint_states('cp', :'task', :'run');
select count(*) from absurd.get_task_checkpoint_state('cp', :'task', 'One');
select count(*) from absurd.get_task_checkpoint_state('cp', :'task', 'two');
-- A NULL state, and JSON null.
select absurd.set_task_checkpoint_state('cp', :'task', 'null', null, :'run');
select absurd.set_task_checkpoint_state('cp', :'task', 'json null', 'null', :'run');
select checkpoint_name, coalesce(jsonb_typeof(state), 'no value'), status from absurd.get_task_checkpoint_states('cp', :'task', :'run') where checkpoint_name like '%null' order by 1;
-- The owner run's own id stands for its task.
select absurd.set_task_checkpoint_state('cp', :'run', 'by run id', '3', :'run');
select task_id = :'task' as of_task, state from absurd.c_cp where checkpoint_name = 'by run id';
-- Steps must have a name.
select pg_temp.try(format('select absurd.set_task_checkpoint_state(''cp'', %L, '''', ''1'', %L)', :'task', :'run'));
select pg_temp.try(format('select absurd.set_task_checkpoint_state(''cp'', %L, E'' \t'', ''1'', %L)', :'task', :'run'));
-- Run and task must fit.
select task_id as other, run_id as other_run from absurd.spawn_task('cp', 'other', '{}') \gset
select pg_temp.try(format('select absurd.set_task_checkpoint_state(''cp'', %L, ''x'', ''1'', %L)', :'other', :'run'));
select pg_temp.try(format('select absurd.set_task_checkpoint_state(''cp'', %L, ''x'', ''1'', %L)', :'other_run', :'run'));
select pg_temp.try(format('select absurd.set_task_checkpoint_state(''cp'', %L, ''x'', ''1'', %L)', :'task', '00000000-0000-7000-8000-000000000000'));
select pg_temp.try(format('select * from absurd.get_task_checkpoint_states(''cp'', %L, %L)', :'other', :'run'));
select pg_temp.try(format('select * from absurd.get_task_checkpoint_states(''cp'', %L, %L)', :'task', '00000000-0000-7000-8000-000000000000'));
select count(*) from absurd.c_cp where checkpoint_name = 'x';

-- Extending: never shortens the lease, sets the heartbeat; nothing without p_extend_claim_by > 0.
set absurd.fake_now = '2026-01-01 00:00:10+00';
select absurd.set_task_checkpoint_state('cp', :'task', 'lease', '1', :'run', 60);
select claim_expires_at, last_heartbeat from absurd.r_cp where run_id = :'run';
select absurd.set_task_checkpoint_state('cp', :'task', 'lease', '1', :'run', 900);
select claim_expires_at, last_heartbeat from absurd.r_cp where run_id = :'run';
set absurd.fake_now = '2026-01-01 00:00:20+00';
select absurd.set_task_checkpoint_state('cp', :'task', 'lease', '1', :'run', 0);
select absurd.set_task_checkpoint_state('cp', :'task', 'lease', '1', :'run', -5);
select absurd.set_task_checkpoint_state('cp', :'task', 'lease', '1', :'run');
select claim_expires_at, last_heartbeat from absurd.r_cp where run_id = :'run';

-- What is not committed shows only on request.
insert into absurd.c_cp (task_id, checkpoint_name, state, status, owner_run_id) values (:'task', 'draft', '1', 'pending', :'run');
select count(*) from absurd.get_task_checkpoint_state('cp', :'task', 'draft');
select count(*) from absurd.get_task_checkpoint_state('cp', :'task', 'draft', false);
select status from absurd.get_task_checkpoint_state('cp', :'task', 'draft', true);
select count(*) from absurd.get_task_checkpoint_states('cp', :'task', :'run') where checkpoint_name = 'draft';
delete from absurd.c_cp;

-- Attempts: a run sees its own and earlier ones; the newest attempt's write stays.
select absurd.set_task_checkpoint_state('cp', :'task', 'shared', '"first"', :'run');
select absurd.set_task_checkpoint_state('cp', :'task', 'old', '"first"', :'run');
set absurd.fake_now = '2026-01-01 00:00:30+00';
select absurd.fail_run('cp', :'run', '1');
select run_id as run2 from absurd.claim_task('cp', 'w', 600, 2) where attempt = 2 \gset
select absurd.set_task_checkpoint_state('cp', :'task', 'shared', '"second"', :'run2');
select absurd.set_task_checkpoint_state('cp', :'task', 'new', '"second"', :'run2');
select checkpoint_name, state, owner_run_id = :'run2' as of_second, updated_at from absurd.get_task_checkpoint_states('cp', :'task', :'run2');
select checkpoint_name from absurd.get_task_checkpoint_states('cp', :'task', :'run');
-- A write from an older attempt that still lives changes nothing, and is no error.
update absurd.r_cp set state = 'running' where run_id = :'run';
select absurd.set_task_checkpoint_state('cp', :'task', 'shared', '"stale"', :'run');
select absurd.set_task_checkpoint_state('cp', :'task', 'old', '"fresh"', :'run');
select checkpoint_name, state from absurd.c_cp order by 1;
update absurd.r_cp set state = 'failed' where run_id = :'run';
select pg_temp.try(format('select absurd.set_task_checkpoint_state(''cp'', %L, ''old'', ''1'', %L)', :'task', :'run'));

-- The functions of a run: what it owns.
select checkpoint_name, state, status, owner_run_id = :'run2' as own, updated_at from absurd.get_checkpoints_for_run('cp', :'run2');
select checkpoint_name from absurd.get_checkpoints_for_run('cp', :'run');
select count(*) from absurd.get_checkpoints_for_run('cp', '00000000-0000-7000-8000-000000000000');
select absurd.get_run_checkpoint('cp', :'run2', 'shared'), absurd.get_run_checkpoint('cp', :'run', 'shared') is null as not_the_firsts,
       absurd.get_run_checkpoint('cp', :'run2', 'nothing') is null as none;
select pg_temp.try(format('select absurd.get_run_checkpoint(''cp'', %L, '' '')', :'run2'));
-- Saved with the task looked up, named, or named wrongly.
select absurd.save_checkpoint_for_run('cp', :'run2', 'saved', '1');
select absurd.save_checkpoint_for_run('cp', :'run2', 'saved too', '2', :'task');
select absurd.save_checkpoint_for_run('cp', :'run2', 'saved by run id', '3', :'run2');
select pg_temp.try(format('select absurd.save_checkpoint_for_run(''cp'', %L, ''wrong'', ''1'', %L)', :'run2', :'other'));
select pg_temp.try(format('select absurd.save_checkpoint_for_run(''cp'', %L, ''wrong'', ''1'')', '00000000-0000-7000-8000-000000000000'));
select pg_temp.try(format('select absurd.save_checkpoint_for_run(''cp'', %L, ''wrong'', ''1'')', :'run'));
select pg_temp.try(format('select absurd.save_checkpoint_for_run(''cp'', %L, '''', ''1'')', :'run2'));
select checkpoint_name, state, task_id = :'task' as of_task from absurd.c_cp where checkpoint_name ~ 'saved|wrong' order by 1;

-- A run that has ended writes no more.
select absurd.complete_run('cp', :'run2');
select pg_temp.try(format('select absurd.set_task_checkpoint_state(''cp'', %L, ''late'', ''1'', %L)', :'task', :'run2'));
select pg_temp.try(format('select absurd.save_checkpoint_for_run(''cp'', %L, ''late'', ''1'')', :'run2'));
select absurd.cancel_task('cp', :'other');
select pg_temp.try(format('select absurd.set_task_checkpoint_state(''cp'', %L, ''late'', ''1'', %L)', :'other', :'other_run'));
select count(*) from absurd.c_cp where checkpoint_name = 'late';
-- A row by a client's own hand counts.
insert into absurd.c_cp (task_id, checkpoint_name, state, owner_run_id) values (:'task', 'by hand', '"x"', :'run2');
select state, status from absurd.get_task_checkpoint_state('cp', :'task', 'by hand');
select absurd.drop_queue('cp');
