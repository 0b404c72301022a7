-- await_event and emit_event: every way to an answer.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set absurd.fake_now = '2026-01-01 00:00:00+00';
set intervalstyle = 'postgres';
select absurd.create_queue('ev');
create function pg_temp.started(name text, out task uuid, out run uuid) language plpgsql as $$
begin
    select s.task_id, s.run_id into task, run from absurd.spawn_task('ev', name, '{}') s;
    perform 1 from absurd.claim_task('ev', 'w', 600, 100) c where c.run_id = run;
    if not found then
        raise exception 'the run was not handed out';
    end if;
end $$;
create function pg_temp.show(of_task uuid) returns text language sql as $$
    select format('task %s, run %s attempt %s available=%s wake_event=%s payload=%s claimed_by=%s lease=%s waits=%s', t.state, r.state, attempt, available_at, wake_event, event_payload, claimed_by, claim_expires_at,
                  (select count(*) from absurd.w_ev w where w.run_id = r.run_id))
      from absurd.t_ev t join absurd.r_ev r using (task_id) where task_id = of_task order by attempt desc limit 1
$$;

-- Wait, emit, wake, answer.
select * from pg_temp.started('waits') \gset
select should_suspend, payload from absurd.await_event('ev', :'task', :'run', 'step', 'first');
select pg_temp.show(:'task');
select task_id = :'task' as task, run_id = :'run' as run, step_name, event_name, timeout_at, created_at from absurd.w_ev;
-- No placeholder: the event's row is there once it was emitted.
select count(*) as events from absurd.e_ev;
select count(*) as claimed from absurd.claim_task('ev', 'w', 600);
set absurd.fake_now = '2026-01-01 00:00:10+00';
select absurd.emit_event('ev', 'first', '{"n": 1}');
select pg_temp.show(:'task');
select event_name, payload, emitted_at from absurd.e_ev;
select checkpoint_name, state, status, owner_run_id = :'run' as own from absurd.get_task_checkpoint_states('ev', :'task', :'run');
select attempt, wake_event, event_payload from absurd.claim_task('ev', 'w', 600);
select should_suspend, payload from absurd.await_event('ev', :'task', :'run', 'step', 'first');
select pg_temp.show(:'task');
-- The checkpoint answers, also for another event's name and after the first answer.
select should_suspend, payload from absurd.await_event('ev', :'task', :'run', 'step', 'first');
select should_suspend, payload from absurd.await_event('ev', :'task', :'run', 'step', 'never emitted');
-- An event that was emitted answers another step at once, and is checkpointed.
select should_suspend, payload from absurd.await_event('ev', :'task', :'run', 'second step', 'first', 5);
select checkpoint_name, state from absurd.get_task_checkpoint_states('ev', :'task', :'run') order by 1;
-- A checkpoint written by hand or by the worker answers, too.
select absurd.set_task_checkpoint_state('ev', :'task', 'known', '"mine"', :'run');
select should_suspend, payload from absurd.await_event('ev', :'task', :'run', 'known', 'whatever');
-- The first emission stands.
set absurd.fake_now = '2026-01-01 00:00:20+00';
select absurd.emit_event('ev', 'first', '{"n": 2}');
select payload, emitted_at from absurd.e_ev;
select absurd.complete_run('ev', :'run');

-- Payloads: none is JSON null, said as such and kept apart from a timeout.
select absurd.emit_event('ev', 'none');
select absurd.emit_event('ev', 'null', null);
select absurd.emit_event('ev', 'json null', 'null');
select event_name, jsonb_typeof(payload), payload is not null as emitted from absurd.e_ev where event_name ~ 'none|null' order by 1;
select * from pg_temp.started('null payload') \gset
select should_suspend, payload from absurd.await_event('ev', :'task', :'run', 'a', 'none');
select should_suspend from absurd.await_event('ev', :'task', :'run', 'b', 'later');
select absurd.emit_event('ev', 'later');
select attempt, wake_event, event_payload from absurd.claim_task('ev', 'w', 600);
select should_suspend, payload from absurd.await_event('ev', :'task', :'run', 'b', 'later');
select absurd.complete_run('ev', :'run');

