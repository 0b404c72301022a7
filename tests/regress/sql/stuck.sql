-- Rows that clients write by hand do not stop a claim, and what cannot go on is set aside.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set absurd.fake_now = '2026-01-01 00:00:00+00';
set client_min_messages = error;
select absurd.create_queue('stuck');

-- A task with one run; what is not named is as a spawn leaves it.
create function pg_temp.given(name text, task_state text default 'pending', run_state text default 'pending', attempt int default 1,
    lease timestamptz default null, ends timestamptz default null, timeout float8 default null, rules jsonb default null) returns uuid language plpgsql as $$
declare t uuid := gen_random_uuid(); r uuid := gen_random_uuid();
begin
  insert into absurd.t_stuck (task_id, task_name, params, state, attempts, attempt_timeout, cancellation, enqueue_at)
  values (t, name, '{}', task_state, 1, timeout, rules, absurd.current_time());
  insert into absurd.r_stuck (run_id, task_id, attempt, state, available_at, claim_expires_at, attempt_ends_at)
  values (r, t, attempt, run_state, absurd.current_time(), lease, ends);
  return t;
end $$;
create function pg_temp.clear() returns void language sql as $$
  delete from absurd.t_stuck; delete from absurd.r_stuck; delete from absurd.w_stuck $$;

-- No attempt can follow the last that can be counted: the task fails with what ended the attempt.
select count(pg_temp.given('last ' || how, 'running', 'running', 2147483647, case how when 'lease' then timestamptz '2025-12-31' end,
    case how when 'time' then timestamptz '2025-12-31' end)) from unnest(array['lease', 'time']) how;
select count(pg_temp.given('first', 'running', 'running', -2147483648, '2025-12-31'));
select count(pg_temp.given('good'));
select task_name from absurd.claim_task('stuck', 'w', 60, 1);
select task_name, state, attempts from absurd.t_stuck order by 1;
select attempt, state, failure_reason ->> 'name' as reason from absurd.r_stuck where state <> 'running' order by attempt, state;
select pg_temp.clear();
-- The same when a worker fails it.
select task_id as task from absurd.spawn_task('stuck', 'last', '{}') \gset
update absurd.r_stuck set attempt = 2147483647;
select run_id as run from absurd.claim_task('stuck', 'w') \gset
select absurd.fail_run('stuck', :'run', '{"name": "Error"}');
select state, failure_reason from absurd.get_task_result('stuck', :'task');
select pg_temp.clear();

-- A limit of an attempt that is no number of seconds is none, whether a timeout woke the run or not.
select count(pg_temp.given('timeout ' || v, timeout => v::float8)) from unnest(array['NaN', 'Infinity', '-Infinity', '1e300', '-1', '1e15', '3.2e9', '60', '0']) v;
update absurd.r_stuck r set wake_event = 'e', state = 'sleeping' from absurd.t_stuck t
 where t.task_id = r.task_id and task_name in ('timeout NaN', 'timeout -Infinity', 'timeout 1e15', 'timeout 60');
insert into absurd.w_stuck (task_id, run_id, step_name, event_name, timeout_at)
select task_id, run_id, 's', 'e', timestamptz '2025-12-31' from absurd.r_stuck where state = 'sleeping';
select task_name, wake_event from absurd.claim_task('stuck', 'w', 0, 20) order by 1;
select task_name, r.attempt_ends_at from absurd.t_stuck t join absurd.r_stuck r using (task_id) order by 1;
select count(*) as waits from absurd.w_stuck;
select pg_temp.clear();

-- Instants at the ends of time.
select count(pg_temp.given('instant ' || v, lease => null)) from unnest(array['-infinity', 'infinity', '4714-11-24 BC', '294276-12-31']) v;
update absurd.t_stuck set enqueue_at = substr(task_name, 9)::timestamptz, cancellation = '{"max_duration": 5}';
update absurd.r_stuck r set available_at = substr(task_name, 9)::timestamptz from absurd.t_stuck t where t.task_id = r.task_id;
select task_name from absurd.claim_task('stuck', 'w', 60, 10) order by 1;
update absurd.r_stuck set claim_expires_at = '-infinity', available_at = '-infinity' where state = 'running';
select count(*) from absurd.claim_task('stuck', 'w', 60, 10);
select pg_temp.clear();

-- Runs without a task are removed where a claim comes upon them, with what they wait for; tasks without runs, and waits without
-- runs, are nobody's.
insert into absurd.r_stuck (run_id, task_id, attempt, state, available_at, claim_expires_at)
select gen_random_uuid(), gen_random_uuid(), 1, case when n % 2 = 0 then 'pending' else 'running' end, '2025-12-30', case when n % 2 = 1 then timestamptz '2025-12-31' end
  from generate_series(1, 300) n;
