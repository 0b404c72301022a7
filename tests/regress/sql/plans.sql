-- Plans are kept by session: they follow a queue that is dropped and created again, altered tables,
-- and calls from within calls.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set absurd.fake_now = '2026-01-01 00:00:00+00';
set intervalstyle = 'postgres';
-- Every verb once; the last line is the state of both tasks.
create function pg_temp.all_verbs(q text) returns text language plpgsql as $$
declare
    task uuid;
    run uuid;
    other uuid;
    other_run uuid;
    states text;
begin
    perform absurd.create_queue(q);
    select task_id, run_id into task, run from absurd.spawn_task(q, 'a', '{}', '{"idempotency_key": "k", "max_attempts": 2}');
    perform absurd.claim_task(q, 'w', 30);
    perform absurd.extend_claim(q, run, 60);
    perform absurd.set_task_checkpoint_state(q, task, 'one', '1', run, 5);
    perform absurd.get_task_checkpoint_state(q, task, 'one');
    perform absurd.get_task_checkpoint_states(q, task, run);
    perform absurd.save_checkpoint_for_run(q, run, 'two', '2');
    perform absurd.get_checkpoints_for_run(q, run), absurd.get_run_checkpoint(q, run, 'two');
    perform absurd.await_event(q, task, run, 'wait', 'event');
    perform absurd.emit_event(q, 'event', '1');
    perform absurd.claim_task(q, 'w');
    perform absurd.await_event(q, task, run, 'wait', 'event');
    perform absurd.schedule_run(q, run, '2026-01-01');
    perform absurd.claim_task(q, 'w');
    perform absurd.fail_run(q, run, '1');
    select c.run_id into run from absurd.claim_task(q, 'w') c;
    perform absurd.fail_run(q, run, '2');
    select r.run_id into run from absurd.retry_task(q, task) r;
    select r.task_id, r.run_id into other, other_run from absurd.spawn_task(q, 'b', '{}') r;
    perform absurd.claim_task(q, 'w', 30, 5);
    perform absurd.complete_run(q, run, '3');
    perform absurd.cancel_task(q, other);
    perform absurd.cleanup_tasks(q, 100);
    perform absurd.cleanup_events(q, 100);
    perform absurd.set_queue_policy(q, '{"cleanup_limit": 5}');
    perform absurd.ensure_queue_tables(q);
    return (absurd.get_task_result(q, task)).state || ' ' || (absurd.get_task_result(q, other)).state;
end $$;
select pg_temp.all_verbs('plans');
-- Dropped and created again, three times over, in one session and in one transaction.
select absurd.drop_queue('plans');
select pg_temp.all_verbs('plans');
begin;
select absurd.drop_queue('plans');
select pg_temp.all_verbs('plans');
select absurd.drop_queue('plans');
select pg_temp.all_verbs('plans');
commit;
-- Gone: said as such, whatever was planned; and another queue's plans are its own.
select absurd.drop_queue('plans');
select pg_temp.try($$select * from absurd.claim_task('plans', 'w')$$);
select pg_temp.try($$select * from absurd.spawn_task('plans', 'n', '{}')$$);
select pg_temp.all_verbs('plans two');
select pg_temp.all_verbs('plans');
select pg_temp.all_verbs('PLANS');
select count(*) from absurd.t_plans;

-- Columns added to the tables of a queue in use, also with defaults; one of them dropped again.
truncate absurd.t_plans, absurd.r_plans, absurd.c_plans, absurd.e_plans, absurd.w_plans;
alter table absurd.t_plans add column priority int not null default 7, add column note text;
alter table absurd.r_plans add column note text default 'run';
alter table absurd.c_plans add column note text;
alter table absurd.e_plans add column note text;
alter table absurd.w_plans add column note text;
select pg_temp.all_verbs('plans');
select task_name, priority, note from absurd.t_plans order by 1;
truncate absurd.t_plans, absurd.r_plans, absurd.c_plans, absurd.e_plans, absurd.w_plans;
alter table absurd.t_plans drop column priority;
alter table absurd.r_plans drop column note;
select pg_temp.all_verbs('plans');
-- An index dropped, the registry touched: slower, not wrong.
drop index absurd.r_plans_ti;
truncate absurd.t_plans, absurd.r_plans, absurd.c_plans, absurd.e_plans, absurd.w_plans;
select pg_temp.all_verbs('plans');
select count(*) as index_again from pg_class where relname = 'r_plans_ti';

