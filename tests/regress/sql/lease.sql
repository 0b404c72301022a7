-- extend_claim: the lease, the heartbeat, and what is refused.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set intervalstyle = 'postgres';
set absurd.fake_now = '2026-01-01 00:00:00+00';
select absurd.create_queue('lease');
select task_id as task, run_id as run from absurd.spawn_task('lease', 'n', '{}') \gset
select pg_temp.try(format('select absurd.extend_claim(''lease'', %L, 30)', :'run'));
select attempt from absurd.claim_task('lease', 'w', 30);
-- From now, as asked: longer, and shorter.
set absurd.fake_now = '2026-01-01 00:00:20+00';
select absurd.extend_claim('lease', :'run', 30);
select claim_expires_at, last_heartbeat, started_at from absurd.r_lease;
set absurd.fake_now = '2026-01-01 00:00:21+00';
select absurd.extend_claim('lease', :'run', 1);
select claim_expires_at, last_heartbeat from absurd.r_lease;
select absurd.extend_claim('lease', :'run', 2147483647);
select claim_expires_at from absurd.r_lease;
-- Only upwards of zero.
select pg_temp.try(format('select absurd.extend_claim(''lease'', %L, 0)', :'run'));
select pg_temp.try(format('select absurd.extend_claim(''lease'', %L, -5)', :'run'));
select claim_expires_at from absurd.r_lease;
-- An extended lease is kept by claims; one that ran out, unswept, can still be extended.
select absurd.extend_claim('lease', :'run', 10);
set absurd.fake_now = '2026-01-01 00:00:30+00';
select count(*) from absurd.claim_task('lease', 'w');
select state from absurd.r_lease;
set absurd.fake_now = '2026-01-01 00:01:00+00';
select absurd.extend_claim('lease', :'run', 10);
select count(*) from absurd.claim_task('lease', 'w');
select state, claim_expires_at from absurd.r_lease;
-- A run without a lease has none to extend.
select run_id as bare from absurd.spawn_task('lease', 'bare', '{}') \gset
select claim_task.attempt, (select claim_expires_at from absurd.r_lease where run_id = :'bare') from absurd.claim_task('lease', 'w', 0);
select pg_temp.try(format('select absurd.extend_claim(''lease'', %L, 60)', :'bare'));
select claim_expires_at from absurd.r_lease where run_id = :'bare';
-- What is not running has no lease to extend.
select absurd.schedule_run('lease', :'run', '2027-01-01');
select pg_temp.try(format('select absurd.extend_claim(''lease'', %L, 30)', :'run'));
select absurd.complete_run('lease', :'bare');
select pg_temp.try(format('select absurd.extend_claim(''lease'', %L, 30)', :'bare'));
select absurd.cancel_task('lease', :'task');
select pg_temp.try(format('select absurd.extend_claim(''lease'', %L, 30)', :'run'));
select run_id as run from absurd.spawn_task('lease', 'fails', '{}') \gset
select attempt from absurd.claim_task('lease', 'w');
select absurd.fail_run('lease', :'run', '1');
select pg_temp.try(format('select absurd.extend_claim(''lease'', %L, 30)', :'run'));
select pg_temp.try($$select absurd.extend_claim('lease', '00000000-0000-7000-8000-000000000000', 30)$$);
select absurd.drop_queue('lease');
