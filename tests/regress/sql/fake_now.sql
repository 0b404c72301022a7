-- The engine's clock: the setting absurd.fake_now, for those who may set it.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set intervalstyle = 'postgres';
create function pg_temp.on_the_wall() returns boolean language sql as $$ select abs(extract(epoch from absurd.current_time() - clock_timestamp())) < 60 $$;

-- Not set, blank, reset: the wall clock, which goes on within a transaction.
select pg_temp.on_the_wall();
set absurd.fake_now = '';
select pg_temp.on_the_wall();
set absurd.fake_now = '   ';
select pg_temp.on_the_wall();
set absurd.fake_now = E'\t\n';
select pg_temp.on_the_wall();
-- Set: that instant, in any notation and zone.
set absurd.fake_now = '2026-01-01 00:00:00+00';
select absurd.current_time(), pg_temp.on_the_wall();
set absurd.fake_now = '2026-01-01T02:00:00.123456+02:00';
select absurd.current_time();
set absurd.fake_now = '2026-07-01 12:00 Europe/Vienna';
select absurd.current_time();
set absurd.fake_now = 'epoch';
select absurd.current_time();
set timezone = 'America/New_York';
set absurd.fake_now = '2026-01-01 00:00:00';
set timezone = 'UTC';
select absurd.current_time();
reset absurd.fake_now;
select pg_temp.on_the_wall();
-- For a transaction alone; as set_config; undone with its transaction.
begin;
set local absurd.fake_now = '2001-01-01 00:00:00+00';
select absurd.current_time();
commit;
select pg_temp.on_the_wall();
select set_config('absurd.fake_now', '2002-01-01 00:00:00+00', false);
select absurd.current_time();
begin;
set absurd.fake_now = '2003-01-01 00:00:00+00';
rollback;
select absurd.current_time();
-- Not a timestamp: 22007, from the clock and from the verbs.
set absurd.fake_now = 'soon';
select pg_temp.try('select absurd."current_time"()');
select pg_temp.try('select absurd.portable_uuidv7()');
select pg_temp.try($$select absurd.create_queue('fake_now')$$);
set absurd.fake_now = '2026-13-45';
select pg_temp.try('select absurd."current_time"()');
reset absurd.fake_now;
select absurd.create_queue('fake_now');
set absurd.fake_now = 'soon';
select pg_temp.try($$select * from absurd.spawn_task('fake_now', 'n', '{}')$$);
select pg_temp.try($$select * from absurd.claim_task('fake_now', 'w')$$);
select pg_temp.try($$select absurd.create_workflow_run('a', '1')$$);
reset absurd.fake_now;
-- Without it, rows carry the wall clock.
select task_id as task from absurd.spawn_task('fake_now', 'n', '{}') \gset
select abs(extract(epoch from enqueue_at - clock_timestamp())) < 60 as now, abs(extract(epoch from absurd.uuidv7_timestamp(task_id) - clock_timestamp())) < 60 as id_now from absurd.t_fake_now;

-- Ids and weeks.
select absurd.uuidv7_floor('2026-01-01 00:00:00+00'), absurd.uuidv7_timestamp(absurd.uuidv7_floor('2026-01-01 00:00:00.5+00'));
select absurd.uuidv7_timestamp('00000000-0000-4000-8000-000000000000') is null as not_v7;
select absurd.uuidv7_floor('2026-01-01 00:00:00+00') <= absurd.uuidv7_floor('2026-01-01 00:00:00.0009+00') as not_above, absurd.uuidv7_floor('1970-01-01 00:00:00+00');
select pg_temp.try($$select absurd.uuidv7_floor('1969-12-31 23:59:59+00')$$);
select pg_temp.try($$select absurd.uuidv7_floor('infinity')$$);
select count(distinct absurd.portable_uuidv7()) from generate_series(1, 1000);
select day, absurd.week_bucket_utc(day), absurd.partition_week_tag(day) from unnest('{2024-12-29 23:59:59+00,2024-12-30 00:00:00+00,2025-12-31 12:00:00+00,2026-01-01 00:00:00+00,2026-01-04 23:59:59.999999+00,2026-01-05 00:00:00+00,2027-01-01 00:00:00+00,1999-12-31 00:00:00+00}'::timestamptz[]) day;
set timezone = 'Asia/Tokyo';
select absurd.partition_week_tag('2026-01-04 23:59:59+00') as utc_whatever_the_zone, absurd.week_bucket_utc('2026-01-04 23:59:59+00') = '2025-12-29 00:00:00+00' as monday_utc;
set timezone = 'UTC';
select absurd.partition_week_tag('infinity') is null as none, absurd.week_bucket_utc('-infinity');

-- A role that may not set it cannot: neither with the library loaded, nor before.
create role regress_absurd_plain;
grant usage on schema absurd to regress_absurd_plain;
set role regress_absurd_plain;
set absurd.fake_now = '2001-01-01 00:00:00+00';
\echo :SQLSTATE
select pg_temp.try($$select set_config('absurd.fake_now', '2001-01-01 00:00:00+00', false)$$);
select pg_temp.on_the_wall();
reset role;
\c -
set client_min_messages = error;
set role regress_absurd_plain;
set absurd.fake_now = '2001-01-01 00:00:00+00';
select abs(extract(epoch from absurd.current_time() - clock_timestamp())) < 60 as on_the_wall;
select coalesce(current_setting('absurd.fake_now', true), '') as fake_now;
reset role;
-- Set by who may, it holds for whom the session becomes.
set absurd.fake_now = '2004-01-01 00:00:00+00';
set role regress_absurd_plain;
select absurd.current_time() = '2004-01-01 00:00:00+00' as held;
reset role;
revoke usage on schema absurd from regress_absurd_plain;
drop role regress_absurd_plain;
select absurd.drop_queue('fake_now');
