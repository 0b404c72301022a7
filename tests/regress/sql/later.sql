-- Parts of the contract that come later exist and say so.
\pset format unaligned
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
select absurd.create_queue('later');
select call, pg_temp.try('select * from absurd.' || call)
  from (values ('ensure_partitions()'), ('ensure_partitions(null)'), ('ensure_partitions(''later'')'), ('list_detach_candidates()'), ('list_detach_candidates(''later'')'),
               ('drop_detached_partition(''t_later_601'')'), ('drop_detached_partition(''t_later_601'', ''job'')'), ('schedule_detach_jobs()'), ('schedule_detach_jobs(''later'')'),
               ('enable_cron()'), ('enable_cron(''later'')'), ('enable_cron(''later'', ''* * * * *'', ''* * * * *'', ''* * * * *'')'), ('disable_cron()'), ('disable_cron(''later'')'),
               ('create_queue(''later new'', ''partitioned'')'), ('spawn_task(''later'', ''n'', ''{}'', ''{"priority": 1}'')')) v (call);
-- With what to do instead.
select absurd.create_queue('later new', 'partitioned');
select absurd.ensure_partitions();
select absurd.enable_cron();
-- Nothing came of it.
select queue_name, storage_mode from absurd.queues where queue_name like 'later%';
select count(*) from pg_class where relnamespace = 'absurd'::regnamespace and relname like '%later new%';
select count(*) from absurd.t_later;
select absurd.drop_queue('later');