insert into absurd.w_stuck (task_id, run_id, step_name, event_name) select task_id, run_id, 's', 'e' from absurd.r_stuck;
insert into absurd.w_stuck (task_id, run_id, step_name, event_name) values (gen_random_uuid(), gen_random_uuid(), 's', 'e');
insert into absurd.t_stuck (task_id, task_name, params, state) values (gen_random_uuid(), 'no run', '{}', 'pending');
select count(pg_temp.given('good'));
select task_name from generate_series(1, 60) n, absurd.claim_task('stuck', 'w' || n, 60, 10);
select (select count(*) from absurd.r_stuck) as runs, (select count(*) from absurd.w_stuck) as waits, (select count(*) from absurd.t_stuck) as tasks;
select pg_temp.clear();

-- Runs of tasks that have ended do not stand in the way either, however many.
select count(pg_temp.given('ended', 'completed')) from generate_series(1, 300);
select count(pg_temp.given('good'));
select count(*) from generate_series(1, 20) n, absurd.claim_task('stuck', 'w' || n, 60, 1);
select task_name, r.state, count(*) from absurd.r_stuck r join absurd.t_stuck using (task_id) group by 1, 2 order by 1;
select pg_temp.clear();

-- A due task that somebody has marked as dealt with is cancelled all the same.
select count(pg_temp.given('due', rules => '{"max_delay": 5}'));
update absurd.t_stuck set cancel_done = true;
set absurd.fake_now = '2026-01-01 00:00:10+00';
select count(*) from generate_series(1, 2) n, absurd.claim_task('stuck', 'w' || n);
select task_name, state from absurd.t_stuck;
select pg_temp.clear();

-- Of two open runs of one task a claim hands out one, the next the other.
select count(pg_temp.given('twice'));
insert into absurd.r_stuck (run_id, task_id, attempt, state, available_at)
select gen_random_uuid(), task_id, 2, 'sleeping', available_at from absurd.r_stuck;
select count(pg_temp.given('other'));
select task_name from absurd.claim_task('stuck', 'w', 60, 10) order by 1;
select task_name from absurd.claim_task('stuck', 'w', 60, 10);
select pg_temp.clear();

-- What a trigger refuses is set aside with its error, and the claim goes on.
create function pg_temp.refuse() returns trigger language plpgsql as $$
begin
  if new.task_name like 'refused%' and new.state <> 'running' and new.state is distinct from old.state then
    raise exception 'no % here', new.state using errcode = '23514', hint = 'Ask the owner.';
  end if;
  return new;
end $$;
create trigger refuse before update on absurd.t_stuck for each row execute function pg_temp.refuse();
set absurd.fake_now = '2026-01-01 01:00:00+00';
select pg_temp.given('refused lease', 'running', 'running', 1, '2026-01-01 00:30:00+00') as lease_task,
       pg_temp.given('refused time', 'running', 'running', 1, null, '2026-01-01 00:30:00+00') as time_task,
       pg_temp.given('refused rule', rules => '{"max_delay": 5}') as rule_task \gset
select count(pg_temp.given('rule ' || n, rules => '{"max_delay": 5}')) from generate_series(1, 5) n;
select count(pg_temp.given('lease ' || n, 'running', 'running', 1, '2026-01-01 00:40:00+00')) from generate_series(1, 2) n;
set absurd.fake_now = '2026-01-01 01:00:10+00';
select count(pg_temp.given('good ' || n)) from generate_series(1, 5) n;
-- One claim may come to the end of its budget before all is done.
select count(*) from generate_series(1, 20) n, absurd.claim_task('stuck', 'w' || n, 0, 10);
select task_name, state from absurd.t_stuck order by 1;
select queue, kind, since, attempts, error, next_try, role_name from absurd.stuck_work order by kind;
select id = :'rule_task' as is_task from absurd.stuck_work where kind = 'cancellation';
select id = (select run_id from absurd.r_stuck where task_id = :'lease_task') as is_run from absurd.stuck_work where kind = 'lease';
-- It is tried again when its time has come, later each time.
select count(*) from generate_series(1, 20) n, absurd.claim_task('stuck', 'w' || n, 0, 10);
select distinct attempts, next_try from absurd.stuck_work;
set absurd.fake_now = '2026-01-01 01:00:11+00';
select count(*) from generate_series(1, 20) n, absurd.claim_task('stuck', 'w' || n, 0, 10);
select distinct attempts, since, next_try from absurd.stuck_work;
update absurd.stuck_work set attempts = 40, next_try = absurd.current_time();
select count(*) from generate_series(1, 20) n, absurd.claim_task('stuck', 'w' || n, 0, 10);
select distinct attempts, next_try from absurd.stuck_work;
-- When it succeeds, or is gone, nothing is left of it.
drop trigger refuse on absurd.t_stuck;
delete from absurd.r_stuck where task_id = :'time_task';
set absurd.fake_now = '2026-01-01 02:00:11+00';
select count(*) from generate_series(1, 20) n, absurd.claim_task('stuck', 'w' || n, 0, 10);
select count(*) as stuck from absurd.stuck_work;
select task_name, state from absurd.t_stuck where task_name like 'refused%' order by 1;
-- A cancel of the statement is no failure of the work.
create or replace function pg_temp.refuse() returns trigger language plpgsql as $$
begin
  raise exception 'canceling statement due to user request' using errcode = '57014';
