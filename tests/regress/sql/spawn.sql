-- spawn_task: what it stores, options, idempotency.
\getenv tests PG_ABS_SRCDIR
\set include :tests '/include/try.sql'
\i :include
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set intervalstyle = 'postgres';
set absurd.fake_now = '2026-01-01 00:00:00+00';
select absurd.create_queue('spawn');

-- The task and its first run.
select task_id as task, run_id as run, attempt, created from absurd.spawn_task('spawn', 'plain', '{"a": [1, "ü", null]}') \gset
select :attempt as attempt, :'created' as created;
select task_name, params, headers, retry_strategy, max_attempts, cancellation, enqueue_at, first_started_at, state, attempts,
       last_attempt_run = :'run' as points_to_run, completed_payload, cancelled_at, tenant_id, idempotency_key, workflow_run_id
  from absurd.t_spawn where task_id = :'task';
select task_id = :'task' as of_task, attempt, state, claimed_by, claim_expires_at, available_at, wake_event, event_payload,
       started_at, completed_at, failed_at, result, failure_reason, created_at, last_heartbeat, tenant_id
  from absurd.r_spawn where run_id = :'run';
-- Ids are of version 7 and carry the engine's time.
select substr(:'task', 15, 1) as task_version, substr(:'run', 15, 1) as run_version,
       absurd.uuidv7_timestamp(:'task') as task_time, absurd.uuidv7_timestamp(:'run') as run_time, :'task' <> :'run' as differ;

-- Params may be any JSON; NULL is JSON null.
select created from absurd.spawn_task('spawn', 'p null', null);
select created from absurd.spawn_task('spawn', 'p text', '"text"');
select created from absurd.spawn_task('spawn', 'p number', '12345678901234567890.5');
select task_name, jsonb_typeof(params), params from absurd.t_spawn where task_name like 'p %' order by 1;

-- All options at once, and named arguments.
select task_id as task, run_id as run from absurd.spawn_task(p_queue_name => 'spawn', p_task_name => 'full', p_params => '[]', p_options => '{"headers": {"h": 1}, "retry_strategy": {"kind": "fixed", "base_seconds": 5},
    "max_attempts": 3, "cancellation": {"max_delay": 60, "max_duration": 120}, "idempotency_key": "full", "tenant_id": "acme", "delay_seconds": 90}') \gset
select headers, retry_strategy, max_attempts, cancellation, idempotency_key, t.state, enqueue_at, t.tenant_id, r.tenant_id, r.state, available_at
  from absurd.t_spawn t join absurd.r_spawn r using (task_id) where task_id = :'task';
-- A delayed start: not ready before its time.
select run_id as run from absurd.spawn_task('spawn', 'at', '{}', '{"available_at": "2026-01-01T04:00:00+02:00"}') \gset
select state, available_at from absurd.r_spawn where run_id = :'run';
select count(*) from absurd.claim_task('spawn', 'w', 30, 100) where task_name in ('at', 'full');

-- Options that are null or unknown are left alone. What is unknown is named, once.
select attempt, created from absurd.spawn_task('spawn', 'nulls', '{}', '{"headers": null, "retry_strategy": null, "max_attempts": null, "cancellation": null, "idempotency_key": null, "workflow_run_id": null, "available_at": null, "delay_seconds": null, "tenant_id": null, "priority": null, "unknown": true}');
select attempt, created from absurd.spawn_task('spawn', 'nulls', '{}', null);

-- JSON null is no options.
select attempt, created from absurd.spawn_task('spawn', 'json null', '{}', 'null');

