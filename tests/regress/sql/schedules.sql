-- Schedules: cron, start_date, catchup, pausing, and the bound on active runs.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
\set include :tests '/include/worker.sql'
\i :include
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set absurd.fake_now = '2026-01-05 00:30:00+00';
delete from absurd.workflow_run;
delete from absurd.workflow_definition;
delete from absurd.workflow_schedule;
select absurd.create_queue('sched');
-- A workflow of one task on a schedule.
create function pg_temp.on_schedule(name text, fields jsonb) returns text language sql as $$
    select pg_temp.register('sched', name, '[{"task_id": "a", "operator_type": "task", "function": "f", "args": ["{{ds}}", "{{data_interval_end}}"]}]', fields || jsonb_build_object('max_active_runs', coalesce(fields -> 'max_active_runs', '100')))
$$;
-- The runs of a workflow by their intervals.
create function pg_temp.runs(name text) returns table (status text, inputs jsonb, created_at timestamptz, created_by text) language sql as $$
    select status, inputs, created_at, w.created_by from absurd.workflow_run w where workflow_name = name order by inputs ->> 'data_interval_end', created_at
$$;
create function pg_temp.next(name text) returns timestamptz language sql as $$ select next_trigger from absurd.get_workflow(name) $$;

-- When expressions come due: next trigger after registration, Monday 00:30.
select cron, pg_temp.on_schedule('cron' || i, jsonb_build_object('schedule', cron))
  from unnest('{* * * * *,30 0 * * *,*/20 * * * *,0 2 * * *,0 0 1 * *,0 12 * * 0,0 12 * * 7,0 12 * * sun,0 0 13 * 5,15 10-12/2 * feb mon-wed,0 0 29 2 *,@daily,0 24 * * *,5-1 * * * *,*/0 * * * *}'::text[]) with ordinality v (cron, i) order by i;
select schedule, is_paused, next_trigger, to_char(next_trigger, 'Dy') as day from absurd.list_workflows() where workflow_name ~ '^cron' order by registered_at, length(workflow_name), workflow_name;
delete from absurd.workflow_schedule;

-- A run for each trigger, with its interval; nothing is due before.
select pg_temp.on_schedule('hourly', '{"schedule": "0 * * * *"}');
select absurd.run_schedules();
set absurd.fake_now = '2026-01-05 01:00:00+00';
select absurd.run_schedules();
select * from pg_temp.runs('hourly');
select path, params from pg_temp.ready('sched');
select absurd.run_schedules(), pg_temp.next('hourly');
-- Without catchup, missed triggers are not made up for: the last one alone.
set absurd.fake_now = '2026-01-05 05:10:00+00';
select absurd.run_schedules(), pg_temp.next('hourly');
select inputs from pg_temp.runs('hourly');
-- By hand ds is the start of the run.
select pg_temp.done('sched', 'a');
select absurd.start_workflow('hourly') is not null as started;
select params from pg_temp.ready('sched') order by params::text;
-- Paused: nothing is created, manual starts go on; resumed, without what was missed.
select absurd.pause_workflow('hourly');
set absurd.fake_now = '2026-01-05 08:10:00+00';
select absurd.run_schedules(), (select is_paused from absurd.get_workflow('hourly')) as paused, absurd.start_workflow('hourly') is not null as started;
select absurd.resume_workflow('hourly');
select absurd.run_schedules(), pg_temp.next('hourly');
set absurd.fake_now = '2026-01-05 09:00:00+00';
select absurd.run_schedules();
select inputs from pg_temp.runs('hourly') where inputs <> '{}';
select absurd.pause_workflow('hourly');

-- With catchup: every trigger since start_date, in order, as many as asked for at a time.
set absurd.fake_now = '2026-01-05 12:30:00+00';
select pg_temp.on_schedule('catching', '{"schedule": "0 0 * * *", "start_date": "2026-01-01T12:00:00", "catchup": true}');
select absurd.run_schedules(2) as first, absurd.run_schedules(10) as rest;
select inputs from pg_temp.runs('catching');
select absurd.pause_workflow('catching');
set absurd.fake_now = '2026-01-07 12:30:00+00';
select absurd.run_schedules();
select absurd.resume_workflow('catching');
select absurd.run_schedules();
select inputs ->> 'data_interval_end' as made_up from pg_temp.runs('catching') offset 4;
select absurd.pause_workflow('catching');
-- With catchup and no start_date: since registration.
select pg_temp.on_schedule('since', '{"schedule": "0 0 * * *", "catchup": true}');
set absurd.fake_now = '2026-01-09 12:30:00+00';
select absurd.run_schedules();
select inputs from pg_temp.runs('since');
select absurd.pause_workflow('since');
-- A start_date to come, in another zone: no run before it, one at it.
select pg_temp.on_schedule('coming', '{"schedule": "0 * * * *", "start_date": "2026-01-11T02:00:00+02:00"}');
set absurd.fake_now = '2026-01-10 23:59:59+00';
select absurd.run_schedules(), pg_temp.next('coming');
set absurd.fake_now = '2026-01-11 00:00:00+00';
select absurd.run_schedules();
select inputs from pg_temp.runs('coming');
select absurd.pause_workflow('coming');

