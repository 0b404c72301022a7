-- Queues: any name, once; collisions; dropping; policies.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set intervalstyle = 'postgres';
set absurd.fake_now = '2026-01-01 00:00:00+00';

-- Names: quoted everywhere, measured in bytes.
create temp table names (id int, name text);
insert into names values
    (1, 'queues plain'), (2, 'queues "quoted"'), (3, 'queues ''apostrophe'''), (4, 'Queues UPPER'),
    (5, '🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀'), (6, rpad('queues 57 ', 57, 'x')), (7, 'queues"; drop table absurd.queues; --'),
    (8, 'queues {t} $1 %I %s'), (9, 'queues\backslash'), (10, E'queues\nnewline'), (11, 'queues.dot');
select id, octet_length(name), absurd.validate_queue_name(name) = name as valid, pg_temp.try(format('select absurd.create_queue(%L)', name))
  from names order by id;
-- Each works from end to end.
select id, (select count(*) from absurd.spawn_task(name, 'n', '{}')) as spawned,
       (select count(*) from absurd.claim_task(name, 'w')) as claimed,
       pg_temp.try(format('select absurd.emit_event(%L, ''e'')', name)) as emitted
  from names order by id;
select count(*) = 11 as listed from absurd.list_queues() join names on name = queue_name;
select count(*) = 55 as tables from pg_class c, names
 where relnamespace = 'absurd'::regnamespace and relkind = 'r' and relname in ('t_' || name, 'r_' || name, 'c_' || name, 'e_' || name, 'w_' || name);
select id, pg_temp.try(format('select absurd.drop_queue(%L)', name)) from names order by id;
select count(*) from pg_class c, names where relnamespace = 'absurd'::regnamespace and position('_' || name in relname) > 0;

-- Names that are refused.
select pg_temp.try($$select absurd.create_queue('')$$);
select pg_temp.try($$select absurd.create_queue(repeat('x', 58))$$);
select pg_temp.try($$select absurd.create_queue(repeat('🦀', 15))$$);
select pg_temp.try($$select absurd.validate_queue_name(repeat('x', 58))$$);
select pg_temp.try($$select absurd.validate_queue_name('')$$);
-- White space is a name like others.
select absurd.create_queue(E' \t\n'), absurd.create_queue('   ');
select quote_literal(queue_name), (select count(*) from absurd.spawn_task(queue_name, 'n', '{}')) as spawned, (select count(*) from absurd.claim_task(queue_name, 'w')) as claimed
  from absurd.list_queues() where btrim(queue_name, E' \t\n') = '' order by 1;
select absurd.drop_queue(E' \t\n'), absurd.drop_queue('   ');

-- Again: no effect. Another mode: refused. Modes are known words.
select absurd.create_queue('queues a');
select created_at from absurd.queues where queue_name = 'queues a';
set absurd.fake_now = '2026-02-01 00:00:00+00';
select absurd.create_queue('queues a');
select absurd.create_queue('queues a', 'unpartitioned');
select created_at from absurd.queues where queue_name = 'queues a';
set absurd.fake_now = '2026-01-01 00:00:00+00';
select pg_temp.try($$select absurd.create_queue('queues a', 'partitioned')$$);
select pg_temp.try($$select absurd.create_queue('queues a', 'sideways')$$);
select pg_temp.try($$select absurd.create_queue('queues b', 'UNPARTITIONED')$$);
select pg_temp.try($$select absurd.create_queue('queues b', '')$$);

-- Collisions in both directions: an index of one queue has the name of the other's table.
select pg_temp.try($$select absurd.create_queue('queues a_ti')$$);
select pg_temp.try($$select absurd.create_queue('queues a_cei')$$);
select pg_temp.try($$select absurd.create_queue('queues a_aei')$$);
select pg_temp.try($$select absurd.create_queue('queues a_eai')$$);
select pg_temp.try($$select absurd.create_queue('queues a_eni')$$);
select pg_temp.try($$select absurd.create_queue('queues a_pkey')$$);
select pg_temp.try($$select absurd.create_queue('queues a_ik')$$);
select absurd.create_queue('queues c_ti');
select pg_temp.try($$select absurd.create_queue('queues c')$$);
select absurd.create_queue('queues d_eai');
select pg_temp.try($$select absurd.create_queue('queues d')$$);
-- A user's relation in the way, of another kind.
create view absurd."t_queues v" as select 1 as one;
select pg_temp.try($$select absurd.create_queue('queues v')$$);
drop view absurd."t_queues v";
\set VERBOSITY default
select absurd.create_queue('queues a_ti');
-- A refused one leaves nothing.
select queue_name from absurd.list_queues() where queue_name like 'queues %' order by queue_name collate "C";
select relname from pg_class where relnamespace = 'absurd'::regnamespace and relname like '%queues c%' and relname not like '%queues c_ti%';

