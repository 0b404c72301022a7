-- What CREATE EXTENSION absurd makes: functions with their exact signatures, comments everywhere,
-- and the columns of a queue's tables in their order.

-- The functions of the contract and those that execute workflow documents: name, arguments with
-- their defaults, result.
create temp table contract (name text, arguments text, result text);
insert into contract values
    ('add_workflow_items', 'workflow_run_id uuid, p_path text, p_items jsonb', 'void'),
    ('advance_timers', 'p_queue_name text DEFAULT NULL::text, p_limit integer DEFAULT 1000', 'integer'),
    ('await_event', 'p_queue_name text, p_task_id uuid, p_run_id uuid, p_step_name text, p_event_name text, p_timeout integer DEFAULT NULL::integer', 'TABLE(should_suspend boolean, payload jsonb)'),
    ('cancel_task', 'p_queue_name text, p_task_id uuid', 'boolean'),
    ('cancel_workflow_run', 'workflow_run_id uuid, reason text DEFAULT NULL::text', 'integer'),
    ('claim_task', 'p_queue_name text, p_worker_id text, p_claim_timeout integer DEFAULT 30, p_qty integer DEFAULT 1', 'TABLE(run_id uuid, task_id uuid, attempt integer, task_name text, params jsonb, retry_strategy jsonb, max_attempts integer, headers jsonb, wake_event text, event_payload jsonb)'),
    ('cleanup_all_queues', 'p_queue_name text DEFAULT NULL::text', 'TABLE(queue_name text, tasks_deleted integer, events_deleted integer)'),
    ('cleanup_events', 'p_queue_name text, p_ttl_seconds integer, p_limit integer DEFAULT 1000', 'integer'),
    ('cleanup_tasks', 'p_queue_name text, p_ttl_seconds integer, p_limit integer DEFAULT 1000', 'integer'),
    ('complete_run', 'p_queue_name text, p_run_id uuid, p_state jsonb DEFAULT NULL::jsonb', 'void'),
    ('create_queue', 'p_queue_name text', 'void'),
    ('create_queue', 'p_queue_name text, p_storage_mode text', 'void'),
    ('create_workflow_run', 'workflow_name text, workflow_version text, inputs jsonb DEFAULT NULL::jsonb, absurd_run_id uuid DEFAULT NULL::uuid, created_by text DEFAULT NULL::text, tags jsonb DEFAULT NULL::jsonb, workflow_hash text DEFAULT NULL::text, queue_name text DEFAULT NULL::text', 'uuid'),
    ('current_time', '', 'timestamp with time zone'),
    ('disable_cron', 'p_queue_name text DEFAULT NULL::text', 'TABLE(job_name text, job_id bigint)'),
    ('drop_detached_partition', 'p_partition_table text, p_unschedule_job_name text DEFAULT NULL::text', 'boolean'),
    ('drop_queue', 'p_queue_name text', 'void'),
    ('emit_event', 'p_queue_name text, p_event_name text, p_payload jsonb DEFAULT NULL::jsonb', 'void'),
    ('enable_cron', 'p_queue_name text DEFAULT NULL::text, p_partition_schedule text DEFAULT ''5 * * * *''::text, p_cleanup_schedule text DEFAULT ''17 * * * *''::text, p_detach_schedule text DEFAULT ''29 * * * *''::text', 'TABLE(job_name text, job_id bigint)'),
    ('ensure_partitions', 'p_queue_name text DEFAULT NULL::text', 'void'),
    ('ensure_queue_tables', 'p_queue_name text', 'void'),
    ('extend_claim', 'p_queue_name text, p_run_id uuid, p_extend_by integer', 'void'),
    ('retry_workflow_run', 'workflow_run_id uuid, p_from_step text DEFAULT NULL::text', 'void'),
    ('pause_workflow_run', 'workflow_run_id uuid', 'void'),
    ('resume_workflow_run', 'workflow_run_id uuid', 'void'),
    ('skip_step', 'workflow_run_id uuid, p_path text, p_result jsonb DEFAULT NULL::jsonb', 'void'),
    ('fail_step', 'workflow_run_id uuid, p_path text, p_reason text DEFAULT NULL::text', 'void'),
    ('fail_run', 'p_queue_name text, p_run_id uuid, p_reason jsonb, p_retry_at timestamp with time zone DEFAULT NULL::timestamp with time zone', 'void'),
    ('get_checkpoints_for_run', 'p_queue_name text, p_run_id uuid', 'TABLE(checkpoint_name text, state jsonb, status text, owner_run_id uuid, updated_at timestamp with time zone)'),
    ('get_queue_policy', 'p_queue_name text', 'TABLE(queue_name text, storage_mode text, default_partition text, partition_lookahead interval, partition_lookback interval, cleanup_ttl interval, cleanup_limit integer, detach_mode text, detach_min_age interval)'),
    ('get_run_checkpoint', 'p_queue_name text, p_run_id uuid, p_step_name text', 'jsonb'),
    ('get_schema_version', '', 'text'),
    ('get_task_checkpoint_state', 'p_queue_name text, p_task_id uuid, p_step_name text, p_include_pending boolean DEFAULT false', 'TABLE(checkpoint_name text, state jsonb, status text, owner_run_id uuid, updated_at timestamp with time zone)'),
    ('get_task_checkpoint_states', 'p_queue_name text, p_task_id uuid, p_run_id uuid', 'TABLE(checkpoint_name text, state jsonb, status text, owner_run_id uuid, updated_at timestamp with time zone)'),
    ('get_task_result', 'p_queue_name text, p_task_id uuid', 'TABLE(task_id uuid, state text, result jsonb, failure_reason jsonb)'),
    ('canonical_document', 'definition jsonb', 'text'),
    ('get_workflow', 'name text, version text DEFAULT NULL::text', 'TABLE(workflow_name text, workflow_version text, workflow_hash text, queue_name text, document jsonb, is_latest boolean, schedule text, is_paused boolean, next_trigger timestamp with time zone, registered_at timestamp with time zone, registered_by text)'),
    ('get_workflow_run', 'workflow_run_id uuid', 'absurd.workflow_run'),
    ('list_detach_candidates', 'p_queue_name text DEFAULT NULL::text', 'TABLE(queue_name text, parent_table text, partition_table text)'),
    ('list_queues', '', 'TABLE(queue_name text)'),
    ('list_workflow_runs', 'workflow_name text DEFAULT NULL::text, workflow_version text DEFAULT NULL::text, status text[] DEFAULT NULL::text[], tags jsonb DEFAULT NULL::jsonb, created_by text DEFAULT NULL::text, created_after timestamp with time zone DEFAULT NULL::timestamp with time zone, created_before timestamp with time zone DEFAULT NULL::timestamp with time zone, page_limit integer DEFAULT 100, after uuid DEFAULT NULL::uuid', 'SETOF absurd.workflow_run'),
    ('list_workflows', '', 'TABLE(workflow_name text, workflow_version text, workflow_hash text, queue_name text, is_latest boolean, schedule text, is_paused boolean, next_trigger timestamp with time zone, registered_at timestamp with time zone, registered_by text)'),
    ('parse_workflow_step_name', 'full_name text', 'TABLE(workflow_name text, workflow_version text, step_name text)'),
    ('partition_week_tag', 'p_ts timestamp with time zone', 'text'),
    ('pause_workflow', 'name text', 'void'),
    ('portable_uuidv7', '', 'uuid'),
    ('register_workflow', 'p_definition jsonb, p_queue_name text DEFAULT NULL::text', 'TABLE(workflow_name text, workflow_version text, workflow_hash text, created boolean)'),
    ('register_workflow_yaml', 'p_definition text, p_queue_name text DEFAULT NULL::text', 'TABLE(workflow_name text, workflow_version text, workflow_hash text, created boolean)'),
    ('resume_workflow', 'name text', 'void'),
    ('retry_delay_seconds', 'p_strategy jsonb, p_attempt integer', 'double precision'),
    ('retry_task', 'p_queue_name text, p_task_id uuid, p_options jsonb DEFAULT ''{}''::jsonb', 'TABLE(task_id uuid, run_id uuid, attempt integer, created boolean)'),
    ('run_schedules', 'p_limit integer DEFAULT 100', 'integer'),
    ('save_checkpoint_for_run', 'p_queue_name text, p_run_id uuid, p_step_name text, p_data jsonb, p_task_id uuid DEFAULT NULL::uuid', 'void'),
    ('schedule_detach_jobs', 'p_queue_name text DEFAULT NULL::text', 'TABLE(job_name text, job_id bigint, queue_name text, partition_table text, job_kind text)'),
    ('schedule_run', 'p_queue_name text, p_run_id uuid, p_wake_at timestamp with time zone', 'void'),
    ('set_queue_policy', 'p_queue_name text, p_policy jsonb', 'void'),
    ('set_task_checkpoint_state', 'p_queue_name text, p_task_id uuid, p_step_name text, p_state jsonb, p_owner_run uuid, p_extend_claim_by integer DEFAULT NULL::integer', 'void'),
    ('spawn_task', 'p_queue_name text, p_task_name text, p_params jsonb, p_options jsonb DEFAULT ''{}''::jsonb', 'TABLE(task_id uuid, run_id uuid, attempt integer, created boolean)'),
    ('start_workflow', 'p_workflow_name text, p_workflow_version text DEFAULT NULL::text, p_inputs jsonb DEFAULT ''{}''::jsonb, p_queue_name text DEFAULT NULL::text, p_options jsonb DEFAULT ''{}''::jsonb', 'uuid'),
    ('update_workflow_run_status', 'workflow_run_id uuid, status text, result jsonb DEFAULT NULL::jsonb, error jsonb DEFAULT NULL::jsonb, started_at timestamp with time zone DEFAULT NULL::timestamp with time zone, completed_at timestamp with time zone DEFAULT NULL::timestamp with time zone, task_count integer DEFAULT NULL::integer', 'void'),
    ('uuidv7_floor', 'p_ts timestamp with time zone', 'uuid'),
    ('uuidv7_timestamp', 'p_id uuid', 'timestamp with time zone'),
    ('validate_queue_name', 'p_queue_name text', 'text'),
    ('version', '', 'text'),
    ('week_bucket_utc', 'p_ts timestamp with time zone', 'timestamp with time zone'),
    ('workflow_diagram', 'name text, version text DEFAULT NULL::text', 'text'),
    ('workflow_run_context', 'workflow_run_id uuid', 'jsonb'),
    ('workflow_run_diagram', 'workflow_run_id uuid', 'text'),
    ('workflow_run_history', 'workflow_run_id uuid', 'TABLE(at timestamp with time zone, from_status text, to_status text, changed_by text)'),
    ('workflow_run_progress', 'workflow_run_id uuid', 'TABLE(total bigint, pending bigint, running bigint, sleeping bigint, completed bigint, failed bigint, cancelled bigint, percent double precision, skipped bigint)'),
    ('workflow_run_steps', 'workflow_run_id uuid', 'TABLE(path text, step_name text, operator text, state text, queue_name text, task_id uuid, attempts integer, started_at timestamp with time zone, finished_at timestamp with time zone, result jsonb, error jsonb, waiting_for jsonb, last_error jsonb)'),
    ('workflow_run_tasks', 'workflow_run_id uuid', 'TABLE(queue_name text, task_id uuid, task_name text, state text, attempts integer, enqueue_at timestamp with time zone, first_started_at timestamp with time zone, finished_at timestamp with time zone, result jsonb, failure_reason jsonb)'),
    ('workflow_step_name', 'workflow_name text, workflow_version text, step_name text', 'text');
