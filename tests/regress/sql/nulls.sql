-- NULL in every argument of every function: a documented error or a documented answer, never an
-- argument that is silently ignored. Each call is undone, so that all meet the same rows.
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set absurd.fake_now = '2026-01-01 00:00:00+00';
set intervalstyle = 'postgres';
create function pg_temp.answer(statement text) returns text language plpgsql as $$
declare
    answer record;
    found_rows bigint;
    code text;
    message text;
    shown text;
begin
    begin
        execute statement into answer;
        get diagnostics found_rows = row_count;
        shown := case when found_rows = 0 then 'no row' else 'ok ' || answer::text end;
        raise exception sqlstate 'P0999';
    exception when sqlstate 'P0999' then
        null;
    when others then
        get stacked diagnostics code = returned_sqlstate, message = message_text;
        shown := code || ' ' || message;
    end;
    return regexp_replace(shown, '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}', '<id>', 'g');
end $$;

delete from absurd.workflow_run;
select absurd.create_queue('nulls');
-- A running run, a failed task and an event, for calls that are right but for the NULL.
select task_id as failed, run_id as failed_run from absurd.spawn_task('nulls', 'failed', '{}', '{"max_attempts": 1}') \gset
select attempt from absurd.claim_task('nulls', 'w');
select absurd.fail_run('nulls', :'failed_run', '"why"');
select task_id as task, run_id as run from absurd.spawn_task('nulls', 'running', '{}') \gset
select attempt from absurd.claim_task('nulls', 'w');
select task_id is not null as pending from absurd.spawn_task('nulls', 'pending', '{}');
select absurd.set_task_checkpoint_state('nulls', :'task', 'step', '1', :'run');
-- A registered workflow with a run that takes items.
select created from absurd.register_workflow('{"name": "nulls_flow", "version": "1", "tasks": {"each": {"task_id": "each", "operator_type": "foreach", "items": "[0]", "dynamic": true, "loop_body": [{"task_id": "body", "operator_type": "task", "function": "f"}]}}}', 'nulls');
select absurd.start_workflow('nulls_flow') as executed \gset
select absurd.create_workflow_run('nulls', '1') as wf \gset

