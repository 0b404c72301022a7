-- claim_task: order, leases, sweeps, and rows that must not wedge a queue.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set intervalstyle = 'postgres';
set absurd.fake_now = '2026-01-01 00:00:00+00';
select absurd.create_queue('claim');

-- Oldest available_at first, then run_id; the quantity counts from one.
select count(*) from generate_series(1, 6) g, absurd.spawn_task('claim', 't' || g, to_jsonb(g), jsonb_build_object('available_at', timestamptz '2026-01-01 00:00:00+00' - make_interval(secs => g * 5 % 7)));
select task_name from absurd.claim_task('claim', 'w', 30, 0);
select task_name from absurd.claim_task('claim', 'w', 30, -5);
select task_name, row_number() over () from absurd.claim_task('claim', 'w', 30, 2);
select task_name, row_number() over () from absurd.claim_task('claim', 'w', 30, 100);
select count(*) from absurd.claim_task('claim', 'w', 30, 100);
select t.task_name, params from absurd.t_claim t where state <> 'running';
delete from absurd.t_claim;
delete from absurd.r_claim;
-- The same instant: by run id.
select count(*) from generate_series(1, 20) g, absurd.spawn_task('claim', 'tie', to_jsonb(g));
select array_agg(run_id) = array_agg(run_id order by run_id) as in_order from absurd.claim_task('claim', 'w', 30, 20);
delete from absurd.t_claim;
delete from absurd.r_claim;

-- What a claim returns and what it stores.
select task_id as task, run_id as run from absurd.spawn_task('claim', 'one', '{"p": 1}', '{"headers": {"h": 1}, "retry_strategy": {"kind": "fixed"}, "max_attempts": 4}') \gset
set absurd.fake_now = '2026-01-01 00:00:10+00';
select run_id = :'run' as run, task_id = :'task' as task, attempt, task_name, params, retry_strategy, max_attempts, headers, wake_event, event_payload
  from absurd.claim_task('claim', 'worker 7', 30);
select state, claimed_by, claim_expires_at, started_at, last_heartbeat from absurd.r_claim where run_id = :'run';
select state, first_started_at, last_attempt_run = :'run' as points_to_run, attempts from absurd.t_claim where task_id = :'task';
select count(*) as handed_out_again from absurd.claim_task('claim', 'w');

-- No lease with 0; a blank or NULL worker gets a name; negative is refused.
select count(*) from generate_series(1, 3) g, absurd.spawn_task('claim', 'worker', to_jsonb(g));
select count(*) from absurd.claim_task('claim', '  ', 0);
select count(*) from absurd.claim_task('claim', null, 0);
select count(*) from absurd.claim_task('claim', E'\t', 0);
select claimed_by, claim_expires_at, count(*) from absurd.r_claim join absurd.t_claim using (task_id) where task_name = 'worker' group by 1, 2;
select pg_temp.try($$select * from absurd.claim_task('claim', 'w', -1)$$);
select pg_temp.try($$select * from absurd.claim_task('claim', 'w', 2147483647, 2147483647)$$);

