-- What the functions are for. Trigger functions also refuse any table but their own.

revoke execute on function absurd.event_emission() from public;

-- Rights -------------------------------------------------------------------------------------

comment on function absurd.grant_access(regrole, text, text) is
    'Gives a role the grants that an access takes on one queue, or on all and those made later: producer (spawn, emit, start, read results), worker (claim, and all on claimed runs), viewer (read), admin (all on the tables; of every queue also create, drop, policy, register, schedules). Errors: 42501 not the extension''s owner; 22004, 22023 access; 42P01 unknown queue.';
comment on function absurd.revoke_access(regrole, text, text) is
    'Takes an access away from a role again, on one queue or on all; what another access of the role gives stays. Errors: as grant_access.';
comment on function absurd.adopt_queue(text) is
    'Makes the extension''s owner the owner of the tables that have a queue''s names; create_queue then takes them up; others'' rights on them are revoked. Errors: 42501 not a superuser; 42P01 no such table; 55000 listing triggers, rules, policies, defaults, constraints and indexes that the engine does not know.';
comment on function absurd.fast_path() is
    'Whether the tables that claims look at, and those of executed workflow runs, are used without statements now, why not, and how often this session has used them or had to use statements. Error: 42501 without SELECT on absurd.queues.';

-- Clock, versions, ids, weeks ---------------------------------------------------------------

comment on function absurd.get_schema_version() is
    'Version of the SQL contract that clients check. The extension''s own version: absurd.version().';
comment on function absurd.version() is 'Version of the installed library.';
comment on function absurd."current_time"() is
    'The engine''s time: the setting absurd.fake_now when it is set and not blank, else the wall clock. Error 22007 or 22008: the setting is no timestamp.';
comment on function absurd.portable_uuidv7() is 'A new UUID of version 7 for current_time().';
comment on function absurd.uuidv7_timestamp(uuid) is
    'The instant of a UUID of version 7, to the millisecond; NULL for other versions and for NULL.';
comment on function absurd.uuidv7_floor(timestamptz) is
    'The lowest UUID of version 7 of an instant''s millisecond; NULL for NULL. Error 22023: the instant lies before 1970 or beyond 10889.';
comment on function absurd.week_bucket_utc(timestamptz) is
    'Monday 00:00 UTC of the ISO week that holds the instant; NULL for NULL.';
comment on function absurd.partition_week_tag(timestamptz) is
    'Last digit of the ISO year and two digits of the ISO week of an instant, in UTC; NULL for NULL and the infinities.';

-- Queues ------------------------------------------------------------------------------------

comment on function absurd.validate_queue_name(text) is
    'Returns the name when a queue may have it: any text of 1 to 57 bytes of UTF-8. Errors: 22004 NULL, 22023 empty, 42622 too long.';
comment on function absurd.create_queue(text) is
    'Creates an unpartitioned queue, or takes up the tables that an earlier one left. Without effect on a queue that exists. Errors: 22004, 22023, 42622 for the name; 42710 the queue exists with another storage mode; 42P07 relations of its names exist.';
comment on function absurd.create_queue(text, text) is
    'As create_queue(text), with the storage mode: unpartitioned, or partitioned by the ISO week of a task''s or run''s id. Errors: also 22004 or 22023 for the mode.';
comment on function absurd.drop_queue(text) is
    'Drops a queue with its tables; without effect on an unknown queue. Waits for those who use it. Errors: 22004 NULL; 2BP01 other objects, such as a view, depend on the tables; 55P03 they stayed in use for lock_timeout.';
comment on function absurd.ensure_queue_tables(text) is
    'Makes what is missing of a queue''s tables and indexes. Errors: 42P01 unknown queue; as create_queue for the name.';
comment on function absurd.list_queues() is 'The names of all queues, sorted.';
comment on function absurd.get_queue_policy(text) is
    'A queue''s storage mode and policy; no row for an unknown queue. Error: 22004 NULL.';
