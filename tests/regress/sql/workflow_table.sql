-- Workflow runs: listing with filters and keyset pages, step names, rows inserted by hand.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set absurd.fake_now = '2026-01-01 00:00:00+00';
set intervalstyle = 'postgres';
delete from absurd.workflow_run;
-- Rows as a client inserts them, unqualified.
set search_path = absurd;
insert into workflow_run (workflow_run_id, workflow_name, workflow_version, status, created_by, tags, started_at, completed_at, created_at)
select ('00000000-0000-7000-8000-' || lpad(g::text, 12, '0'))::uuid, case when g % 2 = 0 then 'even' else 'odd' end, case when g < 5 then '1' else '2' end,
       case when g = 9 then 'completed' when g > 6 then 'running' else 'pending' end, case when g % 3 = 0 then 'alice' end, case when g > 3 then jsonb_build_object('g', g, 'high', g > 6) end,
       case when g > 6 then timestamptz '2026-01-01 00:00:00+00' end, case when g = 9 then timestamptz '2026-01-01 00:00:00+00' end,
       -- Two by two at the same instant.
       timestamptz '2026-01-01 00:00:00+00' + make_interval(mins => g / 2)
  from generate_series(1, 9) g;
-- Newest first, then by id, descending.
select string_agg(right(workflow_run_id::text, 1), ' ') from list_workflow_runs();
-- Each filter alone, and together.
select string_agg(right(workflow_run_id::text, 1), ' ') from list_workflow_runs('odd');
select string_agg(right(workflow_run_id::text, 1), ' ') from list_workflow_runs(workflow_version => '1');
select string_agg(right(workflow_run_id::text, 1), ' ') from list_workflow_runs(status => '{running,completed}');
select string_agg(right(workflow_run_id::text, 1), ' ') from list_workflow_runs(status => '{}');
select string_agg(right(workflow_run_id::text, 1), ' ') from list_workflow_runs(tags => '{"high": true}');
select string_agg(right(workflow_run_id::text, 1), ' ') from list_workflow_runs(tags => '{}');
select string_agg(right(workflow_run_id::text, 1), ' ') from list_workflow_runs(created_by => 'alice');
select string_agg(right(workflow_run_id::text, 1), ' ') from list_workflow_runs(created_after => '2026-01-01 00:03:00+00');
select string_agg(right(workflow_run_id::text, 1), ' ') from list_workflow_runs(created_before => '2026-01-01 00:01:00+00');
select string_agg(right(workflow_run_id::text, 1), ' ') from list_workflow_runs('odd', '2', '{running}', '{"g": 7}', null, '2026-01-01', '2026-01-02', 10);
select count(*) from list_workflow_runs('nothing');
-- Pages of two, each after the last of the one before, none twice and none left out.
select string_agg(right(workflow_run_id::text, 1), ' ') from list_workflow_runs(page_limit => 2);
select string_agg(right(workflow_run_id::text, 1), ' ') from list_workflow_runs(page_limit => 2, after => '00000000-0000-7000-8000-000000000008');
select string_agg(right(workflow_run_id::text, 1), ' ') from list_workflow_runs(page_limit => 2, after => '00000000-0000-7000-8000-000000000006');
select string_agg(right(workflow_run_id::text, 1), ' ') from list_workflow_runs(page_limit => 2, after => '00000000-0000-7000-8000-000000000007');
select string_agg(right(workflow_run_id::text, 1), ' ') from list_workflow_runs('odd', page_limit => 2, after => '00000000-0000-7000-8000-000000000006');
select count(*) from list_workflow_runs(after => '00000000-0000-7000-8000-000000000001');
reset search_path;
select pg_temp.try($$select * from absurd.list_workflow_runs(page_limit => 0)$$);
select pg_temp.try($$select * from absurd.list_workflow_runs(page_limit => -1)$$);
select pg_temp.try($$select * from absurd.list_workflow_runs(status => '{running,done}')$$);
select pg_temp.try($$select * from absurd.list_workflow_runs(after => '00000000-0000-7000-8000-000000000000')$$);
-- A hundred by default.
insert into absurd.workflow_run (workflow_run_id, workflow_name, workflow_version) select gen_random_uuid(), 'many', '1' from generate_series(1, 120);
select count(*) from absurd.list_workflow_runs();
select count(*) from absurd.list_workflow_runs('many', page_limit => 1000);