-- Names that only differ in case, or extend each other, are different queues.
select absurd.create_queue('queues A');
select absurd.create_queue('queues a_b');
select task_id is not null as spawned from absurd.spawn_task('queues A', 'n', '{}');
select count(*) from absurd."t_queues a";
select count(*) from absurd."t_queues A";

-- Dropping: unknown is no error; a dependent view stays, and is named.
select absurd.drop_queue('queues nowhere');
select absurd.drop_queue(repeat('x', 99));
create view public.queues_report as select task_name from absurd."t_queues a";
\set SHOW_CONTEXT never
select absurd.drop_queue('queues a');
\echo :SQLSTATE
select count(*) as still_there from absurd.list_queues() where queue_name = 'queues a';
select count(*) from public.queues_report;
drop view public.queues_report;
select absurd.drop_queue('queues a');
select count(*) as still_there from absurd.list_queues() where queue_name = 'queues a';
select count(*) as tables from pg_class where relnamespace = 'absurd'::regnamespace and relname in ('t_queues a', 'r_queues a', 'c_queues a', 'e_queues a', 'w_queues a');
-- The neighbour is untouched.
select count(*) from absurd."t_queues a_b";

-- Registry rows of another making: drop_queue takes any name.
insert into absurd.queues (queue_name) values (repeat('q', 70)), ('');
select absurd.drop_queue(repeat('q', 70)), absurd.drop_queue('');
select count(*) from absurd.queues where queue_name in (repeat('q', 70), '');

-- ensure_queue_tables makes what is missing, keeps what is there, and knows only registered queues.
select absurd.create_queue('queues e');
select task_id is not null as spawned from absurd.spawn_task('queues e', 'n', '{}');
drop table absurd."w_queues e";
drop index absurd."r_queues e_ti";
alter table absurd."t_queues e" drop column workflow_run_id;
select absurd.ensure_queue_tables('queues e');
select count(*) as waits from absurd."w_queues e";
select count(*) as index_again from pg_indexes where schemaname = 'absurd' and indexname = 'r_queues e_ti';
select count(*) as tasks, count(workflow_run_id) as linked from absurd."t_queues e";
select absurd.ensure_queue_tables('queues e');
select pg_temp.try($$select absurd.ensure_queue_tables('queues nowhere')$$);
select pg_temp.try($$select absurd.ensure_queue_tables('')$$);

-- Policies.
select * from absurd.get_queue_policy('queues e');
select count(*) from absurd.get_queue_policy('queues nowhere');
select absurd.set_queue_policy('queues e', '{"partition_lookahead": "14 days", "partition_lookback": "2 days", "cleanup_ttl": "7 days", "cleanup_limit": 5, "detach_mode": "empty", "detach_min_age": "01:00"}');
select * from absurd.get_queue_policy('queues e');
select absurd.set_queue_policy('queues e', '{"cleanup_limit": 6}');
select absurd.set_queue_policy('queues e', '{}');
select cleanup_ttl, cleanup_limit from absurd.get_queue_policy('queues e');
-- Refused whole, naming the key.
create temp table policy (id serial, policy jsonb);
insert into policy (policy) values
    ('{"cleanup_limit": 9, "bogus": 1}'), ('{"storage_mode": "partitioned"}'), ('{"cleanup_limit": 0}'), ('{"cleanup_limit": 1.5}'),
    ('{"cleanup_limit": "9"}'), ('{"cleanup_limit": null}'), ('{"cleanup_limit": 3000000000}'), ('{"cleanup_limit": 9, "cleanup_ttl": "soon"}'),
    ('{"cleanup_ttl": "-1 day"}'), ('{"cleanup_ttl": 7}'), ('{"cleanup_ttl": null}'), ('{"partition_lookahead": "-1 s"}'),
    ('{"partition_lookback": []}'), ('{"detach_min_age": "-1 week"}'), ('{"detach_mode": "all"}'), ('{"detach_mode": true}'),
    ('{"default_partition": "disabled"}'), ('{"default_partition": "perhaps"}'), ('[]'), ('"x"'), ('null'), ('7');
select id, policy, pg_temp.try(format('select absurd.set_queue_policy(''queues e'', %L)', policy)) from policy order by id;
select pg_temp.try($$select absurd.set_queue_policy('queues e', '{"cleanup_limit": 1e400}')$$) ~ '^22023 .*cleanup_limit' as named;
select cleanup_ttl, cleanup_limit from absurd.get_queue_policy('queues e');
select pg_temp.try($$select absurd.set_queue_policy('queues nowhere', '{"cleanup_limit": 6}')$$);

-- list_queues is sorted, and holds what is registered.
select array_agg(queue_name) = (select array_agg(queue_name order by queue_name) from absurd.queues) as sorted from absurd.list_queues();
select count(absurd.drop_queue(queue_name)) > 0 as dropped from absurd.list_queues() where queue_name ilike 'queues %';