comment on function absurd.set_queue_policy(text, jsonb) is
    'Changes keys of a queue''s policy: default_partition, partition_lookahead, partition_lookback, cleanup_ttl, cleanup_limit, detach_mode, detach_min_age, notify. default_partition is a partitioned queue''s: disabled drops the default partitions, which must be empty. Errors, nothing changed: 42P01 unknown queue; 22004 NULL; 22023 unknown key or bad value; 55000 a default partition holds rows; 55P03 it stays in use.';

-- Tasks and runs ----------------------------------------------------------------------------

comment on function absurd.spawn_task(text, text, jsonb, jsonb) is
    'Spawns a task with its first run, or returns the task that has the same idempotency key (created = false). Options: headers, retry_strategy, max_attempts, cancellation {max_delay, max_duration} in whole seconds, idempotency_key, available_at or delay_seconds, priority (-8 to 8, higher first), workflow_run_id, tenant_id. Errors: 42P01 unknown queue; 22004, 22023 task name or option; AB003 retry_strategy; P0002 or 55000 the workflow run is unknown or has ended; 40001 retry; 42501 row security hides the task that has the key. Unknown options are named in a warning.';
comment on function absurd.claim_task(text, text, integer, integer) is
    'Hands out up to p_qty ready runs (below 1 counts as 1), leased for p_claim_timeout seconds (0 or less: no lease), by priority and then oldest first, passing over what others hold. First cancels tasks whose rule came due and fails runs whose lease ended. Error: 42P01 unknown queue.';
comment on function absurd.spawn_tasks(text, jsonb) is
    'Spawns the tasks of a JSON array of {task_name, params, options}, all or none, as spawn_task does; returns them in that order. Errors: as spawn_task, naming the element, counted from 0.';
comment on function absurd.complete_run(text, uuid, jsonb) is
    'Completes a running run and its task with p_state as payload. Errors: AB001 task cancelled; AB002 run failed; 55000 run not running; 22023 a workflow step''s payload of more than 1,000 levels of nesting; P0002 unknown run; 22004 NULL; 42P01 unknown queue.';
comment on function absurd.complete_runs(text, uuid[], jsonb[]) is
    'Completes running runs, all or none, each with its element of p_states (NULL: no payloads). Errors: as complete_run, naming the element, counted from 0; 22023 other number of states, a run twice.';
comment on function absurd.fail_runs(text, uuid[], jsonb[], timestamptz) is
    'Fails running or sleeping runs, all or none, each with its element of p_reasons (NULL: no reasons), as fail_run does. Errors: as fail_run, naming the element, counted from 0; 22023 other number of reasons, a run twice.';
comment on function absurd.fail_run(text, uuid, jsonb, timestamptz) is
    'Fails a running or sleeping run with p_reason. While attempts remain another run follows at p_retry_at or after the retry delay, unless max_duration has passed by then: that cancels the task. Errors: as complete_run.';
comment on function absurd.schedule_run(text, uuid, timestamptz) is
    'Puts a running run to sleep until p_wake_at. Errors: as complete_run.';
comment on function absurd.retry_task(text, uuid, jsonb) is
    'Retries a failed task: another run of it, or with {"spawn_new": true} a new task from the same inputs. {"max_attempts": n} must exceed the attempts made (default: one more). Errors: P0002 unknown task; 55000 not failed, or its workflow run was cancelled (for a new task: has ended); 22004, 22023 argument or option; 42P01 unknown queue.';
comment on function absurd.cancel_task(text, uuid) is
    'Cancels a pending, running or sleeping task, named by its id or a run''s, with its open runs and waits. Returns whether this call did it. Errors: P0002 unknown id; 22004 NULL; 42P01 unknown queue.';
comment on function absurd.extend_claim(text, uuid, integer) is
    'Makes a running run''s lease end p_extend_by seconds from now. Errors: 22004 NULL; 22023 unless p_extend_by > 0; 55000 claimed without a lease; as complete_run.';
