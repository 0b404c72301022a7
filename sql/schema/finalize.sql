-- Runs last: the guards of the workflow tables, rights, and what each object is for.

create trigger workflow_run_guard
    before insert or update on absurd.workflow_run
    for each row execute function absurd.workflow_run_guard();
create trigger workflow_run_record
    after update of status on absurd.workflow_run
    for each row when (old.status is distinct from new.status)
    execute function absurd.workflow_run_record();

-- Backends remember which queues want notifications until they are told of a change.
create trigger queues_changed
    after update of notify or delete on absurd.queues
    for each statement execute function absurd.queues_changed();

-- The history is written by the extension's owner: who may move a run cannot forge its past.
alter function absurd.workflow_run_record() security definer;
alter function absurd.workflow_run_record() set search_path = pg_catalog, pg_temp;
-- Each also refuses any table but its own.
revoke execute on function absurd.workflow_run_guard(), absurd.workflow_run_record(),
    absurd.queues_changed(), absurd.event_emission(), absurd.workflow_execution_forget() from public;

-- Tables ------------------------------------------------------------------------------------

comment on table absurd.queues is
    'One row per queue, with its policy. Written by create_queue, set_queue_policy and drop_queue.';
comment on column absurd.queues.queue_name is 'Name of the queue, 1 to 57 bytes; its tables are t_, r_, c_, e_, w_ and, when partitioned, i_ with this name.';
comment on column absurd.queues.created_at is 'When the queue was created.';
comment on column absurd.queues.storage_mode is 'unpartitioned or partitioned.';
comment on column absurd.queues.default_partition is 'Whether a partitioned queue has default partitions: enabled or disabled.';
comment on column absurd.queues.partition_lookahead is 'How far ahead of now weekly partitions are made.';
comment on column absurd.queues.partition_lookback is 'How far back from now weekly partitions are made.';
comment on column absurd.queues.cleanup_ttl is 'How long ended tasks and emitted events are kept.';
comment on column absurd.queues.cleanup_limit is 'How many tasks, and how many events, one cleanup removes at most.';
comment on column absurd.queues.detach_mode is 'Which old partitions may be detached: none or empty.';
comment on column absurd.queues.detach_min_age is 'How long ago a partition''s week must have ended before it may be detached.';
comment on column absurd.queues.notify is 'Whether work that becomes ready is announced on channel absurd, with the queue''s name.';

comment on table absurd.queue_front is
    'Where the ready runs of a queue begin, when it has many weeks, or when an old snapshot keeps the index entries of claimed runs in front. Written by claims, about once a second; may be emptied at any time.';
comment on column absurd.queue_front.queue_name is 'Name of the queue.';
comment on column absurd.queue_front.looked_at is 'When a claim last looked at what may have changed.';
comment on column absurd.queue_front.near_seconds is 'Seconds that this took; 0 where a look at everything was all there was.';
comment on column absurd.queue_front.whole_at is 'When a claim last looked at everything.';
comment on column absurd.queue_front.blocks is 'Blocks of tables and indexes that this took.';
comment on column absurd.queue_front.seconds is 'Seconds that it took.';
comment on column absurd.queue_front.is_calm is 'Whether looking costs no more than with any other queue, so that claims do not rely on this row.';
comment on column absurd.queue_front.is_overdue is 'Whether a lease, an attempt or a cancellation rule was overdue.';
comment on column absurd.queue_front.sweep_froms is 'Of cancellation rules, leases and attempts: the instant before which none is overdue.';
comment on column absurd.queue_front.sweep_nexts is 'Of each of these, where that will be once another look has confirmed it.';
comment on column absurd.queue_front.priorities is 'Priorities in which runs may be ready, highest first.';
comment on column absurd.queue_front.floors is 'Of each of these, the instant where claims begin.';
comment on column absurd.queue_front.froms is 'Of each, the instant where the next look begins.';
comment on column absurd.queue_front.nexts is 'Of each, where the look after that will begin.';
comment on column absurd.queue_front.weeks is 'Of each, the tag of the week whose runs come first, in a partitioned queue.';
comment on column absurd.queue_front.untils is 'Of each, the instant from which on runs of other weeks may come first.';
comment on column absurd.queue_front.stray_priorities is 'Priorities of runs that stand before all this, because a transaction has not ended or somebody holds them.';
comment on column absurd.queue_front.stray_instants is 'When each of these became ready.';
comment on column absurd.queue_front.stray_runs is 'Their ids.';