-- Timeout: the claim afterwards keeps wake_event; the answer is (false, null), once.
set absurd.fake_now = '2026-01-01 01:00:00+00';
select * from pg_temp.started('times out') \gset
select should_suspend, payload from absurd.await_event('ev', :'task', :'run', 'step', 'slow', 60);
select pg_temp.show(:'task');
select timeout_at from absurd.w_ev where run_id = :'run';
set absurd.fake_now = '2026-01-01 01:00:59.999+00';
select count(*) from absurd.claim_task('ev', 'w', 600);
set absurd.fake_now = '2026-01-01 01:01:00+00';
select attempt, wake_event, event_payload from absurd.claim_task('ev', 'w', 600);
select pg_temp.show(:'task');
select should_suspend, payload from absurd.await_event('ev', :'task', :'run', 'step', 'slow', 60);
select pg_temp.show(:'task');
select count(*) as checkpoints from absurd.get_task_checkpoint_states('ev', :'task', :'run');
select should_suspend, payload from absurd.await_event('ev', :'task', :'run', 'step', 'slow', 60);
select pg_temp.show(:'task');
-- Emitted after that timeout has passed but before the claim: it does not wake, the event answers.
set absurd.fake_now = '2026-01-01 01:02:00+00';
select absurd.emit_event('ev', 'slow', '"late"');
select pg_temp.show(:'task');
select wake_event, event_payload from absurd.claim_task('ev', 'w', 600);
select should_suspend, payload from absurd.await_event('ev', :'task', :'run', 'step', 'slow', 60);
select pg_temp.show(:'task');
select absurd.complete_run('ev', :'run');
-- A timeout of zero: ready again at once.
select * from pg_temp.started('zero') \gset
select should_suspend from absurd.await_event('ev', :'task', :'run', 'step', 'zero', 0);
select wake_event from absurd.claim_task('ev', 'w', 600);
select should_suspend, payload from absurd.await_event('ev', :'task', :'run', 'step', 'zero', 0);
-- A timeout of one event is no timeout of another.
select should_suspend from absurd.await_event('ev', :'task', :'run', 'step', 'zero', 0);
select wake_event from absurd.claim_task('ev', 'w', 600);
select should_suspend, payload from absurd.await_event('ev', :'task', :'run', 'other step', 'another');
select pg_temp.show(:'task');
select absurd.emit_event('ev', 'another', '7');
select wake_event, event_payload from absurd.claim_task('ev', 'w', 600);
-- schedule_run clears what the event left.
select absurd.schedule_run('ev', :'run', '2026-01-01 01:03:00+00');
select pg_temp.show(:'task');
set absurd.fake_now = '2026-01-01 01:03:00+00';
select wake_event, event_payload from absurd.claim_task('ev', 'w', 600);
select should_suspend, payload from absurd.await_event('ev', :'task', :'run', 'other step', 'another');
select absurd.complete_run('ev', :'run');

-- Many waiters of one event, in several steps; only those whose timeout lies ahead, and only that event's.
create temp table waiter as select g, s.* from generate_series(1, 5) g, pg_temp.started('many ' || g) s;
select g, should_suspend from waiter, absurd.await_event('ev', task, run, 'step ' || g, case when g = 5 then 'not this' else 'many' end, case g when 1 then 60 when 2 then 600 end) order by g;
set absurd.fake_now = '2026-01-01 01:04:00+00';
select absurd.emit_event('ev', 'many', '"all"');
select g, pg_temp.show(task) from waiter order by g;
select checkpoint_name, state from absurd.c_ev where checkpoint_name like 'step _' order by 1;
select count(absurd.cancel_task('ev', task)) from waiter;

-- Events that a client inserts by hand count, with a payload or without.
insert into absurd.e_ev (event_name, payload) values ('by hand', '"x"'), ('by hand without', null);
select * from pg_temp.started('by hand') \gset
select should_suspend, payload from absurd.await_event('ev', :'task', :'run', 'a', 'by hand');
select should_suspend, payload from absurd.await_event('ev', :'task', :'run', 'b', 'by hand without');

