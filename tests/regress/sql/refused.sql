-- A ready run that its queue refuses to have handed out is set aside, and the claim goes on with the rest.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set absurd.fake_now = '2026-01-01 00:00:00+00';
select absurd.create_queue('refusing');

create function pg_temp.spawn(name text) returns uuid language sql as $$
  select task_id from absurd.spawn_task('refusing', name, '{}') $$;
create function pg_temp.aside() returns table (task text, kind text, attempts int, sqlstate text, message text, role_name text)
language sql as $$
  select task_name, kind, s.attempts, error ->> 'sqlstate', error ->> 'message', role_name
    from absurd.stuck_work s left join absurd.r_refusing r on run_id = id left join absurd.t_refusing using (task_id) order by 1 $$;
create function pg_temp.clear() returns void language sql as $$
  delete from absurd.t_refusing; delete from absurd.r_refusing; delete from absurd.w_refusing; delete from absurd.stuck_work $$;

-- A constraint that was added later and that a row does not satisfy, of the task or of the run.
select count(pg_temp.spawn(name)) from unnest(array['one', 'bad task', 'two', 'bad run', 'three']) name;
alter table absurd.t_refusing add constraint named check (task_name <> 'bad task') not valid;
update absurd.r_refusing r set attempt = 7 from absurd.t_refusing t where t.task_id = r.task_id and task_name = 'bad run';
alter table absurd.r_refusing add constraint few check (attempt < 7) not valid;
select task_name from absurd.claim_task('refusing', 'w', 0, 2);
select task_name from absurd.claim_task('refusing', 'w', 0, 10);
select * from pg_temp.aside();
-- What is set aside costs a claim no second failure, and is tried again when its time has come.
select count(*) from generate_series(1, 3) n, absurd.claim_task('refusing', 'w' || n, 0, 10);
select attempts, next_try from absurd.stuck_work;
set absurd.fake_now = '2026-01-01 00:00:01+00';
select count(*) from generate_series(1, 3) n, absurd.claim_task('refusing', 'w' || n, 0, 10);
select attempts, since, next_try from absurd.stuck_work;
-- When the cause is gone it is handed out in its turn, and nothing is left of it; what is cancelled meanwhile is forgotten.
alter table absurd.t_refusing drop constraint named;
select pg_temp.try($$select absurd.cancel_task('refusing', (select task_id from absurd.t_refusing where task_name = 'bad run'))$$);
alter table absurd.r_refusing drop constraint few;
select absurd.cancel_task('refusing', (select task_id from absurd.t_refusing where task_name = 'bad run'));
select pg_temp.spawn('four') is not null as spawned;
set absurd.fake_now = '2026-01-01 00:00:03+00';
select task_name from absurd.claim_task('refusing', 'w', 0, 10);
-- A claim forgets one at least, however slow the machine is.
select count(*) from absurd.claim_task('refusing', 'w', 0, 10);
select count(*) as stuck from absurd.stuck_work;
select pg_temp.clear();

-- A trigger, of a run that a timeout has woken too; also what it calls a lack of rights, which is then one of the role.
create function pg_temp.refuse() returns trigger language plpgsql as $$
begin
  if new.state = 'running' and new.task_name like 'refused%' then
    raise exception 'no % here', new.task_name using errcode = substr(new.task_name, 9, 5);
  end if;
  return new;
end $$;
create trigger refuse before update on absurd.t_refusing for each row execute function pg_temp.refuse();
select count(pg_temp.spawn(name)) from unnest(array['refused 23514', 'a', 'refused 42501', 'refused P0001', 'b']) name;
update absurd.r_refusing r set state = 'sleeping', wake_event = 'e' from absurd.t_refusing t
 where t.task_id = r.task_id and task_name in ('a', 'refused P0001');