comment on table absurd.queue_behind is
    'Instants before the front of a queue (absurd.queue_front) at which runs have been made ready since a claim last looked there; the next look takes them. May be emptied at any time.';
comment on column absurd.queue_behind.queue_name is 'Name of the queue.';
comment on column absurd.queue_behind.available_at is 'The instant.';

comment on table absurd.queue_access is
    'Which roles have been given which access by grant_access(), so that queues made later are theirs too.';
comment on column absurd.queue_access.role_id is 'Id of the role.';
comment on column absurd.queue_access.role_name is 'What the role was called then.';
comment on column absurd.queue_access.system_id is 'The cluster that the id is of.';
comment on column absurd.queue_access.access is 'producer, worker, viewer or admin.';
comment on column absurd.queue_access.queue_name is 'Queue, null for every one.';

comment on table absurd.workflow_run is
    'One row per workflow run. Clients may write it directly: every INSERT and UPDATE is checked by workflow_run_guard.';
comment on column absurd.workflow_run.workflow_run_id is 'Id of the run; never changes.';
comment on column absurd.workflow_run.workflow_name is 'Name of the workflow: ^[a-z][a-z0-9_]*$ without "__" and without a trailing "_"; never changes.';
comment on column absurd.workflow_run.workflow_version is 'Version of the workflow: ^[a-zA-Z0-9._-]+$ without "__" and without a trailing "_"; never changes.';
comment on column absurd.workflow_run.workflow_hash is 'Hash of the workflow''s definition, any text that is not blank.';
comment on column absurd.workflow_run.status is 'pending -> running | failed | cancelled; running -> completed | failed | cancelled; those three are final.';
comment on column absurd.workflow_run.absurd_run_id is 'Run of the task at the root of the workflow run, when there is one.';
comment on column absurd.workflow_run.absurd_queue is 'Queue that the workflow run works with.';
comment on column absurd.workflow_run.inputs is 'What the workflow run was started with.';
comment on column absurd.workflow_run.created_by is 'Who or what created the run.';
comment on column absurd.workflow_run.tags is 'Object of tags to find the run by.';
comment on column absurd.workflow_run.result is 'What a completed run has come to.';
comment on column absurd.workflow_run.error is 'Why a run failed or was cancelled.';
comment on column absurd.workflow_run.started_at is 'When the run started; filled in when an UPDATE sets it running.';
comment on column absurd.workflow_run.completed_at is 'When the run ended, never before started_at; filled in when an UPDATE sets a final status.';
comment on column absurd.workflow_run.task_count is 'Number of tasks as its client counts them, not negative.';
comment on column absurd.workflow_run.created_at is 'When the run was created.';
comment on column absurd.workflow_run.updated_at is 'When the row was last updated; null until then.';

comment on table absurd.workflow_transition is
    'Every change of a workflow run''s status. Written by the engine alone; read it with workflow_run_history().';
comment on column absurd.workflow_transition.workflow_run_id is 'The workflow run.';
comment on column absurd.workflow_transition.to_status is 'Status that it went to.';
comment on column absurd.workflow_transition.from_status is 'Status that it came from.';
comment on column absurd.workflow_transition.changed_at is 'When the status changed.';
comment on column absurd.workflow_transition.changed_by is 'Role that changed it.';
comment on column absurd.workflow_transition.number is 'Which change of the run it is, from 1.';

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
