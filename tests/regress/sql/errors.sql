-- Errors: codes that clients catch, messages with their words, details, hints, and errors of others.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set absurd.fake_now = '2026-01-01 00:00:00+00';
set intervalstyle = 'postgres';
select absurd.create_queue('errors');
select task_id as task, run_id as run from absurd.spawn_task('errors', 'n', '{}') \gset
select attempt from absurd.claim_task('errors', 'w');

-- Caught by code in plpgsql.
create function pg_temp.catch(statement text) returns text language plpgsql as $$
begin
    execute statement;
    return 'nothing';
exception
    when sqlstate 'AB001' then return 'cancelled';
    when sqlstate 'AB002' then return 'failed';
    when sqlstate 'AB003' then return 'strategy';
    when undefined_table then return 'undefined table';
    when sqlstate 'P0002' then return 'no such row';
    when object_not_in_prerequisite_state then return 'state';
    when invalid_parameter_value then return 'value';
    when null_value_not_allowed then return 'null';
    when feature_not_supported then return 'not yet';
    when duplicate_table then return 'name taken';
    when duplicate_object then return 'exists';
    when name_too_long then return 'too long';
end $$;
select absurd.create_queue('errors cancelled');
select task_id as cancelled, run_id as cancelled_run from absurd.spawn_task('errors', 'n', '{}') \gset
select attempt from absurd.claim_task('errors', 'w');
select absurd.cancel_task('errors', :'cancelled');
select task_id as failed, run_id as failed_run from absurd.spawn_task('errors', 'n', '{}', '{"max_attempts": 1}') \gset
select attempt from absurd.claim_task('errors', 'w');
select absurd.fail_run('errors', :'failed_run', '1');
-- The six verbs say AB001 on a cancelled task, AB002 on a failed run.
create temp table six (id serial, verb text);
insert into six (verb) values ('absurd.complete_run(''errors'', %2$L)'), ('absurd.fail_run(''errors'', %2$L, ''1'')'), ('absurd.schedule_run(''errors'', %2$L, now())'), ('absurd.extend_claim(''errors'', %2$L, 5)'),
    ('absurd.set_task_checkpoint_state(''errors'', %1$L, ''s'', ''1'', %2$L)'), ('absurd.await_event(''errors'', %1$L, %2$L, ''s'', ''e'')');
select substring(verb, '\.(\w+)') as verb, pg_temp.catch(format('select ' || verb, :'cancelled', :'cancelled_run')) as on_cancelled, pg_temp.catch(format('select ' || verb, :'failed', :'failed_run')) as on_failed,
       pg_temp.catch(format('select ' || verb, :'task', '00000000-0000-7000-8000-000000000000')) as on_unknown from six order by id;
select pg_temp.catch($$select absurd.spawn_task('errors', 'n', '{}', '{"retry_strategy": {"kind": "x"}}')$$), pg_temp.catch($$select absurd.create_queue('errors_ti')$$),
       pg_temp.catch($$select absurd.create_queue('errors', 'partitioned')$$), pg_temp.catch($$select absurd.create_queue(repeat('x', 58))$$), pg_temp.catch($$select absurd.create_queue(null)$$);
-- And as psql sees them.
\set VERBOSITY sqlstate
select absurd.complete_run('errors', :'cancelled_run');
\echo :SQLSTATE
select absurd.complete_run('errors', :'failed_run');
\echo :SQLSTATE
select absurd.retry_delay_seconds('{"kind": "x"}', 1);
\echo :SQLSTATE
\set VERBOSITY default
select absurd.retry_delay_seconds('{"kind": "x"}', 1);
select absurd.create_queue(repeat('x', 58));
\echo :SQLSTATE
select absurd.claim_task('it''s nowhere', 'w');
\echo :SQLSTATE
select absurd.set_queue_policy('errors', '{"bogus": 1}');
\echo :SQLSTATE