create temp table call (id serial, func text, names text[], vals text[]);
insert into call (func, names, vals) values
    ('validate_queue_name', '{p_queue_name}', array['''nulls''']),
    ('create_queue', '{p_queue_name}', array['''nulls''']),
    ('create_queue', '{p_queue_name,p_storage_mode}', array['''nulls''', '''unpartitioned''']),
    ('drop_queue', '{p_queue_name}', array['''nulls''']),
    ('ensure_queue_tables', '{p_queue_name}', array['''nulls''']),
    ('get_queue_policy', '{p_queue_name}', array['''nulls''']),
    ('set_queue_policy', '{p_queue_name,p_policy}', array['''nulls''', '''{}''']),
    ('spawn_task', '{p_queue_name,p_task_name,p_params,p_options}', array['''nulls''', '''n''', '''{}''', '''{}''']),
    ('spawn_tasks', '{p_queue_name,p_tasks}', array['''nulls''', '''[{"task_name": "n"}]''']),
    ('complete_runs', '{p_queue_name,p_run_ids,p_states}', array['''nulls''', quote_literal(array[:'run']) || '::uuid[]', 'array[''1'']::jsonb[]']),
    ('fail_runs', '{p_queue_name,p_run_ids,p_reasons,p_retry_at}', array['''nulls''', quote_literal(array[:'run']) || '::uuid[]', 'array[''1'']::jsonb[]', '''2026-01-02''']),
    ('emit_events', '{p_queue_name,p_event_names,p_payloads}', array['''nulls''', 'array[''e'']', 'array[''1'']::jsonb[]']),
    ('claim_task', '{p_queue_name,p_worker_id,p_claim_timeout,p_qty}', array['''nulls''', '''w''', '30', '1']),
    ('complete_run', '{p_queue_name,p_run_id,p_state}', array['''nulls''', quote_literal(:'run'), '''1''']),
    ('fail_run', '{p_queue_name,p_run_id,p_reason,p_retry_at}', array['''nulls''', quote_literal(:'run'), '''1''', '''2026-01-02''']),
    ('schedule_run', '{p_queue_name,p_run_id,p_wake_at}', array['''nulls''', quote_literal(:'run'), '''2026-01-02''']),
    ('retry_task', '{p_queue_name,p_task_id,p_options}', array['''nulls''', quote_literal(:'failed'), '''{}''']),
    ('cancel_task', '{p_queue_name,p_task_id}', array['''nulls''', quote_literal(:'task')]),
    ('extend_claim', '{p_queue_name,p_run_id,p_extend_by}', array['''nulls''', quote_literal(:'run'), '5']),
    ('get_task_result', '{p_queue_name,p_task_id}', array['''nulls''', quote_literal(:'failed')]),
    ('set_task_checkpoint_state', '{p_queue_name,p_task_id,p_step_name,p_state,p_owner_run,p_extend_claim_by}', array['''nulls''', quote_literal(:'task'), '''s''', '''1''', quote_literal(:'run'), '5']),
    ('get_task_checkpoint_state', '{p_queue_name,p_task_id,p_step_name,p_include_pending}', array['''nulls''', quote_literal(:'task'), '''step''', 'true']),
    ('get_task_checkpoint_states', '{p_queue_name,p_task_id,p_run_id}', array['''nulls''', quote_literal(:'task'), quote_literal(:'run')]),
    ('get_checkpoints_for_run', '{p_queue_name,p_run_id}', array['''nulls''', quote_literal(:'run')]),
    ('get_run_checkpoint', '{p_queue_name,p_run_id,p_step_name}', array['''nulls''', quote_literal(:'run'), '''step''']),
    ('save_checkpoint_for_run', '{p_queue_name,p_run_id,p_step_name,p_data,p_task_id}', array['''nulls''', quote_literal(:'run'), '''s''', '''1''', quote_literal(:'task')]),
    ('await_event', '{p_queue_name,p_task_id,p_run_id,p_step_name,p_event_name,p_timeout}', array['''nulls''', quote_literal(:'task'), quote_literal(:'run'), '''s''', '''e''', '5']),
    ('emit_event', '{p_queue_name,p_event_name,p_payload}', array['''nulls''', '''e''', '''1''']),
    ('cleanup_tasks', '{p_queue_name,p_ttl_seconds,p_limit}', array['''nulls''', '0', '10']),
    ('cleanup_events', '{p_queue_name,p_ttl_seconds,p_limit}', array['''nulls''', '0', '10']),
    ('verify', '{p_queue_name}', array['''nulls''']),
    ('cleanup_all_queues', '{p_queue_name}', array['''nulls''']),
    ('uuidv7_timestamp', '{p_id}', array[quote_literal(:'run')]),
    ('uuidv7_floor', '{p_ts}', array['''2026-01-01 00:00:00+00''']),
    ('week_bucket_utc', '{p_ts}', array['''2026-01-01 00:00:00+00''']),
    ('partition_week_tag', '{p_ts}', array['''2026-01-01 00:00:00+00''']),
    ('retry_delay_seconds', '{p_strategy,p_attempt}', array['''{"kind": "fixed"}''', '1']),
    ('ensure_partitions', '{p_queue_name}', array['''nulls''']),
    ('list_detach_candidates', '{p_queue_name}', array['''nulls''']),
    ('detach_partition', '{p_parent_table,p_partition_table}', array['''t_nulls''', '''t_nulls_601''']),
    ('adopt_queue', '{p_queue_name}', array['''nulls''']),
    ('grant_access', '{p_role,p_access,p_queue_name}', array['current_user::regrole', '''viewer''', '''nulls''']),
    ('revoke_access', '{p_role,p_access,p_queue_name}', array['current_user::regrole', '''viewer''', '''nulls''']),
    ('drop_detached_partition', '{p_partition_table,p_unschedule_job_name}', array['''x''', '''x''']),
    ('schedule_detach_jobs', '{p_queue_name}', array['''nulls''']),
    ('enable_cron', '{p_queue_name,p_partition_schedule,p_cleanup_schedule,p_detach_schedule}', array['''nulls''', '''* * * * *''', '''* * * * *''', '''* * * * *''']),
    ('disable_cron', '{p_queue_name}', array['''nulls''']),
    ('create_workflow_run', '{workflow_name,workflow_version,inputs,absurd_run_id,created_by,tags,workflow_hash,queue_name}', array['''n''', '''1''', '''1''', quote_literal(:'run'), '''me''', '''{}''', '''h''', '''nulls''']),
    ('update_workflow_run_status', '{workflow_run_id,status,result,error,started_at,completed_at,task_count}', array[quote_literal(:'wf'), '''running''', 'null', 'null', '''2026-01-01''', 'null', '1']),
    ('get_workflow_run', '{workflow_run_id}', array[quote_literal(:'wf')]),
    ('list_workflow_runs', '{workflow_name,workflow_version,status,tags,created_by,created_after,created_before,page_limit,after}', array['null', 'null', 'null', 'null', 'null', 'null', 'null', '10', 'null']),
    ('workflow_run_tasks', '{workflow_run_id}', array[quote_literal(:'wf')]),
    ('workflow_run_progress', '{workflow_run_id}', array[quote_literal(:'wf')]),
    ('workflow_run_history', '{workflow_run_id}', array[quote_literal(:'wf')]),
    ('cancel_workflow_run', '{workflow_run_id,reason}', array[quote_literal(:'wf'), '''why''']),
    ('workflow_step_name', '{workflow_name,workflow_version,step_name}', array['''n''', '''1''', '''s''']),
    ('parse_workflow_step_name', '{full_name}', array['''n__1__s''']),
    ('register_workflow', '{p_definition,p_queue_name}', array['''{"name": "nulls_other", "tasks": {}}''', '''nulls''']),
    ('register_workflow_yaml', '{p_definition,p_queue_name}', array['''name: nulls_other''', '''nulls''']),
    ('canonical_document', '{definition}', array['''{"name": "nulls_flow"}''']),
    ('get_workflow', '{name,version}', array['''nulls_flow''', '''1''']),
    ('start_workflow', '{p_workflow_name,p_workflow_version,p_inputs,p_queue_name,p_options}', array['''nulls_flow''', '''1''', '''{}''', '''nulls''', '''{}''']),
    ('set_current_version', '{name,version}', array['''nulls_flow''', '''1''']),
    ('delete_workflow', '{name,version}', array['''nulls_flow''', '''1''']),
    ('pause_workflow', '{name}', array['''nulls_flow''']),
    ('resume_workflow', '{name}', array['''nulls_flow''']),
    ('advance_timers', '{p_queue_name,p_limit}', array['''nulls''', '10']),
    ('run_schedules', '{p_limit}', array['10']),
    ('add_workflow_items', '{workflow_run_id,p_path,p_items}', array[quote_literal(:'executed'), '''each''', '''[1]''']),
    ('retry_workflow_run', '{workflow_run_id,p_from_step}', array[quote_literal(:'executed'), '''each''']),
    ('pause_workflow_run', '{workflow_run_id}', array[quote_literal(:'executed')]),
    ('resume_workflow_run', '{workflow_run_id}', array[quote_literal(:'executed')]),
    ('skip_step', '{workflow_run_id,p_path,p_result}', array[quote_literal(:'executed'), '''each''', '''1''']),
    ('fail_step', '{workflow_run_id,p_path,p_reason}', array[quote_literal(:'executed'), '''each''', '''why''']),
    ('list_event_waits', '{p_event_name,p_queue_name}', array['''e''', '''nulls''']),
    ('workflow_run_steps', '{workflow_run_id}', array[quote_literal(:'executed')]),
    ('workflow_run_context', '{workflow_run_id}', array[quote_literal(:'executed')]),
    ('workflow_diagram', '{name,version}', array['''nulls_flow''', '''1''']),
    ('workflow_run_diagram', '{workflow_run_id}', array[quote_literal(:'executed')]);