-- An expired lease: the run fails with $ClaimTimeout, the next attempt follows the retry strategy.
set absurd.fake_now = '2026-01-01 00:00:40+00';
select count(*) as handed_out from absurd.claim_task('claim', 'w2', 30);
select state, failure_reason - 'message' as reason, failure_reason ->> 'message' ~ '\S' as has_message, failed_at from absurd.r_claim where run_id = :'run';
select attempt, state, available_at from absurd.r_claim where task_id = :'task' order by attempt;
select state, attempts from absurd.t_claim where task_id = :'task';
set absurd.fake_now = '2026-01-01 00:01:40+00';
select attempt, task_name from absurd.claim_task('claim', 'w2', 30);
select first_started_at from absurd.t_claim where task_id = :'task';
-- A lease that ends later is not expired; one that ends now is.
set absurd.fake_now = '2026-01-01 00:02:09.999+00';
select count(*) from absurd.claim_task('claim', 'w2', 30);
select attempt, state from absurd.r_claim where task_id = :'task' order by 1;
set absurd.fake_now = '2026-01-01 00:02:10+00';
select count(*) from absurd.claim_task('claim', 'w2', 30);
select attempt, state from absurd.r_claim where task_id = :'task' order by 1;
-- Runs without a lease never expire.
select count(*) from absurd.r_claim join absurd.t_claim using (task_id) where task_name = 'worker' and absurd.r_claim.state = 'running';
delete from absurd.t_claim;
delete from absurd.r_claim;
-- At most p_qty expired leases a call; without a delay the retry is handed out at once.
set absurd.fake_now = '2026-01-01 01:00:00+00';
select count(*) from generate_series(1, 5) g, absurd.spawn_task('claim', 'lost', to_jsonb(g));
select count(*) from absurd.claim_task('claim', 'w', 10, 5);
set absurd.fake_now = '2026-01-01 01:01:00+00';
select attempt, count(*) from absurd.claim_task('claim', 'w', 10, 2) group by 1;
select state, count(*) from absurd.r_claim group by 1 order by 1;
delete from absurd.t_claim;
delete from absurd.r_claim;
-- The last attempt: the task fails for good.
select task_id as task from absurd.spawn_task('claim', 'last', '{}', '{"max_attempts": 1}') \gset
select attempt from absurd.claim_task('claim', null, 10);
set absurd.fake_now = '2026-01-01 01:02:00+00';
select count(*) from absurd.claim_task('claim', 'w', 10);
select state, failure_reason ->> 'workerId' as worker, failure_reason ->> 'name' as name from absurd.get_task_result('claim', :'task');

-- Cancellation rules: max_delay since enqueue, while never started.
set absurd.fake_now = '2026-01-02 00:00:00+00';
select task_id as task from absurd.spawn_task('claim', 'delay', '{}', '{"cancellation": {"max_delay": 60}}') \gset
set absurd.fake_now = '2026-01-02 00:01:00+00';
select count(*) as due_and_not_handed_out from absurd.claim_task('claim', 'w');
select state, cancelled_at from absurd.t_claim where task_id = :'task';
select state from absurd.r_claim where task_id = :'task';
select task_id as task from absurd.spawn_task('claim', 'delay', '{}', '{"cancellation": {"max_delay": 60}}') \gset
set absurd.fake_now = '2026-01-02 00:01:59.999+00';
select task_name from absurd.claim_task('claim', 'w', 0);
set absurd.fake_now = '2026-01-02 00:05:00+00';
select count(*) from absurd.claim_task('claim', 'w', 0);
select state as started_in_time from absurd.t_claim where task_id = :'task';
-- max_duration since the first start; the worker hears of it.
select task_id as task, run_id as run from absurd.spawn_task('claim', 'duration', '{}', '{"cancellation": {"max_duration": 60}}') \gset
select task_name from absurd.claim_task('claim', 'w', 600);
set absurd.fake_now = '2026-01-02 00:05:59.999+00';
select count(*) from absurd.claim_task('claim', 'w');
select state from absurd.t_claim where task_id = :'task';
set absurd.fake_now = '2026-01-02 00:06:00+00';
select count(*) from absurd.claim_task('claim', 'w');
select state, cancelled_at from absurd.t_claim where task_id = :'task';
select pg_temp.try(format('select absurd.complete_run(''claim'', %L)', :'run'));
-- However few runs are asked for, what is due is swept and not handed out.
select count(*) from generate_series(1, 20) g, absurd.spawn_task('claim', 'many', to_jsonb(g), '{"cancellation": {"max_delay": 1}}');
select created from absurd.spawn_task('claim', 'in time', '{}');
set absurd.fake_now = '2026-01-02 00:07:00+00';
select task_name from absurd.claim_task('claim', 'w', 30, 3);
select state, count(*) from absurd.t_claim where task_name = 'many' group by 1 order by 1;
select count(*) from absurd.claim_task('claim', 'w', 30, 3);
select state, count(*) from absurd.t_claim where task_name = 'many' group by 1 order by 1;
delete from absurd.t_claim;
delete from absurd.r_claim;