-- A trigger of a user's that spawns a task in the same queue, and in another: calls within calls.
truncate absurd.t_plans, absurd.r_plans, absurd.c_plans, absurd.e_plans, absurd.w_plans;
create function public.plans_follow_up() returns trigger language plpgsql as $$
begin
    if new.task_name = 'parent' then
        perform absurd.spawn_task('plans', 'child', jsonb_build_object('parent', new.task_name));
        perform absurd.spawn_task('plans two', 'child', '{}');
    end if;
    return new;
end $$;
create trigger plans_follow_up after insert on absurd.t_plans for each row execute function public.plans_follow_up();
select created from absurd.spawn_task('plans', 'parent', '{}');
select created from absurd.spawn_task('plans', 'parent', '{}', '{"idempotency_key": "p"}');
select task_name, params, count(*) from absurd.t_plans group by 1, 2 order by 1;
select count(*) from absurd."t_plans two" where task_name = 'child';
-- One that emits an event when a task is done, and so wakes a waiter within complete_run.
create function public.plans_done() returns trigger language plpgsql as $$
begin
    if new.state = 'completed' and old.state <> 'completed' then
        perform absurd.emit_event('plans', 'done', new.completed_payload);
    end if;
    return new;
end $$;
create trigger plans_done after update on absurd.t_plans for each row execute function public.plans_done();
select task_id as waiter, run_id as waiter_run from absurd.spawn_task('plans', 'waiter', '{}') \gset
select count(*) from absurd.claim_task('plans', 'w', 30, 10);
select should_suspend from absurd.await_event('plans', :'waiter', :'waiter_run', 's', 'done');
select run_id as child_run from absurd.r_plans join absurd.t_plans using (task_id) where task_name = 'child' limit 1 \gset
select absurd.complete_run('plans', :'child_run', '"from the child"');
select state from absurd.t_plans where task_id = :'waiter';
select task_name, event_payload from absurd.claim_task('plans', 'w');
-- One that fails in the inner call: the whole call is undone.
create or replace function public.plans_follow_up() returns trigger language plpgsql as $$
begin
    perform absurd.spawn_task('plans two', 'inner', '{}');
    perform absurd.spawn_task('plans two', '', '{}');
    return new;
end $$;
select pg_temp.try($$select absurd.spawn_task('plans', 'outer', '{}')$$);
select count(*) from absurd.t_plans where task_name = 'outer';
select count(*) from absurd."t_plans two" where task_name = 'inner';
-- One that catches it: the outer call stands.
create or replace function public.plans_follow_up() returns trigger language plpgsql as $$
begin
    begin
        perform absurd.spawn_task('plans two', '', '{}');
    exception when invalid_parameter_value then
        perform absurd.spawn_task('plans two', 'instead', '{}');
    end;
    return new;
end $$;
select created from absurd.spawn_task('plans', 'outer', '{}');
select count(*) from absurd."t_plans two" where task_name = 'instead';
-- One that drops or creates queues in the midst.
create or replace function public.plans_follow_up() returns trigger language plpgsql as $$
begin
    perform absurd.drop_queue('plans two');
    perform absurd.create_queue('plans two');
    perform absurd.spawn_task('plans two', 'fresh', '{}');
    return new;
end $$;
select created from absurd.spawn_task('plans', 'outer', '{}');
select task_name from absurd."t_plans two";
-- A queue cannot be dropped from within a call on it.
create or replace function public.plans_follow_up() returns trigger language plpgsql as $$
begin
    perform absurd.drop_queue('plans');
    return new;
end $$;
select left(pg_temp.try($$select absurd.spawn_task('plans', 'outer', '{}')$$), 5);
drop trigger plans_follow_up on absurd.t_plans;
drop trigger plans_done on absurd.t_plans;
drop function public.plans_follow_up(), public.plans_done();
select absurd.drop_queue('plans'), absurd.drop_queue('plans two'), absurd.drop_queue('PLANS');