-- Every function that takes arguments is here, with every argument.
select proname, pg_get_function_identity_arguments(oid) from pg_proc p
 where pronamespace = 'absurd'::regnamespace and pronargs > 0
   and not exists (select from call where func = proname and names = proargnames[1:pronargs]);

\pset format unaligned
\pset tuples_only on
-- As they are, without a NULL: all answer, so that the NULL alone makes the difference below.
select func || '/' || cardinality(names), pg_temp.answer(format('select * from absurd.%I(%s)', func, array_to_string(vals, ', '))) from call order by id;
-- With one NULL each.
select func || '/' || cardinality(names), names[i],
       pg_temp.answer(format('select * from absurd.%I(%s)', func,
           (select string_agg(case when j = i then 'null' else vals[j] end, ', ' order by j) from generate_subscripts(vals, 1) j)))
  from call, generate_subscripts(names, 1) i order by id, i;
-- With NULL throughout.
select func || '/' || cardinality(names), pg_temp.answer(format('select * from absurd.%I(%s)', func, array_to_string(array_fill('null'::text, array[cardinality(names)]), ', '))) from call order by id;

-- NULL within an array, and as a member of an object.
select pg_temp.answer($$select * from absurd.list_workflow_runs(status => array[null]::text[])$$);
select pg_temp.answer($$select * from absurd.list_workflow_runs(status => array['pending', null])$$);

-- What NULL stands for, where it stands for something.
select state, completed_payload is null from absurd.t_nulls where task_name = 'running';
select absurd.emit_event('nulls', 'e', null);
select payload from absurd.e_nulls;
select count(*) from absurd.claim_task('nulls', null, null, null);
select claimed_by, claim_expires_at from absurd.r_nulls r join absurd.t_nulls using (task_id) where task_name = 'pending';
select absurd.drop_queue('nulls');
delete from absurd.workflow_run;
