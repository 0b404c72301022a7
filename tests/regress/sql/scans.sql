-- The engine's statements look rows up by index at any size, also when their plans were made while
-- the queue was empty, and users' triggers below them are planned as if nothing had happened.
set absurd.fake_now = '2026-01-01 00:00:00+00';
select absurd.create_queue('scans');
-- Every plan is made on empty tables.
select count(*) from absurd.claim_task('scans', 'w');
select absurd.emit_event('scans', 'first');
select absurd.cleanup_tasks('scans', 0), absurd.cleanup_events('scans', 0);
-- A history, a backlog with and without rules, none of it analyzed.
insert into absurd.t_scans (task_id, task_name, params, state, attempts, last_attempt_run)
select ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'past', '{}', 'completed', 1,
       ('00000000-0000-7000-9000-' || lpad(n::text, 12, '0'))::uuid
  from generate_series(1, 20000) n;
insert into absurd.r_scans (run_id, task_id, attempt, state, available_at, completed_at)
select last_attempt_run, task_id, 1, 'completed', '2025-12-31', '2025-12-31' from absurd.t_scans;
select count(*) from generate_series(1, 2000) n,
       absurd.spawn_task('scans', 'task ' || n, '{}',
           case when n % 2 = 0 then '{}'::jsonb else '{"cancellation": {"max_delay": 3600}}' end);

-- Every verb of a worker's day; no table is read from end to end, and no row is read that way.
begin;
create temporary table before as
select relname, seq_scan, seq_tup_read from pg_stat_xact_user_tables where schemaname = 'absurd';
create temporary table mine as select * from absurd.claim_task('scans', 'w', 60, 5);
select count(*) from mine;
select count(absurd.set_task_checkpoint_state('scans', task_id, 'step', '1', run_id, 60)) from mine;
select count(*) from mine, absurd.get_task_checkpoint_states('scans', task_id, run_id);
select count(absurd.extend_claim('scans', run_id, 90)) from mine;
create temporary table numbered as
select row_number() over () as n, run_id, task_id from mine;
select absurd.complete_run('scans', run_id) from numbered where n = 1;
select absurd.fail_run('scans', run_id, '{}') from numbered where n = 2;
select absurd.schedule_run('scans', run_id, 'infinity') from numbered where n = 3;
select e.* from numbered, absurd.await_event('scans', task_id, run_id, 'wait', 'go', 60) e where n = 4;
select absurd.emit_event('scans', 'go');
select absurd.cancel_task('scans', task_id) from numbered where n = 5;
select state from numbered, absurd.get_task_result('scans', task_id) where n = 1;
select absurd.cleanup_tasks('scans', 0, 10), absurd.cleanup_events('scans', 0, 10);
select relname, now.seq_scan - before.seq_scan as scans, now.seq_tup_read - before.seq_tup_read as rows
  from pg_stat_xact_user_tables now
  join before using (relname)
 where relname like '%\_scans'
 order by relname;
commit;

-- A user's trigger below an engine statement gets the planner as it is set.
create table public.scans_small (a int);
insert into public.scans_small values (1), (2);
analyze public.scans_small;
create table public.scans_plans (line text);
create function public.scans_explain() returns trigger language plpgsql as $$
declare line text;
begin
    for line in execute 'explain (costs off) select * from public.scans_small order by a' loop
        insert into public.scans_plans values (line);
    end loop;
    insert into public.scans_plans values (current_setting('enable_seqscan'));
    return new;
end $$;
create trigger scans_explain before insert on absurd.t_scans
    for each row execute function public.scans_explain();
select count(*) from absurd.spawn_task('scans', 'with a trigger', '{}');
select line from public.scans_plans;

drop table public.scans_small, public.scans_plans;
select absurd.drop_queue('scans');
drop function public.scans_explain();