insert into absurd.w_refusing (task_id, run_id, step_name, event_name, timeout_at)
select task_id, run_id, 's', 'e', absurd.current_time() from absurd.r_refusing where state = 'sleeping';
select task_name, wake_event from absurd.claim_task('refusing', 'w', 0, 2);
select * from pg_temp.aside();
select count(*) from absurd.claim_task('refusing', 'w', 0, 10);
select count(*) as waits from absurd.w_refusing;
-- A role that lacks a right on the tables is told.
create role refused_worker;
grant usage on schema absurd to refused_worker;
grant select, update on absurd.t_refusing, absurd.r_refusing to refused_worker;
update absurd.r_refusing set state = 'running', claim_expires_at = absurd.current_time() - interval '1 second' where attempt = 1;
set role refused_worker;
select pg_temp.try($$select * from absurd.claim_task('refusing', 'w')$$);
reset role;
-- What passes by itself, a lock for one, is tried by every claim; a cancel ends the call.
select pg_temp.clear();
select count(pg_temp.spawn(name)) from unnest(array['refused 55P03', 'c']) name;
select task_name from absurd.claim_task('refusing', 'w', 0, 1);
select count(pg_temp.spawn(name)) from unnest(array['refused 57014', 'd']) name;
create function pg_temp.claim() returns text language plpgsql as $$
begin
  perform from absurd.claim_task('refusing', 'w', 0, 10);
  return 'went on';
exception when query_canceled then
  return 'cancelled';
end $$;
select pg_temp.claim();
select count(*) as stuck from absurd.stuck_work;
drop trigger refuse on absurd.t_refusing;
select pg_temp.clear();

-- A policy that hides nothing and lets nothing be changed.
create policy all_seen on absurd.t_refusing for select using (true);
create policy few_changed on absurd.t_refusing for update using (true) with check (state <> 'running' or task_name <> 'guarded');
alter table absurd.t_refusing enable row level security;
select absurd.grant_access('refused_worker', 'worker', 'refusing');
select count(pg_temp.spawn(name)) from unnest(array['guarded', 'open']) name;
set role refused_worker;
select task_name from absurd.claim_task('refusing', 'w', 0, 10);
reset role;
select task, kind, sqlstate, role_name from pg_temp.aside();
-- Whoever is not held by it takes the run.
select task_name from absurd.claim_task('refusing', 'w', 0, 10);
set absurd.fake_now = '2026-01-01 00:00:10+00';
select count(*) from absurd.claim_task('refusing', 'w', 0, 10);
select count(*) as stuck from absurd.stuck_work;
alter table absurd.t_refusing disable row level security;
drop policy all_seen on absurd.t_refusing;
drop policy few_changed on absurd.t_refusing;
select pg_temp.clear();

-- A row that holds what no run can, after its owner has allowed that.
alter table absurd.t_refusing alter column task_name drop not null;
alter table absurd.r_refusing alter column attempt drop not null, alter column task_id drop not null;
select count(pg_temp.spawn(name)) from unnest(array['no name', 'no attempt', 'no task', 'whole']) name;
update absurd.r_refusing r set attempt = null from absurd.t_refusing t where t.task_id = r.task_id and task_name = 'no attempt';
update absurd.r_refusing r set task_id = null from absurd.t_refusing t where t.task_id = r.task_id and task_name = 'no task';
update absurd.t_refusing set task_name = null where task_name = 'no name';
select task_name from absurd.claim_task('refusing', 'w', 0, 10);
select count(*) from generate_series(1, 3) n, absurd.claim_task('refusing', 'w' || n, 0, 10);
select kind, count(*), max(attempts), error ->> 'sqlstate' as sqlstate, error ->> 'message' as message from absurd.stuck_work group by 1, 4, 5 order by 5;
select pg_temp.clear();

-- A trigger that keeps a row as it is without a word: of the run, of the task, of a run that a timeout has woken.
create function pg_temp.keep() returns trigger language plpgsql as $$ begin return null; end $$;
create trigger keep before update on absurd.r_refusing for each row when (new.state = 'running' and new.attempt = 7) execute function pg_temp.keep();
create trigger keep before update on absurd.t_refusing for each row when (new.state = 'running' and new.task_name like 'kept%') execute function pg_temp.keep();
select count(pg_temp.spawn(name)) from unnest(array['run is kept', 'kept', 'kept and woken', 'free']) name;
update absurd.r_refusing r set attempt = 7 from absurd.t_refusing t where t.task_id = r.task_id and task_name = 'run is kept';
update absurd.r_refusing r set state = 'sleeping', wake_event = 'e' from absurd.t_refusing t
 where t.task_id = r.task_id and task_name = 'kept and woken';
