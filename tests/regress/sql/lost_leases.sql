-- A step whose worker vanishes is handed out again, and that is no attempt, up to as often as the step's options say.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set client_min_messages = error;
select absurd.create_queue('lost');
create function pg_temp.at(seconds int) returns void language sql as $$
  select set_config('absurd.fake_now', (timestamptz '2026-01-05 09:00:00+00' + make_interval(secs => seconds))::text, false) $$;
select pg_temp.at(0);
create function pg_temp.start(name text, more jsonb, inputs jsonb default '{}') returns uuid language sql as $$
  select count(*) from absurd.register_workflow(jsonb_build_object('name', 'lost_' || name, 'tasks', jsonb_build_object('a', '{"task_id": "a", "operator_type": "task", "function": "f"}'::jsonb || more)), 'lost');
  select absurd.start_workflow('lost_' || name, p_inputs => inputs) $$;
-- Claims with a lease of ten seconds that nobody keeps, so many times.
create function pg_temp.lose(times int) returns table (attempt int, max_attempts int) language plpgsql as $$
begin
  for i in 1..times loop
    return query select c.attempt, c.max_attempts from absurd.claim_task('lost', 'w', 10) c;
    perform set_config('absurd.fake_now', (absurd.current_time() + interval '10 s')::text, false);
  end loop;
end $$;
create function pg_temp.seen(run uuid) returns table (status text, state text, attempts int, error jsonb) language sql as $$
  select w.status, s.state, s.attempts, s.error from absurd.workflow_run w, absurd.workflow_run_steps(run) s where w.workflow_run_id = run $$;

-- Five times by default, at once; then it is an attempt, the last that a step without retries has.
select pg_temp.start('plain', '{}') as run \gset
select * from pg_temp.lose(7);
select * from pg_temp.seen(:'run');
select attempt, state, failure_reason ->> 'name' as reason from absurd.r_lost order by attempt;
-- Who comes in time completes it, at its first attempt.
select absurd.start_workflow('lost_plain') as run \gset
select * from pg_temp.lose(3);
select run_id as claimed, attempt from absurd.claim_task('lost', 'w') \gset
select absurd.complete_run('lost', :'claimed', '1');
select * from pg_temp.seen(:'run');

-- As often as the step says, beside its retries, whose delay lost leases do not have; an error tells of attempts alone.
select pg_temp.start('once', '{"retry_policy": {"max_retries": 1, "delay": "PT1H"}, "metadata": {"absurd": {"max_lost_leases": 1}}}') as run \gset
select * from pg_temp.lose(1);
select run_id as claimed, attempt, max_attempts from absurd.claim_task('lost', 'w') \gset
select :attempt as attempt, :max_attempts as max_attempts;
select absurd.fail_run('lost', :'claimed', '{"name": "Broken"}');
select count(*) as ready from absurd.claim_task('lost', 'w');
select pg_temp.at(10000);
select * from pg_temp.lose(2);
select * from pg_temp.seen(:'run');
-- Never, by a template; and what is no number fails the step.
select pg_temp.start('templated', '{"metadata": {"absurd": {"max_lost_leases": "{{n}}"}, "owner": "me"}}', '{"n": 0}') as run \gset
select headers -> 'absurd' as absurd, headers -> 'owner' as owner from absurd.t_lost where workflow_run_id = :'run';
select * from pg_temp.lose(2);
select * from pg_temp.seen(:'run');
select absurd.start_workflow('lost_templated', p_inputs => '{"n": "few"}') as run \gset
select * from pg_temp.seen(:'run');
select pg_temp.try($$select pg_temp.start('refused', '{"metadata": {"absurd": {"max_lost_leases": 1.5}}}')$$);
select pg_temp.try($$select pg_temp.start('refused', '{"operator_type": "wait", "wait_for": "PT1S", "metadata": {"absurd": {"max_lost_leases": 1}}}')$$);

-- Breakers do not count them.
select pg_temp.start('breaker', '{"circuit_breaker_policy": {"failure_threshold": 1}, "metadata": {"absurd": {"max_lost_leases": 1}}}') as run \gset
select * from pg_temp.lose(1);
select count(*) as claimed from absurd.claim_task('lost', 'w', 10);
select count(*) as breakers from absurd.workflow_breaker where failures > 0 or open_until is not null;
select * from pg_temp.lose(2);
select failures, open_until is not null as is_open from absurd.workflow_breaker where workflow_name = 'lost_breaker';
select * from pg_temp.seen(:'run');
-- The delay before a retry does not know of them; and a worker that says so itself has lost no lease.
select pg_temp.at(20000);
select pg_temp.start('delays', '{"retry_policy": {"max_retries": 3, "delay": "PT10S", "backoff_factor": 10}}') as run \gset
select * from pg_temp.lose(2);
select absurd.fail_run('lost', run_id, '{"name": "Broken"}') from absurd.claim_task('lost', 'w');
select extract(epoch from available_at - absurd.current_time())::int as seconds from absurd.r_lost where state = 'sleeping';
select absurd.cancel_workflow_run(:'run');
select pg_temp.start('says', '{"retry_policy": {"max_retries": 2, "delay": 0}}') as run \gset
select count(absurd.fail_run('lost', c.run_id, '{"name": "$ClaimTimeout"}')) from generate_series(1, 3) n, lateral (select run_id from absurd.claim_task('lost', 'w' || n)) c;
select status, attempts from pg_temp.seen(:'run');
-- A task that no step follows goes by its own retries.
select absurd.spawn_task('lost', 'plain', '{}', '{"max_attempts": 1, "headers": {"absurd": {"max_lost_leases": 9}}}') is not null as spawned;
select * from pg_temp.lose(2);
select state, attempts, max_attempts from absurd.t_lost where task_name = 'plain';
-- What a client has made of the headers.
select pg_temp.start('forged', '{}') as run \gset
update absurd.t_lost set headers = '{"absurd": {"max_lost_leases": 1e300}}' where workflow_run_id = :'run';
select * from pg_temp.lose(7);
select * from absurd.verify('lost');
select absurd.drop_queue('lost');