-- Detail and hint, ids masked.
create function pg_temp.full(statement text) returns table (code text, message text, detail text, hint text) language plpgsql as $$
begin
    execute statement;
    code := 'none';
    return next;
exception when others then
    get stacked diagnostics code = returned_sqlstate, message = message_text, detail = pg_exception_detail, hint = pg_exception_hint;
    message := regexp_replace(message, '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}', '<id>', 'g');
    return next;
end $$;
\x on
select * from pg_temp.full(format('select absurd.complete_run(''errors'', %L)', :'cancelled_run'));
select * from pg_temp.full(format('select absurd.complete_run(''errors'', %L)', :'failed_run'));
select * from pg_temp.full(format('select absurd.retry_task(''errors'', %L)', :'task'));
select * from pg_temp.full($$select absurd.create_queue('errors_cei')$$);
select * from pg_temp.full($$select * from absurd.enable_cron('errors')$$);
select * from pg_temp.full($$select absurd.emit_event('errors nowhere', 'e')$$);
select * from pg_temp.full($$select absurd.cleanup_all_queues('errors nowhere')$$);
\x off

-- An unknown queue: 42P01 from every function that needs one, naming the relation or the queue.
create temp table unknown (id serial, call text);
insert into unknown (call) values
    ('spawn_task(Q, ''n'', ''{}'')'), ('spawn_task(Q, ''n'', ''{}'', ''{"idempotency_key": "k"}'')'), ('claim_task(Q, ''w'')'), ('claim_task(Q, ''w'', 30, 5)'), ('complete_run(Q, U)'), ('fail_run(Q, U, ''1'')'), ('schedule_run(Q, U, now())'),
    ('retry_task(Q, U)'), ('retry_task(Q, U, ''{"spawn_new": true}'')'), ('cancel_task(Q, U)'), ('extend_claim(Q, U, 5)'), ('get_task_result(Q, U)'), ('set_task_checkpoint_state(Q, U, ''s'', ''1'', U)'),
    ('get_task_checkpoint_state(Q, U, ''s'')'), ('get_task_checkpoint_states(Q, U, U)'), ('get_checkpoints_for_run(Q, U)'), ('get_run_checkpoint(Q, U, ''s'')'), ('save_checkpoint_for_run(Q, U, ''s'', ''1'')'),
    ('await_event(Q, U, U, ''s'', ''e'')'), ('emit_event(Q, ''e'')'), ('cleanup_tasks(Q, 0)'), ('cleanup_events(Q, 0)'), ('cleanup_all_queues(Q)'), ('ensure_queue_tables(Q)'), ('set_queue_policy(Q, ''{}'')');
select call, pg_temp.try('select * from absurd.' || replace(replace(call, 'Q', '''errors nowhere'''), 'U', '''00000000-0000-7000-8000-000000000000''')) from unknown order by id;
-- Twice in a session, and for names that need quoting.
select pg_temp.try($$select * from absurd.claim_task('errors nowhere', 'w')$$);
select pg_temp.try($$select * from absurd.claim_task('errors "no" ''where''', 'w')$$);
-- A queue whose table somebody dropped.
drop table absurd."e_errors cancelled";
select pg_temp.try($$select absurd.emit_event('errors cancelled', 'e')$$);
select absurd.drop_queue('errors cancelled');

-- Names that end in an index are refused in our words before anything is written, however little they compress.
create temp table long as select string_agg(md5(g::text), '' order by g) as text from generate_series(1, 80) g;
select task_id as long_task, run_id as long_run from absurd.spawn_task('errors', 'long', '{}') \gset
update absurd.r_errors set state = 'running' where run_id = :'long_run';
create temp table takers (place serial, call text);
insert into takers (call) values ('emit_event(Q, N)'), ('emit_events(Q, array[''short'', N])'), ('set_task_checkpoint_state(Q, T, N, ''1'', R)'), ('save_checkpoint_for_run(Q, R, N, ''1'')'),
    ('get_task_checkpoint_state(Q, T, N)'), ('await_event(Q, T, R, N, ''short'')'), ('await_event(Q, T, R, ''step'', N)');