end $$;
create trigger refuse before update on absurd.t_stuck for each row execute function pg_temp.refuse();
select count(pg_temp.given('cancel', 'running', 'running', 1, '2026-01-01 01:30:00+00'));
create function pg_temp.claim() returns text language plpgsql as $$
begin
  perform * from absurd.claim_task('stuck', 'w', 0, 10);
  return 'went on';
exception when query_canceled then
  return 'cancelled';
end $$;
select pg_temp.claim();
select count(*) as stuck from absurd.stuck_work;
drop trigger refuse on absurd.t_stuck;
select pg_temp.clear();

-- Nothing stays of a queue that is dropped.
insert into absurd.stuck_work values ('stuck', 'lease', gen_random_uuid(), now(), 1, '{}', now(), '');
select absurd.drop_queue('stuck');
select count(*) as stuck from absurd.stuck_work;

-- A tree of workflow runs that cannot go on does not keep the others from it.
set absurd.fake_now = '2026-01-02 00:00:00+00';
select absurd.create_queue('trees');
select workflow_name from absurd.register_workflow('{"name": "pair", "tasks": {
    "w": {"task_id": "w", "operator_type": "wait", "wait_for": "PT1S"},
    "t": {"task_id": "t", "operator_type": "task", "function": "f", "dependencies": ["w"]}}}', 'trees');
create temporary table started (n int, id uuid);
do $$ begin for n in 1..40 loop insert into started values (n, absurd.start_workflow('pair')); end loop; end $$;
update absurd.workflow_scope c set phase = 'odd' from started s where s.id = c.workflow_run_id and s.n < 40;
set absurd.fake_now = '2026-01-02 00:00:02+00';
select task_name from generate_series(1, 60) n, absurd.claim_task('trees', 'w' || n, 60, 10);
select kind, count(*), min(attempts), max(attempts), min(error ->> 'sqlstate') as sqlstate, min(error ->> 'message') as message, count(distinct id) as roots
  from absurd.stuck_work group by 1;
select count(*) as timers_stay from absurd.workflow_timer;
-- advance_timers leaves it alone as well, until it is time again or somebody deletes the row.
select absurd.advance_timers('trees');
select max(attempts) from absurd.stuck_work;
delete from absurd.stuck_work where id = (select id from started where n = 1);
select absurd.advance_timers('trees');
select count(*), max(attempts) from absurd.stuck_work;
update absurd.workflow_scope set phase = 'open' where phase = 'odd';
delete from absurd.workflow_run where workflow_run_id = (select id from started where n = 2);
set absurd.fake_now = '2026-01-02 00:00:10+00';
select count(*) from generate_series(1, 60) n, absurd.claim_task('trees', 'w' || n, 60, 10);
select count(*) as stuck from absurd.stuck_work;

-- One that a role may not move is set aside for that role alone.
select absurd.create_queue('away');
select workflow_name from absurd.register_workflow('{"name": "kid", "tasks": {"t": {"task_id": "t", "operator_type": "task", "function": "g"}}}', 'away');
select workflow_name from absurd.register_workflow('{"name": "parent", "tasks": {
    "w": {"task_id": "w", "operator_type": "wait", "wait_for": "PT1S"},
    "c": {"task_id": "c", "operator_type": "child_workflow", "children": {"k": {"workflow_name": "kid"}}, "dependencies": ["w"]}}}', 'trees');
select absurd.start_workflow('parent') is not null as parent, absurd.start_workflow('pair') is not null as pair;
create role stuck_worker;
grant usage on schema absurd to stuck_worker;
grant select on absurd.queues, absurd.workflow_definition, absurd.workflow_transition to stuck_worker;
grant select, update on absurd.workflow_run to stuck_worker;
grant select, insert, update, delete on absurd.t_trees, absurd.r_trees, absurd.c_trees, absurd.e_trees, absurd.w_trees to stuck_worker;
grant select, insert on absurd.t_away, absurd.r_away to stuck_worker;
set absurd.fake_now = '2026-01-02 00:00:20+00';
set role stuck_worker;
select task_name from generate_series(1, 20) n, absurd.claim_task('trees', 'w' || n, 60, 10);
reset role;
select kind, attempts, error ->> 'sqlstate' as sqlstate, role_name from absurd.stuck_work;
select count(*) from generate_series(1, 20) n, absurd.claim_task('trees', 'w' || n, 60, 10);
select task_name from absurd.claim_task('away', 'w', 60, 10);
-- What is left of it goes with the next try of that role.
set absurd.fake_now = '2026-01-02 00:01:00+00';
set role stuck_worker;
select count(*) from absurd.claim_task('trees', 'w', 60, 10);
reset role;
select count(*) as stuck from absurd.stuck_work;
drop owned by stuck_worker;
drop role stuck_worker;