select count(*) as functions from contract;

-- Missing or different in the database.
select name, arguments, result from contract
except
select proname::text, pg_get_function_arguments(oid), pg_get_function_result(oid)
  from pg_proc where pronamespace = 'absurd'::regnamespace
 order by 1;

-- In the database, but not in the contract: only the triggers and the verbs for many rows at once.
select proname::text, pg_get_function_arguments(oid), pg_get_function_result(oid)
  from pg_proc where pronamespace = 'absurd'::regnamespace
except
select name, arguments, result from contract
 order by 1;

-- No two functions with the same name and number of arguments.
select proname, pronargs from pg_proc where pronamespace = 'absurd'::regnamespace
 group by 1, 2 having count(*) > 1;

-- Every function answers to NULL itself: none is strict if it takes arguments.
select proname from pg_proc
 where pronamespace = 'absurd'::regnamespace and proisstrict and pronargs > 0;

-- Fixed properties.
select proname, provolatile from pg_proc
 where pronamespace = 'absurd'::regnamespace and proname in ('retry_delay_seconds', 'current_time', 'spawn_task')
 order by 1;
select lanname from pg_proc p join pg_language l on l.oid = prolang
 where pronamespace = 'absurd'::regnamespace and proname = 'get_schema_version';
select absurd.get_schema_version();
select absurd.version() = extversion as version_is_the_extensions from pg_extension where extname = 'absurd';