select call, length, pg_temp.try('select count(*) from absurd.' || replace(replace(replace(replace(call, 'N', quote_literal(left(text, length))), 'Q', '''errors'''), 'T,', quote_literal(:'long_task') || ','), 'R', quote_literal(:'long_run')))
  from long, unnest('{2001,2000}'::int[]) length, takers order by length desc, place;
select length(event_name) from absurd.e_errors order by 1;
select length, pg_temp.try(format('select absurd.create_workflow_run(%L, ''1'')', left('a' || text, length))) from long, unnest('{500,501}'::int[]) length;
-- A message shows the beginning of a value, and ends.
create temp table shown as select pg_temp.try(call) as message from long,
  lateral (values (format('select absurd.create_queue(%L)', repeat('🦀', 5000))), (format('select absurd.spawn_task(''errors'', ''n'', ''{}'', %L)', to_jsonb(repeat(text, 9)))),
                  (format('select absurd.spawn_task(''errors'', ''n'', ''{}'', %L)', jsonb_build_object('retry_strategy', text))),
                  (format('select absurd.spawn_tasks(''errors'', %L)', jsonb_build_array(repeat(text, 9)))), (format('select absurd.get_workflow(%L)', text)),
                  (format('select absurd.set_queue_policy(''errors'', %L)', jsonb_build_object(text, 1))),
                  (format('select absurd.register_workflow(%L)', jsonb_build_object('name', text))), (format('select * from absurd.list_workflow_runs(status => array[%L])', text))) c (call);
select octet_length(message) < 600 as short, message ~ '^[0-9A-Z]{5} .*[.]{3}' as cut, left(message, 60) from shown;
-- Settings of ours that do not exist are refused, from PostgreSQL 15 on.
select current_setting('server_version_num')::int < 150000 or pg_temp.try($$set absurd.no_such_setting = 1$$) ~ '^42602' as refused;
select absurd.cancel_task('errors', :'long_task');

-- What is no JSON, no UUID, no number never reaches us.
select pg_temp.try($$select * from absurd.spawn_task('errors', 'n', 'not json')$$);
select pg_temp.try($$select * from absurd.spawn_task('errors', 'n', '{}', '{"a": }')$$);
select pg_temp.try($$select absurd.complete_run('errors', 'not an id')$$);
select pg_temp.try($$select * from absurd.claim_task('errors', 'w', 'soon')$$);
select pg_temp.try($$select absurd.emit_event('errors', 'e', '')$$);
-- Deep nesting, in params and in options.
select pg_temp.try(format($$select attempt from absurd.spawn_task('errors', 'deep', %L)$$, repeat('[', 1000) || repeat(']', 1000)));
select pg_temp.try(format($$select attempt from absurd.spawn_task('errors', 'deep', '{}', '{"headers": {"a": %s}}')$$, repeat('[', 1000) || repeat(']', 1000)));
select pg_temp.try(format($$select attempt from absurd.spawn_task('errors', 'deep', '{}', '{"unknown": %s}')$$, repeat('[', 1000) || repeat(']', 1000)));

-- Errors of others pass through unchanged: a trigger on each table, with a code of its own.
create function public.errors_refuse() returns trigger language plpgsql as $$
begin
    raise exception using errcode = 'P0042', message = 'refused by ' || tg_table_name || ', 100%s', detail = 'The detail.', hint = 'The hint.', column = 'c', constraint = 'k', table = 't', schema = 's', datatype = 'd';
end $$;
create function pg_temp.diagnostics(on_table text, on_what text, statement text) returns table (code text, message text, detail text, hint text, others text) language plpgsql as $$
declare
    a text; b text; c text; d text; e text;