-- Registered as paused: nothing until it is resumed.
select pg_temp.on_schedule('paused', '{"schedule": "0 * * * *", "is_paused": true}');
set absurd.fake_now = '2026-01-11 03:00:00+00';
select absurd.run_schedules();
select absurd.resume_workflow('paused');
set absurd.fake_now = '2026-01-11 04:00:00+00';
select absurd.run_schedules();
select inputs from pg_temp.runs('paused');
select absurd.pause_workflow('paused');

-- The bound on active runs: without catchup a trigger at the bound is skipped, with catchup it comes later.
delete from absurd.workflow_run;
truncate held;
select pg_temp.on_schedule('bound', '{"schedule": "0 * * * *", "max_active_runs": 1}'), pg_temp.on_schedule('later', '{"schedule": "0 * * * *", "max_active_runs": 1, "catchup": true}');
set absurd.fake_now = '2026-01-11 05:00:00+00';
select absurd.run_schedules();
set absurd.fake_now = '2026-01-11 06:00:00+00';
select absurd.run_schedules();
create function pg_temp.end_all(name text) returns bigint language sql as $$
    select count(absurd.cancel_workflow_run(workflow_run_id)) from absurd.workflow_run where workflow_name = name and status in ('pending', 'running')
$$;
select pg_temp.end_all('bound') as bound, pg_temp.end_all('later') as later;
select absurd.run_schedules();
select workflow_name, status, inputs ->> 'data_interval_end' as trigger from absurd.workflow_run order by 1, 3;
set absurd.fake_now = '2026-01-11 07:00:00+00';
select absurd.run_schedules();
select workflow_name, status, inputs ->> 'data_interval_end' as trigger from absurd.workflow_run order by 1, 3;
-- A start by hand goes past the bound, unless it asks to wait: then it starts when a run has ended.
select pg_temp.end_all('bound') as bound;
select absurd.pause_workflow('bound'), absurd.pause_workflow('later');
delete from absurd.workflow_run;
select absurd.start_workflow('bound') as one \gset
select absurd.start_workflow('bound') as two \gset
select absurd.start_workflow('bound', p_options => '{"respect_max_active_runs": true}') as three \gset
select absurd.start_workflow('bound', p_options => '{"respect_max_active_runs": true}') as four \gset
select (absurd.get_workflow_run(r)).status from unnest(array[:'one', :'two', :'three', :'four']::uuid[]) with ordinality v (r, i) order by i;
select absurd.cancel_workflow_run(:'one');
select absurd.advance_timers('sched') >= 0 as advanced, (absurd.get_workflow_run(:'three')).status;
select absurd.cancel_workflow_run(:'two');
select absurd.advance_timers('sched') >= 0 as advanced;
select (absurd.get_workflow_run(:'three')).status, (absurd.get_workflow_run(:'four')).status as fourth, (absurd.get_workflow_run(:'three')).started_at;
select absurd.cancel_workflow_run(:'four') as waiting_run_has_no_tasks;
select (absurd.get_workflow_run(:'four')).status, (absurd.get_workflow_run(:'four')).started_at;

-- A new version takes the schedule over; without a schedule it ends.
select absurd.resume_workflow('bound');
select pg_temp.on_schedule('bound', '{"version": "2", "schedule": "30 * * * *"}'), pg_temp.next('bound');
select workflow_version, schedule, is_paused, next_trigger from absurd.list_workflows() where workflow_name = 'bound';
set absurd.fake_now = '2026-01-11 08:00:00+00';
select absurd.run_schedules(1000);
select workflow_version, inputs ->> 'data_interval_end' as trigger from absurd.workflow_run where workflow_name = 'bound' and inputs <> '{}';
select pg_temp.on_schedule('bound', '{"version": "3"}');
select workflow_version, schedule, next_trigger from absurd.get_workflow('bound');
-- Registered without a queue, a schedule has nothing to start with.
select pg_temp.try(format('select created from absurd.register_workflow(%L)', pg_temp.doc('no_queue', '[]', '{"schedule": "* * * * *"}')));
set absurd.fake_now = '2026-01-11 09:30:00+00';
select absurd.run_schedules();
-- One whose queue is gone is reported, and the others go on.
select absurd.create_queue('sched gone');
select created from absurd.register_workflow(pg_temp.doc('gone', '[{"task_id": "a", "operator_type": "task", "function": "f"}]', '{"schedule": "* * * * *"}'), 'sched gone');
select pg_temp.on_schedule('there', '{"schedule": "* * * * *"}');
select absurd.drop_queue('sched gone');
set absurd.fake_now = '2026-01-11 09:31:00+00';
select absurd.run_schedules();
select workflow_name, inputs ->> 'data_interval_end' as trigger from absurd.workflow_run where workflow_name in ('gone', 'there');
select limits, pg_temp.try(format('select absurd.run_schedules(%s)', coalesce(limits, 'null'))) from unnest('{0,-1,null}'::text[]) limits;
select absurd.drop_queue('sched');
delete from absurd.workflow_run;
delete from absurd.workflow_schedule;
delete from absurd.workflow_definition;
