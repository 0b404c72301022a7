-- What has passed wins over what arrives later, whoever looks, and in the order of the instants at which it was due.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set client_min_messages = error;
select absurd.create_queue('decides');
create function pg_temp.at(seconds int) returns void language sql as $$
  select set_config('absurd.fake_now', (timestamptz '2026-01-05 09:00:00+00' + make_interval(secs => seconds))::text, false) $$;
create function pg_temp.start(name text, tasks jsonb, more jsonb default '{}') returns uuid language sql as $$
  select count(*) from absurd.register_workflow(jsonb_build_object('name', 'decides_' || name, 'tasks', tasks) || more, 'decides');
  select absurd.start_workflow('decides_' || name) $$;
create function pg_temp.claim(lease int default 600) returns uuid language sql as $$
  select run_id from absurd.claim_task('decides', 'w', lease) $$;
create function pg_temp.seen(run uuid) returns text language sql as $$
  select status || ': ' || (select string_agg(path || ' ' || state || coalesce(' ' || (s.error ->> 'name'), ''), ', ') from absurd.workflow_run_steps(run) s)
    from absurd.workflow_run where workflow_run_id = run $$;
create function pg_temp.task(more jsonb default '{}') returns jsonb language sql as $$
  select jsonb_build_object('a', '{"task_id": "a", "operator_type": "task", "function": "f"}'::jsonb || more) $$;

-- A deadline of 60 s before a lease of 90, one of 90 after a lease of 60, and before a result at 70; what the worker told is no error.
select pg_temp.at(0);
select pg_temp.start('deadline', pg_temp.task(), '{"deadline_seconds": 60, "deadline_action": "cancel"}') as run \gset
select pg_temp.claim(90) is not null as claimed;
select pg_temp.at(100);
select pg_temp.claim();
select pg_temp.seen(:'run');
select pg_temp.at(0);
select pg_temp.start('lease', pg_temp.task('{"metadata": {"absurd": {"max_lost_leases": 0}}}'), '{"deadline_seconds": 90, "deadline_action": "cancel"}') as run \gset
select pg_temp.claim(60) is not null as claimed;
select pg_temp.at(100);
select pg_temp.claim();
select pg_temp.seen(:'run');
select pg_temp.at(0);
select absurd.start_workflow('decides_deadline') as run \gset
select pg_temp.claim(90) as claimed \gset
select pg_temp.at(70);
select absurd.complete_run('decides', :'claimed', '1');
select pg_temp.seen(:'run');
-- In time it is taken.
select pg_temp.at(0);
select absurd.start_workflow('decides_deadline') as run \gset
select pg_temp.claim(90) as claimed \gset
select pg_temp.at(59);
select absurd.complete_run('decides', :'claimed', '1');
select pg_temp.seen(:'run');

-- An attempt whose time is over, told by the worker itself: retried, or failed when it was the last.
select pg_temp.at(0);
select pg_temp.start('attempt', pg_temp.task('{"timeout_policy": {"timeout": 30}, "retry_policy": {"max_retries": 1, "delay": 0}}')) as run \gset
select pg_temp.claim() as claimed \gset
select pg_temp.at(30);
select absurd.complete_run('decides', :'claimed', '1');
select pg_temp.seen(:'run');
select pg_temp.claim() as claimed \gset
select pg_temp.at(70);
select absurd.fail_run('decides', :'claimed', '{"name": "Other"}');
select pg_temp.seen(:'run');

-- An event after its time, in time but seen late, and at the very instant.
select pg_temp.at(0);
select pg_temp.start('event', '{"w": {"task_id": "w", "operator_type": "wait_for_event", "event_name": "e_{{run.id}}", "timeout_seconds": 10}}') as run \gset
select pg_temp.at(20);
select absurd.emit_event('decides', 'e_' || :'run', '1');
select pg_temp.seen(:'run');
select pg_temp.at(0);
select absurd.start_workflow('decides_event') as run \gset
select pg_temp.at(10);
select absurd.emit_event('decides', 'e_' || :'run', '1');
select pg_temp.seen(:'run');
-- Left to the next holder before the time was over: it came in time.
select pg_temp.at(0);
select absurd.start_workflow('decides_event') as run \gset
insert into absurd.workflow_stimulus (stimulus_id, arrived_at, happened_at, workflow_run_id, root_run_id, queue_name, kind, scope, node, payload)
select gen_random_uuid(), clock_timestamp(), timestamptz '2026-01-05 09:00:09+00', workflow_run_id, root_run_id, queue_name, 'event', scope, node, '1' from absurd.workflow_wait;
select pg_temp.at(100);
select absurd.advance_timers('decides');
select pg_temp.seen(:'run');