comment on function absurd.get_task_result(text, uuid) is
    'A task''s state, its result once completed, its last failure once failed; no row for an unknown task. Errors: 22004 NULL; 42P01 unknown queue.';
comment on function absurd.retry_delay_seconds(jsonb, integer) is
    'Seconds to wait after attempt p_attempt (from 1) failed. Kinds: none (0), fixed (base_seconds, 60), exponential (base_seconds, 30, x factor, 2, ^ (attempt - 1), at most max_seconds and a day). Errors: AB003 invalid strategy; 22004 NULL attempt.';

-- Checkpoints -------------------------------------------------------------------------------

comment on function absurd.set_task_checkpoint_state(text, uuid, text, jsonb, uuid, integer) is
    'Writes a checkpoint of a task as its run p_owner_run; p_task_id may be the run''s own id. What a newer attempt wrote stays. p_extend_claim_by > 0 seconds also prolongs the lease. Errors: AB001 task cancelled; AB002 run failed; 55000 ended; P0002 unknown run; 22023 not the task''s run, step blank or of more than 2,000 bytes; 22004 NULL; 42P01 unknown queue.';
comment on function absurd.get_task_checkpoint_state(text, uuid, text, boolean) is
    'One checkpoint of a task, named by its id or a run''s; one not committed only with p_include_pending. Errors: 22004, 22023 argument; 42P01 unknown queue.';
comment on function absurd.get_task_checkpoint_states(text, uuid, uuid) is
    'The committed checkpoints that a run of a task sees, oldest first: its own and those of earlier attempts; p_task_id may be the run''s own id. Errors: P0002 unknown run; 22023 not the task''s run; 22004 NULL; 42P01 unknown queue.';
comment on function absurd.get_checkpoints_for_run(text, uuid) is
    'The checkpoints that a run owns, oldest first. Errors: 22004 NULL; 42P01 unknown queue.';
comment on function absurd.get_run_checkpoint(text, uuid, text) is
    'The state of one checkpoint that a run owns, NULL when there is none. Errors: 22004, 22023 argument; 42P01 unknown queue.';
comment on function absurd.save_checkpoint_for_run(text, uuid, text, jsonb, uuid) is
    'Writes a checkpoint as a run; without p_task_id, of the run''s task. Errors: as set_task_checkpoint_state.';

-- Events ------------------------------------------------------------------------------------

comment on function absurd.await_event(text, uuid, uuid, text, text, integer) is
    'Awaits an event as a step of a running run. (false, payload): the step''s checkpoint or the event answers; (false, NULL): p_timeout seconds have passed, said once; (true, NULL): the run sleeps now, stop working on it. Errors: 22023 negative timeout, a name that is blank or of more than 2,000 bytes, not the task''s run; 22004 NULL; AB001 task cancelled; AB002 run failed; 55000 not running; P0002 unknown run; 42P01 unknown queue; 40001 the event is newer than the transaction''s snapshot, retry.';
comment on function absurd.emit_event(text, text, jsonb) is
    'Emits an event and wakes its waiters. The first emission of a name stands, later ones change nothing. NULL payload is JSON null. Errors: 22004, 22023 name, also of more than 2,000 bytes; 42P01 unknown queue; 40001 a wait is newer than the transaction''s snapshot, retry.';
comment on function absurd.emit_events(text, text[], jsonb[]) is
    'Emits events, all or none, each with its element of p_payloads (NULL: no payloads), as emit_event does. Errors: as emit_event, naming the element, counted from 0; 22023 other number of payloads.';
comment on function absurd.event_emission() is
    'Trigger: makes whoever stores an event in a queue''s table meet those who are about to await it.';

-- Maintenance -------------------------------------------------------------------------------

comment on function absurd.cleanup_tasks(text, integer, integer) is
    'Removes at most p_limit tasks that ended more than p_ttl_seconds ago, oldest first, with their runs, checkpoints and waits; returns how many. Errors: 22004 NULL; 22023 negative age, limit below 1; 42P01 unknown queue.';
