-- Cancellation rules bind whoever wrote the row: rows inserted by the columns that clients know, and
-- rows whose times were moved, are swept like the engine's own and never handed out late.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set absurd.fake_now = '2026-01-01 12:00:00+00';
select absurd.create_queue('cancellation');

create function pg_temp.raw(name text, rule jsonb, enqueued timestamptz) returns boolean language sql as $$
    with task as (
        insert into absurd.t_cancellation (task_id, task_name, params, state, attempts, cancellation, enqueue_at)
        values (gen_random_uuid(), name, '{}', 'pending', 1, rule, enqueued)
        returning task_id)
    insert into absurd.r_cancellation (run_id, task_id, attempt, state, available_at)
    select gen_random_uuid(), task_id, 1, 'pending', enqueued from task
    returning true
$$;
select count(pg_temp.raw(name, rule, enqueued)) from (values
    ('due', '{"max_delay": 60}'::jsonb, '2026-01-01 11:00:00+00'::timestamptz),
    ('in time', '{"max_delay": 60}', '2026-01-01 11:59:30+00'),
    ('unbounded', '{}', '2026-01-01 11:00:00+00'),
    ('fraction', '{"max_delay": 1.5}', '2026-01-01 11:00:00+00'),
    ('text', '{"max_delay": "60"}', '2026-01-01 11:00:00+00'),
    ('negative', '{"max_delay": -1}', '2026-01-01 11:00:00+00'),
    ('huge', '{"max_delay": 1e300}', '2026-01-01 11:00:00+00'),
    ('no object', '[7]', '2026-01-01 11:00:00+00')) as v (name, rule, enqueued);
select task_name from absurd.claim_task('cancellation', 'w', 600, 20) order by 1;
select task_name, state from absurd.t_cancellation order by 1;
update absurd.r_cancellation set state = 'cancelled' where state = 'running';
update absurd.t_cancellation set state = 'cancelled' where state = 'running';

-- A task of the engine whose enqueue time a tool moves.
select count(*) from absurd.spawn_task('cancellation', 'moved', '{}', '{"cancellation": {"max_delay": 3600}}');
update absurd.t_cancellation set enqueue_at = enqueue_at - interval '2 hours' where task_name = 'moved';
select count(*) as handed_out from absurd.claim_task('cancellation', 'w');
select state, cancelled_at from absurd.t_cancellation where task_name = 'moved';

-- More due rows at the head than one claim sweeps do not hide what is behind them, and all go in the end.
select count(pg_temp.raw('crowd', '{"max_delay": 1}', '2026-01-01 10:00:00+00')) from generate_series(1, 3000);
select count(*) from absurd.spawn_task('cancellation', 'behind', '{}');
select count(*) as first_claim from absurd.claim_task('cancellation', 'w');
select count(*) filter (where state = 'cancelled') between 1 and 1000 as bounded from absurd.t_cancellation where task_name = 'crowd';
-- Each claim gets some of it done, so the last comes after 60 at the latest.
select count(c.*) from generate_series(1, 60) n, absurd.claim_task('cancellation', 'w' || n) c;
select state, count(*) from absurd.t_cancellation where task_name = 'crowd' group by 1;

-- max_duration counts from the first start, through sleeps and retries; what has ended is left alone.
select task_id as t, run_id as r from absurd.spawn_task('cancellation', 'long', '{}', '{"cancellation": {"max_duration": 60}}') \gset
select count(*) from absurd.claim_task('cancellation', 'w', 600);
set absurd.fake_now = '2026-01-01 12:00:30+00';
select absurd.schedule_run('cancellation', :'r', '2026-01-01 12:00:40+00');
set absurd.fake_now = '2026-01-01 12:00:59+00';
select count(*) as still_in_time from absurd.claim_task('cancellation', 'w', 600);
set absurd.fake_now = '2026-01-01 12:01:00+00';
select count(*) as handed_out from absurd.claim_task('cancellation', 'w', 600) where task_name = 'long';
select state, cancelled_at from absurd.t_cancellation where task_id = :'t';
select pg_temp.try(format('select absurd.complete_run(''cancellation'', %L)', :'r'));
-- Nothing that has ended is looked at again, rows that a tool ended included.
select count(*) from absurd.t_cancellation
 where state in ('completed', 'failed', 'cancelled') and cancellation is not null and cancel_done is null
   and task_name in ('due', 'moved', 'crowd', 'long');
update absurd.t_cancellation set cancel_done = null where task_name in ('due', 'moved');
select count(*) from absurd.claim_task('cancellation', 'w');
select task_name, state, cancel_done from absurd.t_cancellation where task_name in ('due', 'moved') order by 1;

select absurd.drop_queue('cancellation');