-- Malformed options are refused by name, and spawn nothing.
select count(*) as tasks from absurd.t_spawn \gset
create temp table bad (id serial, options jsonb);
insert into bad (options) values
    ('[]'), ('"x"'), ('true'), ('1'), ('{"headers": []}'), ('{"headers": "x"}'),
    ('{"max_attempts": 0}'), ('{"max_attempts": -1}'), ('{"max_attempts": 1.5}'), ('{"max_attempts": "3"}'), ('{"max_attempts": 3000000000}'), ('{"max_attempts": true}'),
    ('{"cancellation": 5}'), ('{"cancellation": []}'), ('{"cancellation": {"max_delay": 1.5}}'), ('{"cancellation": {"max_delay": "5"}}'), ('{"cancellation": {"max_delay": -1}}'),
    ('{"cancellation": {"max_duration": 1.5}}'), ('{"cancellation": {"max_duration": "5"}}'), ('{"cancellation": {"max_duration": -1}}'), ('{"cancellation": {"max_duration": 1e300}}'),
    ('{"idempotency_key": 5}'), ('{"idempotency_key": ""}'), ('{"idempotency_key": " "}'), ('{"tenant_id": {}}'),
    ('{"delay_seconds": -1}'), ('{"delay_seconds": "5"}'), ('{"available_at": 5}'), ('{"available_at": "soon"}'), ('{"available_at": "2026-01-02", "delay_seconds": 5}'),
    ('{"workflow_run_id": 5}'), ('{"workflow_run_id": "not a uuid"}'), ('{"workflow_run_id": "00000000-0000-7000-8000-000000000000"}'),
    ('{"retry_strategy": []}'), ('{"retry_strategy": "fixed"}'), ('{"retry_strategy": {"kind": "bogus"}}'), ('{"retry_strategy": {"kind": 5}}'),
    ('{"retry_strategy": {"kind": "fixed", "base_seconds": -1}}'), ('{"retry_strategy": {"kind": "fixed", "base_seconds": 86401}}'), ('{"retry_strategy": {"kind": "fixed", "base_seconds": "5"}}'),
    ('{"retry_strategy": {"kind": "exponential", "factor": -1}}'), ('{"retry_strategy": {"kind": "exponential", "factor": 1e999}}'), ('{"retry_strategy": {"kind": "exponential", "factor": "NaN"}}'), ('{"retry_strategy": {"kind": "exponential", "max_seconds": 86401}}');
select id, left(options::text, 70) as options, left(pg_temp.try(format('select * from absurd.spawn_task(''spawn'', ''bad'', ''{}'', %L)', options)), 120) as answer from bad order by id;
select pg_temp.try($$select * from absurd.spawn_task('spawn', '', '{}')$$);
select pg_temp.try($$select * from absurd.spawn_task('spawn', E' \n', '{}')$$);
select count(*) = :tasks as none_spawned, count(*) filter (where task_name in ('bad', '')) as bad from absurd.t_spawn;
select count(*) as orphans from absurd.r_spawn where task_id not in (select task_id from absurd.t_spawn);
-- Numbers that JSON holds and no float does: the option is named, and what is not read does not matter.
select option, pg_temp.try(format('select attempt from absurd.spawn_task(''spawn'', ''bad'', ''{}'', %L)', format('{"%s": 1e400}', option))) ~ ('^22023 .*' || option) as named
  from unnest('{max_attempts,idempotency_key,workflow_run_id}'::text[]) option;
select pg_temp.try($$select attempt from absurd.spawn_task('spawn', 'edge', '{"n": 1e400}', '{"unknown": 1e400, "headers": {"n": 1e400}}')$$);
select pg_temp.try($$select attempt from absurd.spawn_task('spawn', 'edge', '{"workflow_run_id": 1e400}', '{"headers": {"workflow_run_id": 1e400}}')$$);
-- Values at the edges are accepted.
select pg_temp.try(format('select attempt, created from absurd.spawn_task(''spawn'', ''edge'', ''{}'', %L)', options))
  from (values ('{"max_attempts": 1}'), ('{"max_attempts": 2147483647}'), ('{"cancellation": {}}'), ('{"cancellation": {"max_delay": 0, "max_duration": null}}'),
               ('{"retry_strategy": {}}'), ('{"retry_strategy": {"kind": "fixed", "base_seconds": 0}}'), ('{"retry_strategy": {"kind": "fixed", "base_seconds": 86400}}'),
               ('{"retry_strategy": {"kind": "exponential", "base_seconds": 1, "factor": 0, "max_seconds": 0}}'), ('{"delay_seconds": 0}')) v (options);