comment on function absurd.cleanup_events(text, integer, integer) is
    'Removes at most p_limit events emitted more than p_ttl_seconds ago, oldest first; returns how many. Errors: as cleanup_tasks.';
comment on function absurd.verify(text) is
    'Looks for rows of one queue, or of all that the caller may read, that do not fit together: orphans, pairs of states that cannot be, tasks completed twice, waits and steps that nobody will wake. None is right. Reads whole tables. Errors: 42P01 unknown queue; 42501 no SELECT on its tables.';
comment on function absurd.cleanup_all_queues(text) is
    'Removes from one queue, or from all, one batch of what their policies no longer keep. Error: 42P01 unknown queue.';
comment on function absurd.ensure_partitions(text) is
    'Makes the weekly partitions of one queue, or of all, from now - partition_lookback to now + partition_lookahead; rows of a week that lie in the default partition move along. Without effect on unpartitioned queues. Errors: 42P01 unknown queue; 42P07 a week''s name is taken, by the same week of ten years ago for one; 55P03 the default partition stays in use. Of all queues: one that fails is a WARNING.';
comment on function absurd.list_detach_candidates(text) is
    'Attached weekly partitions, of queues whose detach_mode is empty, that ended more than detach_min_age ago and hold no row; of one queue or of all, the oldest of each table first. Error: 42P01 unknown queue.';
comment on function absurd.detach_partition(text, text) is
    'Detaches an empty weekly partition from its table as the extension''s owner, waiting for who uses the table; returns whether it did. For jobs of roles that may not ALTER the table. Errors: 42501 without DELETE on absurd.queues; 22004 NULL; 22023 not a week''s partition; 55000 not the engine''s.';
comment on function absurd.drop_detached_partition(text, text) is
    'Drops a weekly partition that has been detached, and removes the job p_unschedule_job_name with its twin. Returns whether it was dropped: not while it is attached, nor when it is not there. Errors: 22004 NULL; 22023 not a week''s partition; 2BP01 something depends on it.';
comment on function absurd.schedule_detach_jobs(text) is
    'Schedules for each table, of one queue or of all, the two pg_cron jobs that detach and drop its oldest candidate, unless it has such jobs; returns the jobs made. Errors: 55000 no pg_cron; 42P01 unknown queue.';
comment on function absurd.enable_cron(text, text, text, text) is
    'Installs the pg_cron jobs that make partitions, clean up and plan detaching, for one queue or for all, in the place of earlier ones; for all, when a workflow has a schedule, also one that calls run_schedules() every minute. Errors, nothing changed: 55000 no pg_cron; 42P01 unknown queue; 22004 NULL schedule; what pg_cron says of a schedule.';
comment on function absurd.disable_cron(text) is
    'Removes the pg_cron jobs of one queue, or those for all queues, and returns them. Error: 55000 no pg_cron.';
comment on function absurd.queues_changed() is
    'Trigger: tells every backend that the notify policy of a queue has changed.';

-- Workflow runs -----------------------------------------------------------------------------

comment on function absurd.create_workflow_run(text, text, jsonb, uuid, text, jsonb, text, text) is
    'Creates a pending workflow run and returns its id. Errors, naming value and rule: 22004, 22023 name, version, tags or hash.';
comment on function absurd.update_workflow_run_status(uuid, text, jsonb, jsonb, timestamptz, timestamptz, integer) is
    'Moves a workflow run to a status and stores what is given with it; NULL leaves a column as it is. Repeating a status may add what is unset. Errors: P0002 unknown run; 55000 move not allowed, or an ended run would change; 22004, 22023 a value does not fit.';