-- Nothing without a comment.
select proname from pg_proc
 where pronamespace = 'absurd'::regnamespace and obj_description(oid, 'pg_proc') is null;
select relname from pg_class c
  join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
 where relnamespace = 'absurd'::regnamespace and relkind in ('r', 'v', 'S')
   and obj_description(c.oid, 'pg_class') is null;
select relname, attname from pg_class c join pg_attribute a on a.attrelid = c.oid
  join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
 where relnamespace = 'absurd'::regnamespace and relkind = 'r' and attnum > 0 and not attisdropped
   and col_description(c.oid, attnum) is null
 order by 1, 2;
-- Nor with an empty one.
select objoid::regprocedure from pg_description d join pg_proc p on p.oid = d.objoid
 where pronamespace = 'absurd'::regnamespace and description !~ '\S';

-- The extension's own tables, their columns in order, and which are dumped.
select c.relname, string_agg(format('%s %s', attname, format_type(atttypid, atttypmod)), ', ' order by attnum)
  from pg_class c join pg_attribute a on a.attrelid = c.oid
 where c.oid in ('absurd.queues'::regclass, 'absurd.workflow_run'::regclass)
   and attnum > 0 and not attisdropped
 group by 1 order by 1;
select unnest(extconfig)::regclass::text as dumped from pg_extension where extname = 'absurd' order by 1;