insert into absurd.w_refusing (task_id, run_id, step_name, event_name, timeout_at)
select task_id, run_id, 's', 'e', absurd.current_time() from absurd.r_refusing where state = 'sleeping';
select task_name from absurd.claim_task('refusing', 'w', 0, 10);
select count(*) from generate_series(1, 3) n, absurd.claim_task('refusing', 'w' || n, 0, 10);
select * from pg_temp.aside();
select task_name, t.state as task, r.state as run from absurd.t_refusing t join absurd.r_refusing r using (task_id) order by 1;
drop trigger keep on absurd.r_refusing;
drop trigger keep on absurd.t_refusing;
select pg_temp.clear();

-- An index of the owner's is known by its first failure in a session, which ends that one claim.
select absurd.create_queue('indexed');
create unique index one_each on absurd.r_indexed (claimed_by);
select absurd.spawn_task('indexed', name, '{}') is not null as spawned from unnest(array['first', 'second']) name;
select pg_temp.try($$select task_name from absurd.claim_task('indexed', 'w', 0, 2)$$);
select task_name from absurd.claim_task('indexed', 'w', 0, 2);
select kind, attempts, error ->> 'message' as message from absurd.stuck_work where queue = 'indexed';
select task_name from absurd.claim_task('indexed', 'v', 0, 2);
set absurd.fake_now = '2026-01-01 00:00:20+00';
select task_name from absurd.claim_task('indexed', 'v', 0, 2);
select count(*) as stuck from absurd.stuck_work;
select absurd.drop_queue('indexed');

-- Where one is refused, none is left out: they come in the line's order, one by one as well as many at a time.
select absurd.create_queue('refusing_order');
alter table absurd.t_refusing_order add constraint named check (task_name not like 'bad%' or state = 'pending');
select count(*) from generate_series(1, 60) n, absurd.spawn_task('refusing_order', case when n % 3 = 0 then 'good ' else 'bad ' end || n, '{}');
set client_min_messages = error;
select string_agg(task_name, ', ' order by place) from (
    select n * 100 + place as place, task_name from generate_series(1, 40) n, lateral (select * from absurd.claim_task('refusing_order', 'w' || n, 0, 1) with ordinality c (run_id, task_id, attempt, task_name, params, retry_strategy, max_attempts, headers, wake_event, event_payload, place)) c) claimed;
select count(*) as stuck from absurd.stuck_work where queue = 'refusing_order';
select absurd.drop_queue('refusing_order');
reset client_min_messages;

-- Two hundred of them at the head of a line, and beyond them one that can be had.
create function pg_temp.refuse_many() returns trigger language plpgsql as $$
begin raise exception 'full' using errcode = '53400'; end $$;
create trigger refuse before update on absurd.t_refusing for each row when (new.task_name = 'many') execute function pg_temp.refuse_many();
set client_min_messages = error;
select count(pg_temp.spawn('many')) from generate_series(1, 200) n;
select count(pg_temp.spawn('last'));
select count(*) > 0 as is_handed_out from generate_series(1, 40) n, absurd.claim_task('refusing', 'w' || n, 0, 5);
select count(*) as stuck, max(attempts) from absurd.stuck_work;

-- The same in a queue of weeks.
select absurd.create_queue('refusing_weeks', 'partitioned');
select absurd.spawn_task('refusing_weeks', name, '{}') is not null as spawned from unnest(array['one', 'bad', 'two']) name;
alter table absurd.t_refusing_weeks add constraint named check (task_name <> 'bad') not valid;
select task_name from absurd.claim_task('refusing_weeks', 'w', 0, 10);
select kind, attempts, error ->> 'sqlstate' as sqlstate from absurd.stuck_work where queue = 'refusing_weeks';
alter table absurd.t_refusing_weeks drop constraint named;
set absurd.fake_now = '2026-01-01 00:00:30+00';
select task_name from absurd.claim_task('refusing_weeks', 'w', 0, 10);
select count(*) as stuck from absurd.stuck_work where queue = 'refusing_weeks';
select absurd.drop_queue('refusing');
select absurd.drop_queue('refusing_weeks');
select count(*) as stuck from absurd.stuck_work;
drop owned by refused_worker;
drop role refused_worker;