comment on function absurd.get_workflow_run(uuid) is 'One workflow run. Errors: P0002 unknown run; 22004 NULL.';
comment on function absurd.list_workflow_runs(text, text, text[], jsonb, text, timestamptz, timestamptz, integer, uuid) is
    'Workflow runs, newest first, at most page_limit (100); NULL does not filter; tags must be contained; the next page starts after the given run. Errors: 22023 unknown status, limit below 1; P0002 unknown run to start after.';
comment on function absurd.workflow_run_tasks(uuid) is
    'The tasks that belong to a workflow run, over all queues. Errors: P0002 unknown run; 22004 NULL.';
comment on function absurd.workflow_run_progress(uuid) is
    'How many of a workflow run''s tasks are in which state; percent is that of completed tasks, 0 without tasks. Errors: P0002 unknown run; 22004 NULL.';
comment on function absurd.workflow_run_history(uuid) is
    'Every change of a workflow run''s status, oldest first. Errors: P0002 unknown run; 22004 NULL.';
comment on function absurd.cancel_workflow_run(uuid, text) is
    'Cancels a workflow run and every open task that belongs to it; returns how many tasks. Errors: P0002 unknown run; 55000 it has ended otherwise; 22004 NULL.';
comment on function absurd.retry_workflow_run(uuid, text) is
    'Starts an executed workflow run again, under its id, that has failed or was cancelled. Steps that completed are not executed again, but for those after one that is; p_from_step names a step by its path from which on all are.';
comment on function absurd.pause_workflow_run(uuid) is
    'Holds an executed workflow run and its children up: nothing more of them starts until resume_workflow_run(). Tasks that are in the queue are worked.';
comment on function absurd.resume_workflow_run(uuid) is
    'Lets a paused workflow run go on, with what has happened and come due meanwhile.';
comment on function absurd.skip_step(uuid, text, jsonb) is
    'Has a step, named by its path, count as completed with p_result, whoever works on it; of a run that has failed or was cancelled when the run is retried.';
comment on function absurd.fail_step(uuid, text, text) is
    'Fails a step of a running run, named by its path, whoever works on it, with p_reason as its message.';
comment on function absurd.workflow_step_name(text, text, text) is
    'Joins name, version and step to name__version__step. Errors: 22004, 22023 naming the part and the rule.';
comment on function absurd.parse_workflow_step_name(text) is
    'Splits name__version__step into its parts. Errors: 22004 NULL; 22023 not of that form.';
comment on function absurd.workflow_run_guard() is
    'Trigger: checks every row written to absurd.workflow_run and fills its timestamps.';
comment on function absurd.workflow_run_record() is
    'Trigger: records changes of absurd.workflow_run.status in absurd.workflow_transition.';

-- Workflow documents -----------------------------------------------------------------------

comment on function absurd.register_workflow(jsonb, text) is
    'Registers a workflow document (highway-dsl) and the queue that its runs work with. workflow_hash is the SHA-256 of canonical_document(p_definition). Without p_queue_name a new version has the queue of the version before. The same content again: created = false, a NOTICE says which version is current, and another queue replaces the one it had. Errors: 22023 naming the step and the rule for a document that cannot be executed; 54000 more than 4 MiB of text, 100,000 values or what the engine compiles; 42501 no INSERT on workflow_definition; 42710 the version is registered with other content; 42P01 unknown queue; 22004 NULL.';
comment on function absurd.register_workflow_yaml(text, text) is
    'As register_workflow, from YAML or JSON text. Errors: as register_workflow; 22023 text that is not YAML.';
comment on function absurd.canonical_document(jsonb) is
    'A workflow document in its canonical form, defaults filled in and unknown fields dropped, as the text of RFC 8785 (JSON Canonicalization Scheme); its SHA-256 is the workflow_hash that register_workflow returns. Errors: 22023 naming the step and the rule for a document that breaks the format''s, or the path of a number that a double does not hold; 54000 too large; 22004 NULL.';
comment on function absurd.set_current_version(text, text) is
    'Makes a registered version current: runs start with it unless they name another, and it is in charge of the schedule. Errors: P0002 unknown; 42501 no UPDATE on workflow_definition; 22004 NULL.';