-- A run whose task is final is closed, not revived, and does not stand in the way.
select count(*) from generate_series(1, 3) g, absurd.spawn_task('claim', 'final', to_jsonb(g));
update absurd.t_claim set state = 'completed';
select created from absurd.spawn_task('claim', 'open', '{}');
select task_name from absurd.claim_task('claim', 'w');
select count(*) from absurd.claim_task('claim', 'w', 30, 10);
select t.state, r.state, count(*) from absurd.t_claim t join absurd.r_claim r using (task_id) where task_name = 'final' group by 1, 2;
-- The same for an expired lease.
select task_id as task, run_id as run from absurd.spawn_task('claim', 'final lease', '{}') \gset
select task_name from absurd.claim_task('claim', 'w', 10);
update absurd.t_claim set state = 'failed' where task_id = :'task';
set absurd.fake_now = '2026-01-02 00:08:00+00';
select count(*) from absurd.claim_task('claim', 'w') where task_id = :'task';
select state from absurd.r_claim where task_id = :'task';
delete from absurd.t_claim;
delete from absurd.r_claim;

-- Bad stored values never wedge the queue: each task is claimed, then lost to its lease.
select count(*) from generate_series(1, 8) g, absurd.spawn_task('claim', 'stored ' || g, to_jsonb(g));
update absurd.t_claim set cancellation = '{"max_delay": 1.5}' where params = '1';
update absurd.t_claim set cancellation = '{"max_delay": "x", "max_duration": -3}' where params = '2';
update absurd.t_claim set cancellation = '[]' where params = '3';
update absurd.t_claim set cancellation = '{"max_duration": 1e300, "max_delay": 99999999999999}' where params = '4';
update absurd.t_claim set retry_strategy = '{"kind": "bogus"}' where params = '5';
update absurd.t_claim set retry_strategy = '[1]' where params = '6';
update absurd.t_claim set retry_strategy = '"fixed"', max_attempts = 0 where params = '7';
update absurd.t_claim set headers = '"text"', retry_strategy = '{"kind": "exponential", "factor": 1e400}' where params = '8';
set absurd.fake_now = '2026-01-03 00:00:00+00';
select count(*) from absurd.claim_task('claim', 'w', 10, 100);
set absurd.fake_now = '2026-01-04 00:00:00+00';
select task_name, attempt from absurd.claim_task('claim', 'w', 10, 100) order by 1;
select task_name, state from absurd.t_claim order by 1;
delete from absurd.t_claim;
delete from absurd.r_claim;

-- Rows by the columns that a client knows, inserted by hand, are claimed like any other.
insert into absurd.t_claim (task_id, task_name, params, state) values ('00000000-0000-7000-8000-00000000000a', 'by hand', '{}', 'pending');
insert into absurd.r_claim (run_id, task_id, attempt, state, available_at) values ('00000000-0000-7000-8000-00000000000b', '00000000-0000-7000-8000-00000000000a', 1, 'pending', '2026-01-01');
select attempt, task_name from absurd.claim_task('claim', 'w');
-- Put to sleep and woken by hand, the task's own state untouched.
update absurd.r_claim set state = 'sleeping', available_at = '2026-01-04 00:00:05+00';
select count(*) from absurd.claim_task('claim', 'w');
update absurd.r_claim set state = 'pending', available_at = '2026-01-04 00:00:00+00';
select attempt, task_name from absurd.claim_task('claim', 'w');
select absurd.complete_run('claim', '00000000-0000-7000-8000-00000000000b', '"done"');
select state, result from absurd.get_task_result('claim', '00000000-0000-7000-8000-00000000000a');
select absurd.drop_queue('claim');