-- Refused: bad arguments, a run of another task or none, one that does not run.
select pg_temp.try(format('select * from absurd.await_event(''ev'', %L, %L, ''s'', ''e'', -1)', :'task', :'run'));
select pg_temp.try(format('select * from absurd.await_event(''ev'', %L, %L, '' '', ''e'')', :'task', :'run'));
select pg_temp.try(format('select * from absurd.await_event(''ev'', %L, %L, ''s'', E''\t'')', :'task', :'run'));
select pg_temp.try($$select absurd.emit_event('ev', '')$$);
select pg_temp.try($$select absurd.emit_event('ev', '  ', '1')$$);
select task_id as other, run_id as other_run from absurd.spawn_task('ev', 'pending', '{}') \gset
select pg_temp.try(format('select * from absurd.await_event(''ev'', %L, %L, ''s'', ''e'')', :'other', :'run'));
select pg_temp.try(format('select * from absurd.await_event(''ev'', %L, %L, ''s'', ''e'')', :'other', :'other_run'));
select pg_temp.try(format('select * from absurd.await_event(''ev'', %L, %L, ''s'', ''e'')', :'task', '00000000-0000-7000-8000-000000000000'));
select count(*) as waits from absurd.w_ev;
-- The run's own id stands for its task.
select should_suspend, payload from absurd.await_event('ev', :'run', :'run', 'c', 'by hand');
-- Cancelled: AB001, also when the step is checkpointed or the event there. Failed: AB002. Done: not running.
select absurd.cancel_task('ev', :'task');
select pg_temp.try(format('select * from absurd.await_event(''ev'', %L, %L, ''a'', ''by hand'')', :'task', :'run'));
select pg_temp.try(format('select * from absurd.await_event(''ev'', %L, %L, ''new'', ''nothing'')', :'task', :'run'));
select absurd.cancel_task('ev', :'other');
select * from pg_temp.started('fails') \gset
select should_suspend, payload from absurd.await_event('ev', :'task', :'run', 'a', 'by hand');
select absurd.fail_run('ev', :'run', '1');
select pg_temp.try(format('select * from absurd.await_event(''ev'', %L, %L, ''a'', ''by hand'')', :'task', :'run'));
-- The next attempt finds the answer of the first.
select run_id as run2, attempt from absurd.claim_task('ev', 'w', 600) \gset
select :attempt as attempt, should_suspend, payload from absurd.await_event('ev', :'task', :'run2', 'a', 'never');
select absurd.complete_run('ev', :'run2');
select pg_temp.try(format('select * from absurd.await_event(''ev'', %L, %L, ''a'', ''by hand'')', :'task', :'run2'));
-- Several attempts at a task wait at one step, as clients leave them that register waits by hand: all wake, and the newest has the checkpoint.
create temp table attempts (run uuid, task uuid, attempt int);
insert into attempts select gen_random_uuid(), :'task', n from generate_series(11, 13) n;
insert into absurd.r_ev (run_id, task_id, attempt, state, available_at, wake_event) select run, task, attempt, 'sleeping', 'infinity', 'shared' from attempts;
insert into absurd.w_ev (task_id, run_id, step_name, event_name) select task, run, step, 'shared' from attempts, unnest('{s,also}'::text[]) step where attempt < 13 or step = 'also';
select absurd.emit_event('ev', 'shared', '"for all"');
select absurd.emit_event('ev', 'shared', '"again"');
select attempt, state, wake_event, event_payload from absurd.r_ev join attempts using (attempt) where run_id = run order by 1;
select checkpoint_name, c.state, attempt from absurd.c_ev c join attempts on run = owner_run_id order by 1;
select count(*) as waits from absurd.w_ev where event_name = 'shared';
-- One that waits alone does not write over a newer attempt's.
update absurd.r_ev set state = 'sleeping', wake_event = 'alone', event_payload = null where attempt = 11;
insert into absurd.w_ev (task_id, run_id, step_name, event_name) select task, run, 's', 'alone' from attempts where attempt = 11;
select absurd.emit_events('ev', array['alone'], array['"late"']::jsonb[]);
select checkpoint_name, c.state, attempt from absurd.c_ev c join attempts on run = owner_run_id where checkpoint_name = 's';
select state, event_payload from absurd.r_ev where attempt = 11;
delete from absurd.r_ev where attempt > 10;
-- Every event that has a row was emitted.
select event_name from absurd.e_ev order by event_name collate "C";
select absurd.drop_queue('ev');