-- What nobody reads is named with what was probably meant, wherever it stands; once a session.
select attempt from absurd.spawn_task('spawn', 'misspelt', '{}', '{"maxAttempts": 3, "idempotencyKey": "k", "retry_strategy": {"kind": "fixed", "baseSeconds": 1}, "cancellation": {"max_delays": 5}, "headers": {"max_attempt": 1}}');
select attempt from absurd.spawn_task('spawn', 'misspelt', '{}', '{"maxAttempts": 3}');
select attempt from absurd.spawn_tasks('spawn', '[{"task_name": "misspelt", "options": {"prio": 5}}, {"task_name": "misspelt", "options": {"prio": 5, "delay": 1}}]');
select pg_temp.try($$select absurd.retry_task('spawn', gen_random_uuid(), '{"spawnNew": true}')$$);
select pg_temp.try($$select absurd.start_workflow('nowhere', p_options => '{"createdby": "me"}')$$);
-- A key is no longer than an index can hold, also when it does not compress.
create temp table long as select string_agg(md5(g::text), '' order by g) as text from generate_series(1, 80) g;
select pg_temp.try(format('select created from absurd.spawn_task(''spawn'', ''long'', ''{}'', %L)', jsonb_build_object('idempotency_key', left(text, length)))) from long, unnest('{2000,2001}'::int[]) length;
select pg_temp.try(format('select created from absurd.spawn_tasks(''spawn'', %L)', jsonb_build_array(jsonb_build_object('task_name', 'a'), jsonb_build_object('task_name', 'b', 'options', jsonb_build_object('idempotency_key', text))))) from long;
select pg_temp.try(format('select absurd.start_workflow(''nowhere'', p_options => %L)', jsonb_build_object('idempotency_key', text))) from long;

-- The same key: the same task, nothing new stored, whatever else differs.
select task_id as task, run_id as run, created from absurd.spawn_task('spawn', 'once', '{"n": 1}', '{"idempotency_key": "k"}') \gset
select :'created' as created;
select task_id = :'task' as same_task, run_id = :'run' as same_run, attempt, created from absurd.spawn_task('spawn', 'other', '{"n": 2}', '{"idempotency_key": "k", "max_attempts": 9}');
select task_name, params, max_attempts from absurd.t_spawn where idempotency_key = 'k';
select count(*) from absurd.r_spawn where task_id = :'task';
-- Twice in one statement.
select count(distinct task_id) as tasks, count(*) filter (where created) as created
  from generate_series(1, 5) g, absurd.spawn_task('spawn', 'loop', to_jsonb(g), '{"idempotency_key": "loop"}');
-- After attempts and the end, the same ids: those of the latest run.
select claimed.run_id = :'run' as claimed from (select run_id from absurd.claim_task('spawn', 'w', 30, 100)) claimed where run_id = :'run';
select absurd.fail_run('spawn', :'run', '"again"');
select task_id = :'task' as same_task, run_id = (select last_attempt_run from absurd.t_spawn where task_id = :'task') as latest_run, attempt, created
  from absurd.spawn_task('spawn', 'once', '{}', '{"idempotency_key": "k"}');
-- Keys are per queue, and differ by case and blanks.
select absurd.create_queue('spawn two');
select created from absurd.spawn_task('spawn two', 'once', '{}', '{"idempotency_key": "k"}');
select created from absurd.spawn_task('spawn', 'once', '{}', '{"idempotency_key": "K"}');
select created from absurd.spawn_task('spawn', 'once', '{}', '{"idempotency_key": "k "}');
select absurd.drop_queue('spawn'), absurd.drop_queue('spawn two');