comment on function absurd.delete_workflow(text, text) is
    'Removes a version of a workflow, or all of them; returns how many. The newest that is left is current then. Errors: P0002 unknown; 55000 open runs need it; 42501 no DELETE on workflow_definition; 22004 NULL name.';
comment on function absurd.get_workflow(text, text) is
    'A registered workflow, the version registered last unless one is named: its document and what is known of it. Errors: P0002 unknown; 22004 NULL name.';
comment on function absurd.list_workflows() is
    'All registered workflows, by name and the newest first. Schedule columns of all but the version registered last are NULL.';
comment on function absurd.start_workflow(text, text, jsonb, text, jsonb) is
    'Starts a run of a registered workflow, the version registered last unless one is named, in the caller''s transaction; returns its id. p_inputs: an object. Options: created_by, tags, idempotency_key (the workflow''s run with that key is returned), respect_max_active_runs (wait as pending while the bound is reached). Errors: P0002 unknown workflow; 22004 NULL name, no queue; 22023 inputs (no object, more than 1,000 levels of nesting) or option; 42P01 unknown queue.';
comment on function absurd.workflow_run_steps(uuid) is
    'The steps of a run that the database executes, in the order of execution, those last that never came to it. waiting_for: an object that says what an open step waits for: queued_since, worker and lease_until, backoff_until, event, until, timeout_at, children; last_error: the error of its last failed attempt. What is known of tasks is shown to who may read the queue''s tables. Errors: P0002 not such a run; 22004 NULL.';
comment on function absurd.list_event_waits(text, text) is
    'The steps of workflow runs that wait for an event, or for any, in one queue or in all, with the instant at which they give up; of the runs that the caller sees. Errors: 42501 no SELECT on workflow_run.';
comment on function absurd.workflow_run_context(uuid) is
    '{"inputs", "variables", "results"} of a run that the database executes. Errors: P0002 not such a run; 22004 NULL.';
comment on function absurd.pause_workflow(text) is
    'Stops a workflow''s schedule; runs can still be started. Errors: P0002 unknown workflow; 22004 NULL.';
comment on function absurd.resume_workflow(text) is
    'Lets a workflow''s schedule go on. Triggers missed meanwhile are made up for only with catchup. Errors: P0002 unknown workflow; 22004 NULL.';
comment on function absurd.advance_timers(text, integer) is
    'Fires at most p_limit timers of executed runs that have come due, waits, timeouts, of attempts too, and deadlines, in one queue or in all; returns how many. claim_task does the same for its queue, few at a time. Errors: 42P01 unknown queue; 22004, 22023 limit.';
comment on function absurd.run_schedules(integer) is
    'Creates at most p_limit runs of workflows whose schedules have come due; returns how many. A schedule that fails is reported as a warning. Errors: 22004, 22023 limit.';
comment on function absurd.add_workflow_items(uuid, text, jsonb) is
    'Adds the elements of an array to a running dynamic foreach, named by its path. Errors: P0002 unknown run or step; 55000 the step takes no items; 22023 no array, too many items, more than 1,000 levels of nesting; 22004 NULL.';
comment on function absurd.workflow_diagram(text, text) is
    'A registered workflow as a Mermaid flowchart, the version registered last unless one is named. Errors: P0002 unknown; 22004 NULL name.';
comment on function absurd.workflow_run_diagram(uuid) is
    'A run that the database executes as a Mermaid flowchart, its steps in the colours of their states. Errors: P0002 not such a run; 22004 NULL.';
comment on function absurd.workflow_definition_deleted() is
    'Trigger: refuses to delete a workflow that open runs need, and lets another version take charge of its schedule.';
comment on function absurd.workflow_execution_forget() is
    'Trigger: removes what a deleted run of absurd.workflow_execution consisted of; refuses while children of it are open.';