-- An INSERT fills nothing but created_at, and adds nothing to the history.
delete from absurd.workflow_run;
insert into absurd.workflow_run (workflow_run_id, workflow_name, workflow_version) values ('00000000-0000-7000-8000-000000000001', 'a', '1');
select status, started_at, completed_at, task_count, created_at, updated_at from absurd.workflow_run;
insert into absurd.workflow_run (workflow_run_id, workflow_name, workflow_version, status, result, started_at, completed_at, created_at, updated_at, task_count)
values ('00000000-0000-7000-8000-000000000002', 'a', '1', 'completed', '1', '2025-01-01', '2025-01-02', '2024-01-01', '2025-01-03', 0);
select status, result, started_at, completed_at, task_count, created_at, updated_at from absurd.workflow_run where status = 'completed';
select count(*) from absurd.workflow_transition;
-- Rows that do not fit their status, or break a rule.
select columns, pg_temp.try(format('insert into absurd.workflow_run (workflow_run_id, workflow_name, workflow_version, %s) values (gen_random_uuid(), ''a'', ''1'', %s) returning 1', columns, vals))
  from (values ('status, started_at', '''pending'', ''2026-01-01'''), ('status, completed_at', '''pending'', ''2026-01-01'''), ('status', '''running'''), ('status, started_at, completed_at', '''running'', ''2026-01-01'', ''2026-01-02'''),
               ('status, completed_at', '''completed'', ''2026-01-01'''), ('status, started_at', '''completed'', ''2026-01-01'''), ('status, started_at, completed_at', '''completed'', ''2026-01-02'', ''2026-01-01'''),
               ('status', '''failed'''), ('status, completed_at, result', '''failed'', ''2026-01-01'', ''1'''), ('status, completed_at, started_at, error', '''completed'', ''2026-01-01'', ''2026-01-01'', ''1'''),
               ('result', '''1'''), ('error', '''1'''), ('status', '''done'''), ('status', 'null'), ('task_count', '-1'), ('tags', '''[]'''), ('workflow_hash', ''' '''),
               ('status, completed_at, error', '''cancelled'', ''2026-01-01'', ''1'''), ('status, completed_at, error', '''failed'', ''2026-01-01'', ''1''')) v (columns, vals);
select pg_temp.try($$insert into absurd.workflow_run (workflow_run_id, workflow_name, workflow_version) values (gen_random_uuid(), 'A', '1') returning 1$$);
select pg_temp.try($$insert into absurd.workflow_run (workflow_run_id, workflow_name, workflow_version) values (gen_random_uuid(), 'a', '1__2') returning 1$$);
select pg_temp.try($$insert into absurd.workflow_run (workflow_run_id, workflow_version) values (gen_random_uuid(), '1') returning 1$$);
select status, count(*) from absurd.workflow_run group by 1 order by 1;

-- Step names, joined and split.
select absurd.workflow_step_name('data_pipeline', '1.0.0', 'load files');
select * from absurd.parse_workflow_step_name('data_pipeline__1.0.0__load files');
select * from absurd.parse_workflow_step_name('a___1___x__y');
select absurd.workflow_step_name('a', '_1', '_x__y');
select pg_temp.try($$select absurd.workflow_step_name('A', '1', 'x')$$), pg_temp.try($$select absurd.workflow_step_name('a_', '1', 'x')$$);
select pg_temp.try($$select absurd.workflow_step_name('a', '1__2', 'x')$$), pg_temp.try($$select absurd.workflow_step_name('a', '1', ' ')$$);
select text, pg_temp.try(format('select * from absurd.parse_workflow_step_name(%L)', text)) from (values (''), ('a'), ('a__1'), ('a__1__'), ('A__1__x'), ('a____x'), ('__1__x')) v (text);

-- Unknown runs.
select pg_temp.try(format('select * from absurd.%s(''00000000-0000-7000-8000-000000000000'')', f))
  from unnest('{get_workflow_run,workflow_run_tasks,workflow_run_progress,workflow_run_history,cancel_workflow_run}'::text[]) f;
-- No tasks: nothing to count.
select * from absurd.workflow_run_progress('00000000-0000-7000-8000-000000000001');
select count(*) from absurd.workflow_run_tasks('00000000-0000-7000-8000-000000000001');
select count(*) from absurd.workflow_run_history('00000000-0000-7000-8000-000000000001');
delete from absurd.workflow_run;