begin
    execute format('create trigger errors_refuse before %s on absurd.%I for each row execute function public.errors_refuse()', on_what, on_table);
    begin
        execute statement;
        code := 'none';
    exception when others then
        get stacked diagnostics code = returned_sqlstate, message = message_text, detail = pg_exception_detail, hint = pg_exception_hint,
            a = column_name, b = constraint_name, c = table_name, d = schema_name, e = pg_datatype_name;
        others := concat_ws(' ', a, b, c, d, e);
    end;
    execute format('drop trigger errors_refuse on absurd.%I', on_table);
    return next;
end $$;
select * from pg_temp.diagnostics('t_errors', 'insert', $$select absurd.spawn_task('errors', 'n', '{}')$$);
select * from pg_temp.diagnostics('r_errors', 'insert', $$select absurd.spawn_task('errors', 'n', '{}', '{"idempotency_key": "k"}')$$);
select task_id is not null as spawned from absurd.spawn_task('errors', 'pending', '{}');
select * from pg_temp.diagnostics('r_errors', 'update', format('select absurd.extend_claim(''errors'', %L, 60)', :'run'));
select * from pg_temp.diagnostics('c_errors', 'insert', format('select absurd.set_task_checkpoint_state(''errors'', %L, ''s'', ''1'', %L)', :'task', :'run'));
select * from pg_temp.diagnostics('w_errors', 'insert', format('select absurd.await_event(''errors'', %L, %L, ''s'', ''e'')', :'task', :'run'));
select * from pg_temp.diagnostics('e_errors', 'insert', $$select absurd.emit_event('errors', 'e')$$);
select * from pg_temp.diagnostics('t_errors', 'update', format('select absurd.complete_run(''errors'', %L)', :'run'));
select * from pg_temp.diagnostics('t_errors', 'update', format('select absurd.cancel_task(''errors'', %L)', :'task'));
select * from pg_temp.diagnostics('t_errors', 'update', format('select absurd.retry_task(''errors'', %L)', :'failed'));
select * from pg_temp.diagnostics('t_errors', 'delete', $$set local absurd.fake_now = '2030-01-01 00:00:00+00'; select absurd.cleanup_tasks('errors', 0)$$);
select * from pg_temp.diagnostics('queues', 'insert', $$select absurd.create_queue('errors more')$$);
select * from pg_temp.diagnostics('workflow_run', 'insert', $$select absurd.create_workflow_run('a', '1')$$);
-- Also those that look like ours: a table that a trigger misses is not the queue's.
create or replace function public.errors_refuse() returns trigger language plpgsql as $$
begin
    perform 1 from absurd.t_errors_archive;
    return new;
end $$;
select code, message from pg_temp.diagnostics('t_errors', 'insert', $$select absurd.spawn_task('errors', 'n', '{}')$$);
create or replace function public.errors_refuse() returns trigger language plpgsql as $$
begin
    raise undefined_table using message = 'absurd.t_errors is not for you', detail = 'The detail.', hint = 'The hint.';
end $$;
select code, message, detail, hint from pg_temp.diagnostics('t_errors', 'insert', $$select absurd.spawn_task('errors', 'n', '{}')$$);
create or replace function public.errors_refuse() returns trigger language plpgsql as $$
begin
    raise sqlstate 'AB001' using message = 'not ours';
end $$;
select code, message from pg_temp.diagnostics('t_errors', 'insert', $$select absurd.spawn_task('errors', 'n', '{}')$$);
-- A user's own constraint is named.
alter table absurd.t_errors add constraint errors_own_rule check (task_name <> 'forbidden');
select pg_temp.try($$select absurd.spawn_task('errors', 'forbidden', '{}')$$);
-- The session goes on after all that; nothing was left behind.
select state from absurd.r_errors where run_id = :'run';
select absurd.complete_run('errors', :'run', '"fine"');
select state, result from absurd.get_task_result('errors', :'task');
select absurd.drop_queue('errors');
drop function public.errors_refuse();