-- A join has its time from when only its inputs are missing; an input in time decides, what comes later does not.
select pg_temp.at(0);
select pg_temp.start('join', '{"e": {"task_id": "e", "operator_type": "wait_for_event", "event_name": "j_{{run.id}}"},
  "first": {"task_id": "first", "operator_type": "wait", "wait_for": "PT1M"},
  "j": {"task_id": "j", "operator_type": "join", "join_tasks": ["e"], "join_mode": "all_success", "timeout_policy": {"timeout": "PT5S"}},
  "k": {"task_id": "k", "operator_type": "join", "join_tasks": ["e"], "dependencies": ["first"], "timeout_policy": {"timeout": "PT5S"}}}') as run \gset
select pg_temp.at(6);
select absurd.advance_timers('decides');
select pg_temp.seen(:'run');
select pg_temp.at(64);
select absurd.advance_timers('decides');
select absurd.emit_event('decides', 'j_' || :'run', '1');
select pg_temp.seen(:'run');
select error ->> 'message' as message from absurd.workflow_run_steps(:'run') where path = 'j';
select count(*) as timers from absurd.workflow_timer;

-- One whose time is over ends its losers where it is told to.
select pg_temp.at(0);
select pg_temp.start('losers', '{"e": {"task_id": "e", "operator_type": "wait_for_event", "event_name": "l_{{run.id}}"},
  "t": {"task_id": "t", "operator_type": "task", "function": "f"},
  "j": {"task_id": "j", "operator_type": "join", "join_tasks": ["e", "t"], "join_mode": "any_of", "timeout_policy": {"timeout": "PT5S"},
        "metadata": {"absurd": {"cancel_losers": true}}}}') as run \gset
select pg_temp.at(6);
select absurd.advance_timers('decides');
select pg_temp.seen(:'run');
select state from absurd.t_decides where workflow_run_id = :'run';

-- A child that ended before its step's time was over, and an attempt that ran out of its time before a deadline: the earlier one decides.
select count(*) from absurd.register_workflow('{"name": "decides_wait", "tasks": {"w": {"task_id": "w", "operator_type": "wait", "wait_for": "PT10S"}}}', 'decides');
select pg_temp.at(0);
select pg_temp.start('child', '{"c": {"task_id": "c", "operator_type": "child_workflow", "children": {"k": {"workflow_name": "decides_wait"}}, "timeout_policy": {"timeout": "PT11S"}}}') as run \gset
select pg_temp.at(20);
select absurd.advance_timers('decides') > 0 as advanced;
select pg_temp.seen(:'run');
select pg_temp.at(0);
select pg_temp.start('overrun', pg_temp.task('{"timeout_policy": {"timeout": 30}}'), '{"deadline_seconds": 60, "deadline_action": "cancel"}') as run \gset
select pg_temp.claim() is not null as claimed;
select pg_temp.at(100);
select absurd.advance_timers('decides') > 0 as advanced;
select pg_temp.seen(:'run');

-- More timers than one call fires were due before the deadline, and that before the result: it comes too late all the same.
select pg_temp.at(0);
select pg_temp.start('many', pg_temp.task() || '{"f": {"task_id": "f", "operator_type": "foreach", "items": "range(2500)", "parallel": true,
  "loop_body": [{"task_id": "w", "operator_type": "wait", "wait_for": "PT10S", "dependencies": ["f"]}]}}',
  '{"deadline_seconds": 60, "deadline_action": "cancel"}') as run \gset
select pg_temp.claim() as claimed \gset
select sum(absurd.advance_timers('decides')) as fired from generate_series(1, 20);
select count(*) as timers from absurd.workflow_timer;
select pg_temp.at(70);
select absurd.complete_run('decides', :'claimed', '1');
select sum(absurd.advance_timers('decides')) > 0 as fired from generate_series(1, 20);
select status, (select s.state from absurd.workflow_run_steps(:'run') s where path = 'a') as step from absurd.workflow_run where workflow_run_id = :'run';
select count(*) as timers from absurd.workflow_timer;
select count(*) as left from absurd.workflow_stimulus;

-- The queue of a run is gone: it can still be cancelled, and so can its parent in another queue.
select absurd.create_queue('decides_gone');
select count(*) from absurd.register_workflow('{"name": "decides_kid", "tasks": {"a": {"task_id": "a", "operator_type": "task", "function": "f"}}}', 'decides_gone');
select pg_temp.start('par', '{"c": {"task_id": "c", "operator_type": "child_workflow", "children": {"k": {"workflow_name": "decides_kid"}}}}') as run \gset
select absurd.drop_queue('decides_gone');
select absurd.cancel_workflow_run(:'run');
select workflow_name, status from absurd.workflow_run where root_run_id = :'run' order by 1;
select absurd.drop_queue('decides');
