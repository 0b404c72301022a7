-- Old partitions: which may go, how they go, and the jobs of a scheduler that brings them there. The
-- scheduler here is a stand-in with pg_cron's table and functions; the tier "cron" has the real one.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set absurd.fake_now = '2026-11-24 12:00:00+00';
select absurd.create_queue('old', 'partitioned');
select absurd.create_queue('it''s "old"', 'partitioned');
select absurd.create_queue('flat');
select absurd.spawn_task('old', 'kept', '{}') is not null;
-- Without pg_cron: a clear error, nothing changed.
select absurd.enable_cron();
select pg_temp.try('select * from absurd.' || call)
  from (values ('enable_cron(''old'')'), ('disable_cron()'), ('schedule_detach_jobs()'), ('enable_cron(''nobody'')'), ('schedule_detach_jobs(''nobody'')'),
               ('list_detach_candidates(''nobody'')'), ('enable_cron(null, null)')) v (call);
-- A policy must allow it, the week must have ended long enough ago, and be empty.
set absurd.fake_now = '2027-01-05 00:00:00+00';
select * from absurd.list_detach_candidates();
select absurd.set_queue_policy('old', '{"detach_mode": "empty"}');
select absurd.set_queue_policy('it''s "old"', '{"detach_mode": "empty", "detach_min_age": "28 days"}');
select * from absurd.list_detach_candidates('old');
set absurd.fake_now = '2027-01-06 00:00:00+00';
select * from absurd.list_detach_candidates();
select * from absurd.list_detach_candidates('flat');
-- Only a detached week is dropped.
select absurd.drop_detached_partition('w_old_648');
alter table absurd.w_old detach partition absurd.w_old_648;
select * from absurd.list_detach_candidates('old');
select absurd.drop_detached_partition('w_old_648');
select absurd.drop_detached_partition('w_old_648');
select absurd.drop_detached_partition('t_flat_601');
select pg_temp.try('select absurd.drop_detached_partition(' || arguments || ')')
  from (values ('null'), ($$' '$$), ($$'t_flat'$$), ($$'queues'$$), ($$'t_old'$$), ($$'i_old'$$)) v (arguments);
-- A queue's own table is no week, whatever it is called.
select absurd.create_queue('flat_601');
select pg_temp.try($$select absurd.drop_detached_partition('t_flat_601')$$);
select count(*) from absurd.t_flat_601;
-- The stand-in: schedule() does not replace.
create schema cron;
create table cron.job (jobid bigserial primary key, schedule text not null, command text not null, jobname name);
create function cron.schedule(text, text, text) returns bigint language sql as
    'insert into cron.job (jobname, schedule, command) values ($1, $2, $3) returning jobid';
create function cron.unschedule(bigint) returns boolean language sql as
    'delete from cron.job where jobid = $1 returning true';
select job_name, job_id is not null as scheduled from absurd.enable_cron();
select job_name from absurd.enable_cron('it''s "old"', '1 * * * *', p_detach_schedule => '3 * * * *');
-- Again: replaced, not doubled.
select job_name from absurd.enable_cron('it''s "old"', '2 * * * *');
select jobname, schedule, command from cron.job order by jobname collate "C";
-- One pipeline a table, for its oldest candidate.
select job_name, queue_name, partition_table, job_kind from absurd.schedule_detach_jobs('it''s "old"');
select job_name from absurd.schedule_detach_jobs('it''s "old"');
select job_name, queue_name, partition_table, job_kind from absurd.schedule_detach_jobs() where queue_name = 'old';
select schedule, command from cron.job where jobname ~ '_run_' order by command;
-- Carried out: each command detaches or drops, and the last one removes both jobs.
create function pg_temp.run_jobs() returns setof text language plpgsql as $$
declare
    job record;
begin
    for job in select jobname, command from cron.job where jobname ~ '_run_' order by jobname loop
        execute job.command;
    end loop;
    return query select jobname::text from cron.job where jobname ~ '_run_' order by 1;
end $$;
select * from pg_temp.run_jobs();
select count(*) from pg_class where relname in ('t_it''s "old"_648', 'c_old_648');
-- The next one in turn.
select queue_name, partition_table, job_kind from absurd.schedule_detach_jobs();
-- A parent without default partition is detached from concurrently.
select absurd.set_queue_policy('old', '{"default_partition": "disabled"}');
set absurd.fake_now = '2027-02-24 00:00:00+00';
select job_name is not null, partition_table, job_kind from absurd.schedule_detach_jobs('old');
select command from cron.job where command ~* 'concurrently' order by 1;
-- Removed by scope; a dropped queue takes its jobs along, in whatever scope.
select job_name from absurd.disable_cron('it''s "old"');
select absurd.drop_queue('old');
select jobname from cron.job order by 1;
select count(*) from absurd.disable_cron();
select count(*) from cron.job;
-- Bad input changes nothing.
select pg_temp.try('select * from absurd.' || call)
  from (values ('enable_cron(''nobody'')'), ('enable_cron(''flat'', null)'), ('schedule_detach_jobs(''nobody'')'), ('disable_cron(''nobody'')')) v (call);
select count(*) from cron.job;
select absurd.drop_queue('it''s "old"'), absurd.drop_queue('flat'), absurd.drop_queue('flat_601');
\set VERBOSITY terse
drop schema cron cascade;
