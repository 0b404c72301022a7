-- Priorities and delayed starts.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set absurd.fake_now = '2026-01-01 00:00:00+00';
select absurd.create_queue('priority');
select count(*) from (values ('low', -8), ('plain', 0), ('also plain', null), ('high', 8), ('middle', 3), ('late high', 8)) v (name, priority),
       absurd.spawn_task('priority', name, '{}', jsonb_build_object('priority', priority, 'delay_seconds', case when name like 'late%' then 60 end));
-- The higher first, among equals the older; what is not due yet does not stand in the way.
select string_agg(task_name, ', ') from absurd.claim_task('priority', 'w', 60, 3);
set absurd.fake_now = '2026-01-01 00:01:30+00';
select string_agg(task_name, ', ') from absurd.claim_task('priority', 'w', 60, 1);
select string_agg(task_name, ', ') from absurd.claim_task('priority', 'w', 60, 2);
-- Leases have ended: their next runs keep the priority. So do retries.
select string_agg(task_name, ', ') from absurd.claim_task('priority', 'w', 0, 10);
set absurd.fake_now = '2026-01-01 00:01:31+00';
select distinct t.task_name, r.priority from absurd.t_priority t join absurd.r_priority r using (task_id) order by 2, 1;
select task_id as task from absurd.spawn_task('priority', 'urgent', '{}', '{"priority": 7, "max_attempts": 1}') \gset
select run_id as run from absurd.claim_task('priority', 'w', 60) \gset
select absurd.fail_run('priority', :'run', '1');
select attempt from absurd.retry_task('priority', :'task');
select task_name, attempt from absurd.claim_task('priority', 'w', 60, 1);
select run_id as run from absurd.r_priority where task_id = :'task' and state = 'running' \gset
select absurd.fail_run('priority', :'run', '1');
select task_id as anew from absurd.retry_task('priority', :'task', '{"spawn_new": true}') \gset
select priority from absurd.r_priority where task_id = :'anew';
-- A run that slept keeps it too.
select run_id as run from absurd.claim_task('priority', 'w', 60, 1) \gset
select absurd.schedule_run('priority', :'run', '2026-01-01 00:02:00+00');
set absurd.fake_now = '2026-01-01 00:02:00+00';
select task_name from absurd.claim_task('priority', 'w', 60, 1);
-- Delayed starts.
select count(*) from (values ('at', '{"available_at": "2026-01-02"}'::jsonb), ('after', '{"delay_seconds": 0.5}'), ('past', '{"available_at": "2020-01-01"}')) v (name, options),
       absurd.spawn_task('priority', name, '{}', options);
select t.task_name, r.state, r.available_at from absurd.t_priority t join absurd.r_priority r using (task_id) where task_name in ('at', 'after', 'past') order by 3;
-- Bad values.
select options, pg_temp.try(format('select count(*) from absurd.spawn_task(''priority'', ''n'', null, %L)', options))
  from (values ('{"priority": 9}'), ('{"priority": -9}'), ('{"priority": 1.5}'), ('{"priority": "1"}'), ('{"available_at": "never mind"}'), ('{"delay_seconds": -1}'), ('{"delay_seconds": 1, "available_at": "2026-01-01"}')) v (options);
-- A row that a client wrote with the columns it knows is an ordinary one.
insert into absurd.t_priority (task_id, task_name, params, state) values ('00000000-0000-7000-8000-000000000001', 'raw', '{}', 'pending');
insert into absurd.r_priority (run_id, task_id, attempt, state, available_at) values ('00000000-0000-7000-8000-000000000002', '00000000-0000-7000-8000-000000000001', 1, 'pending', '2000-01-01');
select task_name from absurd.claim_task('priority', 'w', 60, 1);
select absurd.drop_queue('priority');