-- Columns of a new queue's tables, by position from 0, with their types; what follows is not fixed.
select absurd.create_queue('catalog q');
-- They too have comments, and so has each column.
select c.relname, a.attname
  from pg_class c
  left join pg_attribute a on a.attrelid = c.oid and attnum > 0 and not attisdropped
 where relnamespace = 'absurd'::regnamespace and relkind = 'r' and relname like '_\_catalog q'
   and (obj_description(c.oid, 'pg_class') is null or col_description(c.oid, attnum) is null);
create temp table wanted (prefix text, columns text[]);
insert into wanted values
    ('t', '{task_id uuid,task_name text,params jsonb,headers jsonb,retry_strategy jsonb,max_attempts integer,cancellation jsonb,enqueue_at timestamptz,first_started_at timestamptz,state text,attempts integer,last_attempt_run uuid,completed_payload jsonb,cancelled_at timestamptz,tenant_id text,idempotency_key text}'),
    ('r', '{run_id uuid,task_id uuid,attempt integer,state text,claimed_by text,claim_expires_at timestamptz,available_at timestamptz,wake_event text,event_payload jsonb,started_at timestamptz,completed_at timestamptz,failed_at timestamptz,result jsonb,failure_reason jsonb,created_at timestamptz,last_heartbeat timestamptz,tenant_id text}'),
    ('c', '{task_id uuid,checkpoint_name text,state jsonb,status text,owner_run_id uuid,updated_at timestamptz}'),
    ('e', '{event_name text,payload jsonb,emitted_at timestamptz}'),
    ('w', '{task_id uuid,run_id uuid,step_name text,event_name text,timeout_at timestamptz,created_at timestamptz}');
create temp view actual as
    select left(relname, 1) as prefix, attnum - 1 as position,
           attname || ' ' || replace(format_type(atttypid, atttypmod), 'timestamp with time zone', 'timestamptz') as column
      from pg_class c join pg_attribute a on a.attrelid = c.oid
     where relnamespace = 'absurd'::regnamespace and relname like '__catalog q' and relkind = 'r'
       and attnum > 0 and not attisdropped;
select prefix, count(*) as as_wanted, cardinality(columns) as wanted
  from wanted join actual using (prefix)
 where columns[position + 1] = actual.column
 group by prefix, columns order by 1;
select prefix, position, actual.column from actual
 where actual.column in ('tenant_id text', 'last_heartbeat timestamptz') order by 1, 2;
select prefix, actual.column from actual where actual.column ~ '^workflow_run_id ';

-- Columns of our own, beyond those: nullable, defaulted or generated.
select relname, attname from pg_class c join pg_attribute a on a.attrelid = c.oid
  join wanted on prefix = left(relname, 1)
 where relnamespace = 'absurd'::regnamespace and relname like '__catalog q' and relkind = 'r'
   and attnum > cardinality(columns) and attnotnull and not atthasdef;

-- Keys and named indexes.
select i.relname, pg_get_indexdef(x.indexrelid, 1, true) as first_column,
       x.indisunique as is_unique, x.indpred is not null as partial
  from pg_index x join pg_class i on i.oid = x.indexrelid
 where i.relnamespace = 'absurd'::regnamespace
   and i.relname in ('r_catalog q_ti', 'r_catalog q_cei', 'e_catalog q_eai', 'w_catalog q_eni', 'w_catalog q_ti')
 order by 1;
select conrelid::regclass::text, pg_get_constraintdef(oid) from pg_constraint
 where conrelid in (select oid from pg_class where relname like '__catalog q') and contype in ('p', 'u')
 order by 1, 2;

-- Column defaults call nothing of ours, nothing of a queue's belongs to the extension, nothing
-- refers to a queue's tables.
select count(*) from pg_attrdef a join pg_class c on c.oid = adrelid
 where relname like '__catalog q' and pg_get_expr(adbin, adrelid) like '%absurd%';
select count(*) from pg_depend d join pg_class c on d.objid = c.oid
 where d.deptype = 'e' and relname like '__catalog q';
select count(*) from pg_constraint where contype = 'f' and confrelid in (select oid from pg_class where relname like '__catalog q');

-- A new queue has five tables, and no other relation's name ends in its name.
select relname from pg_class
 where relnamespace = 'absurd'::regnamespace and relname like '%\_catalog q' order by 1;
select absurd.drop_queue('catalog q');
