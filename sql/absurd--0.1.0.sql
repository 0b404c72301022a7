-- Written by `make sql` from src/api/ and sql/schema/: change those.

\echo Use "CREATE EXTENSION absurd" to load this file. \quit

-- What must hold before anything is made, and what the contract asks to be plain SQL.

-- Text travels through the library as UTF-8. And whoever owns the schema, or may add to it, could
-- put functions there that take the calls of everybody.
do $$
declare
    stranger text;
begin
    if pg_catalog.getdatabaseencoding() operator(pg_catalog.<>) 'UTF8' then
        raise exception using errcode = 'feature_not_supported',
            message = pg_catalog.format('extension absurd needs a database with encoding UTF8, not %s',
                                        pg_catalog.getdatabaseencoding()),
            detail = 'Its functions take and give text as UTF-8.',
            hint = 'Create a database with encoding UTF8 and install the extension there.';
    end if;
    select coalesce(r.rolname, 'public') into stranger
      from pg_catalog.pg_namespace n
     cross join lateral (
            select n.nspowner
            union all
            select a.grantee
              from pg_catalog.aclexplode(n.nspacl) a
             where a.privilege_type operator(pg_catalog.=) 'CREATE') as maker (id)
      left join pg_catalog.pg_roles r on r.oid operator(pg_catalog.=) maker.id
     where n.nspname operator(pg_catalog.=) 'absurd'
       and r.rolsuper is not true and r.rolname is distinct from current_user
     limit 1;
    if found then
        raise exception using errcode = 'object_not_in_prerequisite_state',
            message = pg_catalog.format('role %I owns schema absurd or may create objects in it', stranger),
            detail = 'Such a role could put functions there that take the calls of everybody.',
            hint = 'Hand the schema to a superuser and revoke CREATE on it, or drop it.';
    end if;
    select p.proname into stranger
      from pg_catalog.pg_proc p
     where p.pronamespace operator(pg_catalog.=) 'absurd'::pg_catalog.regnamespace
     union all
    select t.typname
      from pg_catalog.pg_type t
      left join pg_catalog.pg_type e on e.typarray operator(pg_catalog.=) t.oid
      left join pg_catalog.pg_class c
             on c.oid operator(pg_catalog.=) coalesce(nullif(t.typrelid, 0), e.typrelid)
     where t.typnamespace operator(pg_catalog.=) 'absurd'::pg_catalog.regnamespace
       -- The row types of tables, which a dump makes before the extension, and of views.
       and coalesce(c.relkind, 'c') operator(pg_catalog.=) 'c'
     limit 1;
    if found then
        raise exception using errcode = 'object_not_in_prerequisite_state',
            message = pg_catalog.format('schema absurd holds the function or type %I', stranger),
            hint = 'Drop it, or move it to another schema.';
    end if;
end $$;

-- The version of the SQL contract that clients compare with, not the extension's. A plain SQL
-- function, because tools of the contract replace it.
create function absurd.get_schema_version() returns text
    language sql immutable parallel safe
    as $$ select '0.5.1' $$;

CREATE FUNCTION "event_emission"()
    RETURNS TRIGGER
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'event_emission_wrapper';

CREATE FUNCTION "workflow_definition_deleted"()
    RETURNS TRIGGER
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'workflow_definition_deleted_wrapper';

CREATE FUNCTION "workflow_execution_forget"()
    RETURNS TRIGGER
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'workflow_execution_forget_wrapper';

CREATE FUNCTION "queues_changed"()
    RETURNS TRIGGER
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'queues_changed_wrapper';

CREATE FUNCTION "workflow_run_guard"()
    RETURNS TRIGGER
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'workflow_run_guard_wrapper';

CREATE FUNCTION "workflow_run_record"()
    RETURNS TRIGGER
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'workflow_run_record_wrapper';

-- The registry of queues.
create table absurd.queues (
    queue_name          text primary key,
    created_at          timestamptz not null default clock_timestamp(),
    storage_mode        text not null default 'unpartitioned'
        constraint queues_storage_mode_check check (storage_mode in ('unpartitioned', 'partitioned')),
    default_partition   text not null default 'enabled'
        constraint queues_default_partition_check check (default_partition in ('enabled', 'disabled')),
    partition_lookahead interval not null default '28 days'
        constraint queues_partition_lookahead_check check (partition_lookahead >= '0'),
    partition_lookback  interval not null default '1 day'
        constraint queues_partition_lookback_check check (partition_lookback >= '0'),
    cleanup_ttl         interval not null default '30 days'
        constraint queues_cleanup_ttl_check check (cleanup_ttl >= '0'),
    cleanup_limit       integer not null default 1000
        constraint queues_cleanup_limit_check check (cleanup_limit >= 1),
    detach_mode         text not null default 'none'
        constraint queues_detach_mode_check check (detach_mode in ('none', 'empty')),
    detach_min_age      interval not null default '30 days'
        constraint queues_detach_min_age_check check (detach_min_age >= '0'),
    notify              boolean not null default false
);

-- Backends remember which queues want notifications until they are told of a change.
create trigger queues_changed
    after update of notify or delete on absurd.queues
    for each statement execute function absurd.queues_changed();
revoke execute on function absurd.queues_changed() from public;

-- The queues' own tables are not members of the extension, so a dump carries them; the registry
-- is a member, and its rows must be asked for.
select pg_catalog.pg_extension_config_dump('absurd.queues', '');

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

-- Where the ready runs of a queue begin, once scanning for them has become costly; see
-- src/task/front/. A hint that any backend can find anew, so neither the log nor a dump carries it.
create unlogged table absurd.queue_watermark (
    queue_name        text primary key,
    scanned_at        timestamptz not null,
    fully_scanned_at  timestamptz not null,
    scan_seconds      double precision not null,
    full_scan_blocks  bigint not null,
    full_scan_seconds double precision not null,
    is_bypassed       boolean not null,
    is_overdue        boolean not null,
    sweeps_confirmed  timestamptz[] not null,
    sweep_candidates  timestamptz[] not null,
    priorities        smallint[] not null,
    low_watermarks    timestamptz[] not null,
    confirmed         timestamptz[] not null,
    candidates        timestamptz[] not null,
    weeks             text[] not null,
    weeks_until       timestamptz[] not null,
    late_priorities   smallint[] not null,
    late_due_times    timestamptz[] not null,
    late_runs         uuid[] not null
) with (fillfactor = 10);

comment on table absurd.queue_watermark is
    'Where the ready runs of a queue begin, when it has many weeks, or when an old snapshot keeps the index entries of claimed runs in front. Written by claims, about once a second; may be emptied at any time.';
comment on column absurd.queue_watermark.queue_name is 'Name of the queue.';
comment on column absurd.queue_watermark.scanned_at is 'When a claim last scanned what may have changed.';
comment on column absurd.queue_watermark.fully_scanned_at is 'When a claim last scanned everything.';
comment on column absurd.queue_watermark.scan_seconds is 'Seconds that the scan of what may have changed took; 0 where there were full scans alone.';
comment on column absurd.queue_watermark.full_scan_blocks is 'Blocks of tables and indexes that the last full scan took.';
comment on column absurd.queue_watermark.full_scan_seconds is 'Seconds that the last full scan took.';
comment on column absurd.queue_watermark.is_bypassed is 'Whether scanning costs no more than with any other queue, so that claims do not rely on this row.';
comment on column absurd.queue_watermark.is_overdue is 'Whether a lease, an attempt or a cancellation rule was overdue.';
comment on column absurd.queue_watermark.sweeps_confirmed is 'Of cancellation rules, leases and attempts: the time before which none is overdue.';
comment on column absurd.queue_watermark.sweep_candidates is 'Of each of these, the time that the next scan may confirm.';
comment on column absurd.queue_watermark.priorities is 'Priorities in which runs may be ready, highest first.';
comment on column absurd.queue_watermark.low_watermarks is 'Of each of these, the due time at which claims begin.';
comment on column absurd.queue_watermark.confirmed is 'Of each, the due time at which the next scan begins: before it are late runs alone.';
comment on column absurd.queue_watermark.candidates is 'Of each, the due time at which the scan after that will begin.';
comment on column absurd.queue_watermark.weeks is 'Of each, the tag of the week whose runs come first, in a partitioned queue.';
comment on column absurd.queue_watermark.weeks_until is 'Of each, the due time from which on runs of other weeks may come first.';
comment on column absurd.queue_watermark.late_priorities is 'Priorities of late runs: those before the watermarks, whose transaction has not ended or which somebody holds.';
comment on column absurd.queue_watermark.late_due_times is 'When each of these became due.';
comment on column absurd.queue_watermark.late_runs is 'Their ids.';

-- Due times before the watermarks of a queue at which runs have been made ready; see
-- src/queue/behind.rs.
create unlogged table absurd.queue_late (
    queue_name   text not null,
    available_at timestamptz not null
);

create index queue_late_queue on absurd.queue_late (queue_name);

comment on table absurd.queue_late is
    'Due times of late runs: those made ready before the watermarks of a queue (absurd.queue_watermark) since a claim last scanned; the next scan takes them. May be emptied at any time.';
comment on column absurd.queue_late.queue_name is 'Name of the queue.';
comment on column absurd.queue_late.available_at is 'The due time.';

-- Who has which access, for queues that are made later; see src/queue/grants.rs. A role's id, so
-- that a role made anew under its name inherits nothing, and so that a missing role does not stop a
-- restore.
create table absurd.queue_access (
    role_id    oid not null,
    role_name  text not null,
    system_id  bigint not null,
    access     text not null
        constraint queue_access_access_check
        check (access in ('producer', 'worker', 'viewer', 'admin')),
    queue_name text
);

create unique index queue_access_key
    on absurd.queue_access (role_id, access, (coalesce(queue_name, '')));
-- Its key is an expression, which a publication of all tables cannot use.
alter table absurd.queue_access replica identity full;

select pg_catalog.pg_extension_config_dump('absurd.queue_access', '');

comment on table absurd.queue_access is
    'Which roles have been given which access by grant_access(), so that queues made later are theirs too.';
comment on column absurd.queue_access.role_id is 'Id of the role.';
comment on column absurd.queue_access.role_name is 'What the role was called then.';
comment on column absurd.queue_access.system_id is 'The cluster that the id is of.';
comment on column absurd.queue_access.access is 'producer, worker, viewer or admin.';
comment on column absurd.queue_access.queue_name is 'Queue, null for every one.';

-- Work that cannot go on now; see src/task/stuck.rs.
create table absurd.stuck_work (
    queue     text not null,
    kind      text not null,
    id        uuid not null,
    since     timestamptz not null,
    attempts  integer not null,
    error     jsonb not null,
    next_try  timestamptz not null,
    -- Empty where the work fails whoever does it.
    role_name text not null,
    primary key (queue, kind, id, role_name)
);

create index stuck_work_next on absurd.stuck_work (queue, next_try);

comment on table absurd.stuck_work is
    'Work that came due and failed: set aside so that everything else goes on, and tried again by claims and advance_timers at next_try. A row vanishes when the work succeeds or is gone. Deleting one has it tried at once. Written by the engine alone.';
comment on column absurd.stuck_work.queue is 'Name of the queue whose claims would do the work.';
comment on column absurd.stuck_work.kind is 'workflow: a tree of workflow runs that has a due timer or a stimulus; lease, attempt: a run whose lease, or whose attempt''s time, has ended; cancellation: a task whose cancellation rule has come due; run: a run of an ended task, or of none; claim: a ready run that cannot be handed out.';
comment on column absurd.stuck_work.id is 'Of a workflow the root''s workflow_run_id, of a cancellation the task_id, else the run_id.';
comment on column absurd.stuck_work.since is 'When the work failed first.';
comment on column absurd.stuck_work.attempts is 'How often it has failed.';
comment on column absurd.stuck_work.error is 'The last failure: sqlstate, message and, where there are any, detail and hint.';
comment on column absurd.stuck_work.next_try is 'When it will be tried again: 1 second after the first failure, then twice as long each time, up to an hour.';
comment on column absurd.stuck_work.role_name is 'The role that was denied the work, for which alone it is set aside; empty for every role.';

-- Workflow runs as clients track them. The checks here are those that a row can answer for itself;
-- which status may follow which is the business of the trigger workflow_run_guard.
create table absurd.workflow_run (
    workflow_run_id  uuid primary key default gen_random_uuid(),
    workflow_name    text not null
        constraint workflow_run_workflow_name_check
        check (workflow_name ~ '^[a-z][a-z0-9_]*$' and workflow_name !~ '__|_$'),
    workflow_version text not null
        constraint workflow_run_workflow_version_check
        check (workflow_version ~ '^[a-zA-Z0-9._-]+$' and workflow_version !~ '__|_$'),
    workflow_hash    text
        constraint workflow_run_workflow_hash_check check (workflow_hash ~ '\S'),
    status           text not null default 'pending'
        constraint workflow_run_status_check
        check (status in ('pending', 'running', 'completed', 'failed', 'cancelled')),
    absurd_run_id    uuid,
    absurd_queue     text,
    inputs           jsonb,
    created_by       text,
    tags             jsonb
        constraint workflow_run_tags_check check (jsonb_typeof(tags) = 'object'),
    result           jsonb,
    error            jsonb
        constraint workflow_run_error_check
        check (error is null or status in ('failed', 'cancelled')),
    started_at       timestamptz,
    completed_at     timestamptz
        constraint workflow_run_completed_at_check check (completed_at >= started_at),
    task_count       integer
        constraint workflow_run_task_count_check check (task_count >= 0),
    created_at       timestamptz not null,
    updated_at       timestamptz,
    root_run_id      uuid,
    parent_run_id    uuid,
    parent_step      text,
    -- A run that a document ended keeps its result, whatever status it was ended with.
    constraint workflow_run_result_check
        check (result is null or status = 'completed' or root_run_id is not null)
);

create index workflow_run_newest on absurd.workflow_run (created_at desc, workflow_run_id desc);
create index workflow_run_by_name
    on absurd.workflow_run (workflow_name, created_at desc, workflow_run_id desc);
create index workflow_run_open
    on absurd.workflow_run (created_at desc, workflow_run_id desc)
    where status in ('pending', 'running');
create index workflow_run_children on absurd.workflow_run (parent_run_id)
    where parent_run_id is not null;

create trigger workflow_run_guard
    before insert or update on absurd.workflow_run
    for each row execute function absurd.workflow_run_guard();
create trigger workflow_run_record
    after update of status on absurd.workflow_run
    for each row when (old.status is distinct from new.status)
    execute function absurd.workflow_run_record();
-- The history is written by the extension's owner: who may move a run cannot forge its past.
alter function absurd.workflow_run_record() security definer;
alter function absurd.workflow_run_record() set search_path = pg_catalog, pg_temp;
revoke execute on function absurd.workflow_run_guard(), absurd.workflow_run_record() from public;

select pg_catalog.pg_extension_config_dump('absurd.workflow_run', '');

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
comment on column absurd.workflow_run.root_run_id is 'Of a run that the database executes: the run at the root of its tree, itself when it is no child; null for other runs. Never changes.';
comment on column absurd.workflow_run.parent_run_id is 'Of a child run: the run whose step started it. Never changes.';
comment on column absurd.workflow_run.parent_step is 'Of a child run: the path of the step that started it.';

-- A status never comes back, so the status reached is a key, and no sequence is needed.
create table absurd.workflow_transition (
    workflow_run_id uuid not null references absurd.workflow_run on delete cascade,
    to_status       text not null,
    from_status     text not null,
    changed_at      timestamptz not null,
    changed_by      text not null,
    number          integer not null,
    primary key (workflow_run_id, number)
);

select pg_catalog.pg_extension_config_dump('absurd.workflow_transition', '');

comment on table absurd.workflow_transition is
    'Every change of a workflow run''s status. Written by the engine alone; read it with workflow_run_history().';
comment on column absurd.workflow_transition.workflow_run_id is 'The workflow run.';
comment on column absurd.workflow_transition.to_status is 'Status that it went to.';
comment on column absurd.workflow_transition.from_status is 'Status that it came from.';
comment on column absurd.workflow_transition.changed_at is 'When the status changed.';
comment on column absurd.workflow_transition.changed_by is 'Role that changed it.';
comment on column absurd.workflow_transition.number is 'Which change of the run it is, from 1.';

create table absurd.workflow_definition (
    workflow_name    text not null
        constraint workflow_definition_workflow_name_check
        check (workflow_name ~ '^[a-z][a-z0-9_]*$' and workflow_name !~ '__|_$'),
    workflow_version text not null
        constraint workflow_definition_workflow_version_check
        check (workflow_version ~ '^[a-zA-Z0-9._-]+$' and workflow_version !~ '__|_$'),
    registration     bigint not null unique,
    workflow_hash    text not null,
    document         jsonb not null,
    queue_name       text,
    registered_at    timestamptz not null,
    registered_by    text not null,
    primary key (workflow_name, workflow_version)
);

create index workflow_definition_latest
    on absurd.workflow_definition (workflow_name, registration desc);

create trigger workflow_definition_deleted
    after delete on absurd.workflow_definition
    for each row execute function absurd.workflow_definition_deleted();
-- Who deletes a definition need not see the runs that it would leave without one.
alter function absurd.workflow_definition_deleted() security definer;
alter function absurd.workflow_definition_deleted() set search_path = pg_catalog, pg_temp;
revoke execute on function absurd.workflow_definition_deleted() from public;

select pg_catalog.pg_extension_config_dump('absurd.workflow_definition', '');

comment on table absurd.workflow_definition is
    'Registered workflow documents. Written by register_workflow(); a row never changes but for its queue.';
comment on column absurd.workflow_definition.workflow_name is 'Name of the workflow.';
comment on column absurd.workflow_definition.workflow_version is 'Version of the workflow.';
comment on column absurd.workflow_definition.registration is 'Place in the order of registrations; the greatest of a name is its latest version.';
comment on column absurd.workflow_definition.workflow_hash is 'SHA-256 of the canonical document, in hexadecimal.';
comment on column absurd.workflow_definition.document is 'The document in its canonical form: defaults filled in, unknown fields dropped.';
comment on column absurd.workflow_definition.queue_name is 'Queue that runs work with unless they name another.';
comment on column absurd.workflow_definition.registered_at is 'When it was registered.';
comment on column absurd.workflow_definition.registered_by is 'Role that registered it.';

-- Runs of workflow documents that the database executes.
--
-- Only what a client could get wrong is checked by the tables: what the engine alone writes is not,
-- since Postgres would read each check anew with every statement. What a run consists of
-- (workflow_scope, workflow_step, ...) hangs on its id without foreign keys: a check per row would
-- cost more than the row. A trigger removes it with the run.
create table absurd.workflow_execution (
    -- Checked when the transaction ends: the two rows are written with different rights.
    workflow_run_id  uuid primary key references absurd.workflow_run on delete cascade
                     deferrable initially deferred,
    root_run_id      uuid not null,
    parent_run_id    uuid,
    parent_scope     integer,
    parent_node      integer,
    parent_branch    text,
    depth            integer not null,
    workflow_name    text not null,
    workflow_version text not null,
    workflow_hash    text not null,
    queue_name       text not null,
    status           text not null,
    transitions      bigint not null default 0,
    next_scope       integer not null,
    idempotency_key  text,
    bounded          boolean not null,
    started_at       timestamptz,
    result           jsonb,
    retries          integer,
    parent_place     integer[],
    paused_at        timestamptz
) with (fillfactor = 50);

create index workflow_execution_tree on absurd.workflow_execution (root_run_id);
create index workflow_execution_step
    on absurd.workflow_execution (parent_run_id, parent_scope, parent_node)
    where parent_run_id is not null;
create index workflow_execution_open
    on absurd.workflow_execution (workflow_name, status, workflow_run_id)
    where parent_run_id is null and status in ('pending', 'running');
create unique index workflow_execution_key
    on absurd.workflow_execution (workflow_name, idempotency_key)
    where idempotency_key is not null;

create trigger workflow_execution_forget
    after delete on absurd.workflow_execution
    for each row execute function absurd.workflow_execution_forget();
-- Who may delete a run removes all of it.
alter function absurd.workflow_execution_forget() security definer;
alter function absurd.workflow_execution_forget() set search_path = pg_catalog, pg_temp;
revoke execute on function absurd.workflow_execution_forget() from public;

select pg_catalog.pg_extension_config_dump('absurd.workflow_execution', '');

comment on table absurd.workflow_execution is
    'One row per workflow run that the database executes. The row of a root run is the lock of its tree. Written by the engine alone.';
comment on column absurd.workflow_execution.workflow_run_id is 'The workflow run.';
comment on column absurd.workflow_execution.root_run_id is 'Run at the root of the tree, itself for a root.';
comment on column absurd.workflow_execution.parent_run_id is 'Run whose step started this one, null for a root.';
comment on column absurd.workflow_execution.parent_scope is 'Scope instance of that step.';
comment on column absurd.workflow_execution.parent_node is 'Node of that step.';
comment on column absurd.workflow_execution.parent_branch is 'Name that the child has in that step.';
comment on column absurd.workflow_execution.depth is 'Runs between this one and the root.';
comment on column absurd.workflow_execution.workflow_name is 'Name of the workflow.';
comment on column absurd.workflow_execution.workflow_version is 'Version that the run started with and keeps.';
comment on column absurd.workflow_execution.workflow_hash is 'SHA-256 of the document that it executes.';
comment on column absurd.workflow_execution.queue_name is 'Queue of its tasks and events.';
comment on column absurd.workflow_execution.status is 'As in absurd.workflow_run.';
comment on column absurd.workflow_execution.transitions is 'Of a root: the transitions of its tree so far.';
comment on column absurd.workflow_execution.next_scope is 'Number that the next scope instance gets.';
comment on column absurd.workflow_execution.idempotency_key is 'Key that start_workflow finds the run by, unique in its workflow.';
comment on column absurd.workflow_execution.bounded is 'Whether the run waits its turn under max_active_runs.';
comment on column absurd.workflow_execution.started_at is 'When the run started.';
comment on column absurd.workflow_execution.result is 'Result of a run that a terminate step ended with another status than completed.';
comment on column absurd.workflow_execution.retries is 'How often retry_workflow_run() has started it again; null for never.';
comment on column absurd.workflow_execution.paused_at is 'Of a root, since when pause_workflow_run() holds its tree up.';
comment on column absurd.workflow_execution.parent_place is 'Of a child whose parent was retried, the place of the step that takes it up again.';

create table absurd.workflow_scope (
    workflow_run_id  uuid not null,
    scope            integer not null,
    definition_scope integer not null,
    parent_scope     integer,
    parent_node      integer,
    ordinal          integer not null,
    chain            integer[] not null,
    context          integer not null,
    path             text not null,
    phase            text not null,
    open             integer not null,
    failed_sinks     integer not null,
    item             jsonb,
    result           jsonb,
    error            jsonb,
    primary key (workflow_run_id, scope)
) with (fillfactor = 70);

create unique index workflow_scope_inner
    on absurd.workflow_scope (workflow_run_id, parent_scope, parent_node, ordinal)
    where parent_scope is not null;

select pg_catalog.pg_extension_config_dump('absurd.workflow_scope', '');

comment on table absurd.workflow_scope is
    'Scope instances of executed runs: the root, branches and iterations. Written by the engine alone.';
comment on column absurd.workflow_scope.workflow_run_id is 'The workflow run.';
comment on column absurd.workflow_scope.scope is 'Number of the instance in its run; the root''s is 0.';
comment on column absurd.workflow_scope.definition_scope is 'Number of the scope in the compiled document.';
comment on column absurd.workflow_scope.parent_scope is 'Instance that the container is in.';
comment on column absurd.workflow_scope.parent_node is 'Node of the container.';
comment on column absurd.workflow_scope.ordinal is 'Which branch, in the order of names, or iteration it is, from 0.';
comment on column absurd.workflow_scope.chain is 'Enclosing instances, the root first.';
comment on column absurd.workflow_scope.context is 'Instance that result keys written here go to.';
comment on column absurd.workflow_scope.path is 'What stands before the names of its steps in their paths.';
comment on column absurd.workflow_scope.phase is 'waiting, open, finished, or the state that steps which had not started were given when it was closed: skipped or upstream_failed.';
comment on column absurd.workflow_scope.open is 'Steps that have not ended.';
comment on column absurd.workflow_scope.failed_sinks is 'Last steps that failed.';
comment on column absurd.workflow_scope.item is 'Item of an iteration of a foreach.';
comment on column absurd.workflow_scope.result is 'Result of an instance that has ended.';
comment on column absurd.workflow_scope.error is 'Error of an instance that has failed.';

create table absurd.workflow_step (
    workflow_run_id   uuid not null,
    scope             integer not null,
    node              integer not null,
    state             text not null,
    dependencies      integer[],
    routers           integer[],
    inputs            integer[],
    referrers         integer not null,
    trigger_node      integer,
    trigger_succeeded boolean,
    selected          integer,
    open              integer not null,
    iterations        integer not null,
    first_failed      integer,
    task_id           uuid,
    attempts          integer not null,
    event_name        text,
    result            jsonb,
    error             jsonb,
    started_at        timestamptz,
    finished_at       timestamptz,
    started           bigint,
    finished          bigint,
    primary key (workflow_run_id, scope, node)
) with (fillfactor = 70);

-- No index mentions the state, so that a step ends within its page.
create index workflow_step_task on absurd.workflow_step (task_id) where task_id is not null;

select pg_catalog.pg_extension_config_dump('absurd.workflow_step', '');

comment on table absurd.workflow_step is
    'Steps of executed runs that something has happened to; workflow_run_steps() shows the others too. Written by the engine alone.';
comment on column absurd.workflow_step.workflow_run_id is 'The workflow run.';
comment on column absurd.workflow_step.scope is 'Scope instance that the step is in.';
comment on column absurd.workflow_step.node is 'Number of the node in the compiled document.';
comment on column absurd.workflow_step.state is 'pending, running, completed, failed, skipped, upstream_failed or cancelled.';
comment on column absurd.workflow_step.dependencies is 'Dependencies that have completed, failed and been skipped.';
comment on column absurd.workflow_step.routers is 'Routers that selected the step, failed, and did not select it.';
comment on column absurd.workflow_step.inputs is 'Inputs of a join that have completed, failed and been skipped.';
comment on column absurd.workflow_step.referrers is 'Steps that have ended of those that name this one as their handler.';
comment on column absurd.workflow_step.trigger_node is 'Node whose end triggered a handler.';
comment on column absurd.workflow_step.trigger_succeeded is 'Whether that node completed.';
comment on column absurd.workflow_step.selected is 'Node that a router selected.';
comment on column absurd.workflow_step.open is 'Branches, iterations or child runs that have not ended.';
comment on column absurd.workflow_step.iterations is 'Iterations known of a loop.';
comment on column absurd.workflow_step.first_failed is 'First branch or iteration that failed.';
comment on column absurd.workflow_step.task_id is 'Queue task that works the step.';
comment on column absurd.workflow_step.attempts is 'Attempts that the task has made.';
comment on column absurd.workflow_step.event_name is 'Event that the step waits for.';
comment on column absurd.workflow_step.result is 'Result of a completed step.';
comment on column absurd.workflow_step.error is 'Error of a failed step.';
comment on column absurd.workflow_step.started_at is 'When the step started.';
comment on column absurd.workflow_step.finished_at is 'When the step ended.';
comment on column absurd.workflow_step.started is 'Place of its start in the order of all that happens in the tree.';
comment on column absurd.workflow_step.finished is 'Place of its end in that order.';

create table absurd.workflow_value (
    workflow_run_id uuid not null,
    context         integer not null,
    key             text not null,
    source_scope    integer not null,
    source_node     integer not null,
    primary key (workflow_run_id, context, key)
);

select pg_catalog.pg_extension_config_dump('absurd.workflow_value', '');

comment on table absurd.workflow_value is
    'Result keys of executed runs, each with the step whose result it names. Written by the engine alone.';
comment on column absurd.workflow_value.workflow_run_id is 'The workflow run.';
comment on column absurd.workflow_value.context is 'Scope instance in which the key was written.';
comment on column absurd.workflow_value.key is 'The result key.';
comment on column absurd.workflow_value.source_scope is 'Scope instance of the step.';
comment on column absurd.workflow_value.source_node is 'Node of the step.';

create table absurd.workflow_items (
    workflow_run_id uuid not null,
    scope           integer not null,
    node            integer not null,
    first           integer not null,
    count           integer not null,
    -- JSON that is read once, a piece at a time: as jsonb a million items would take a second to
    -- store.
    items           text not null,
    primary key (workflow_run_id, scope, node, first)
);

select pg_catalog.pg_extension_config_dump('absurd.workflow_items', '');

comment on table absurd.workflow_items is
    'Items of foreach steps that have no iterations yet: a loop of more than 1,000 is begun in pieces. Written by the engine alone.';
comment on column absurd.workflow_items.workflow_run_id is 'The run.';
comment on column absurd.workflow_items.scope is 'Scope instance of the loop''s step.';
comment on column absurd.workflow_items.node is 'Node of the loop''s step.';
comment on column absurd.workflow_items.first is 'Index of the first of these items.';
comment on column absurd.workflow_items.count is 'How many they are.';
comment on column absurd.workflow_items.items is 'The items, a JSON array; deleted when their iterations are made.';

create table absurd.workflow_kept (
    workflow_run_id uuid not null,
    place           integer[] not null,
    state           text not null,
    selected        integer,
    task_id         uuid,
    attempts        integer not null,
    result          jsonb,
    error           jsonb,
    started_at      timestamptz,
    finished_at     timestamptz,
    ended           bigint not null,
    is_given        boolean not null,
    is_entered      boolean not null,
    primary key (workflow_run_id, place)
);

select pg_catalog.pg_extension_config_dump('absurd.workflow_kept', '');

comment on table absurd.workflow_kept is
    'How steps of executed runs ended before the run was retried: they end so again when their turn comes. Written by the engine alone.';
comment on column absurd.workflow_kept.workflow_run_id is 'The workflow run.';
comment on column absurd.workflow_kept.place is 'Where the step stands: of each container around it node and ordinal, then its node.';
comment on column absurd.workflow_kept.state is 'State that the step had, or running for a loop whose items are kept.';
comment on column absurd.workflow_kept.selected is 'Node that a router selected.';
comment on column absurd.workflow_kept.task_id is 'Queue task that worked the step.';
comment on column absurd.workflow_kept.attempts is 'Attempts that the task made.';
comment on column absurd.workflow_kept.result is 'Result of the step, or the items of the loop.';
comment on column absurd.workflow_kept.error is 'Error of the step.';
comment on column absurd.workflow_kept.started_at is 'When the step started.';
comment on column absurd.workflow_kept.finished_at is 'When the step ended.';
comment on column absurd.workflow_kept.ended is 'Its place in the order of ends; 0 for what skip_step() gave.';
comment on column absurd.workflow_kept.is_entered is 'Whether it is a container that was ended from outside: what is inside it ends as it did before.';
comment on column absurd.workflow_kept.is_given is 'Whether skip_step() gave the result.';

create table absurd.workflow_timer (
    workflow_run_id uuid not null,
    scope           integer not null,
    node            integer not null,
    root_run_id     uuid not null,
    queue_name      text not null,
    kind            text not null,
    due_at          timestamptz not null,
    primary key (workflow_run_id, scope, node)
);

create index workflow_timer_due on absurd.workflow_timer (queue_name, due_at);
create index workflow_timer_root on absurd.workflow_timer (root_run_id, due_at);

select pg_catalog.pg_extension_config_dump('absurd.workflow_timer', '');

comment on table absurd.workflow_timer is
    'Instants that executed runs and their steps wait for. Written by the engine alone.';
comment on column absurd.workflow_timer.workflow_run_id is 'The workflow run.';
comment on column absurd.workflow_timer.scope is 'Scope instance of the step, -1 for the run itself.';
comment on column absurd.workflow_timer.node is 'Node of the step, -1 for the run itself.';
comment on column absurd.workflow_timer.root_run_id is 'Root of the run''s tree.';
comment on column absurd.workflow_timer.queue_name is 'Queue whose claims fire the timer.';
comment on column absurd.workflow_timer.kind is 'wake, timeout, deadline, or admit: look again whether a waiting run may start.';
comment on column absurd.workflow_timer.due_at is 'When the timer fires.';

create table absurd.workflow_wait (
    workflow_run_id uuid not null,
    scope           integer not null,
    node            integer not null,
    root_run_id     uuid not null,
    queue_name      text not null,
    event_name      text not null,
    primary key (workflow_run_id, scope, node)
);

create index workflow_wait_event on absurd.workflow_wait (queue_name, event_name);

select pg_catalog.pg_extension_config_dump('absurd.workflow_wait', '');

comment on table absurd.workflow_wait is
    'Steps of executed runs that wait for an event. Written by the engine alone.';
comment on column absurd.workflow_wait.workflow_run_id is 'The workflow run.';
comment on column absurd.workflow_wait.scope is 'Scope instance of the step.';
comment on column absurd.workflow_wait.node is 'Node of the step.';
comment on column absurd.workflow_wait.root_run_id is 'Root of the run''s tree.';
comment on column absurd.workflow_wait.queue_name is 'Queue of the event.';
comment on column absurd.workflow_wait.event_name is 'Name of the event.';

create table absurd.workflow_stimulus (
    stimulus_id     uuid primary key,
    arrived_at      timestamptz not null,
    happened_at     timestamptz not null,
    workflow_run_id uuid not null,
    root_run_id     uuid not null,
    queue_name      text not null,
    kind            text not null,
    scope           integer,
    node            integer,
    payload         jsonb
);

create index workflow_stimulus_root
    on absurd.workflow_stimulus (root_run_id, arrived_at, stimulus_id);
create index workflow_stimulus_queue on absurd.workflow_stimulus (queue_name, arrived_at);

select pg_catalog.pg_extension_config_dump('absurd.workflow_stimulus', '');

comment on table absurd.workflow_stimulus is
    'What has happened to executed runs while others were at work on them, taken up by who next holds the tree. Written by the engine alone.';
comment on column absurd.workflow_stimulus.stimulus_id is 'Id of the stimulus.';
comment on column absurd.workflow_stimulus.arrived_at is 'When it arrived, by the wall clock: the order in which stimuli are taken up.';
comment on column absurd.workflow_stimulus.happened_at is 'When it happened, by absurd.current_time(); of an attempt whose lease or time has ended, that instant. Timers that were due by then fire before it.';
comment on column absurd.workflow_stimulus.workflow_run_id is 'Workflow run that it concerns.';
comment on column absurd.workflow_stimulus.root_run_id is 'Root of the run''s tree.';
comment on column absurd.workflow_stimulus.queue_name is 'Queue whose claims take it up.';
comment on column absurd.workflow_stimulus.kind is 'task, attempt, event, look, emit, continue or admit.';
comment on column absurd.workflow_stimulus.scope is 'Scope instance of the step that it concerns.';
comment on column absurd.workflow_stimulus.node is 'Node of that step.';
comment on column absurd.workflow_stimulus.payload is 'What more there is to know of it.';

create table absurd.workflow_breaker (
    workflow_name text not null,
    step_name     text not null,
    failures      integer not null,
    successes     integer not null,
    open_until    timestamptz,
    probing_run   uuid,
    probing_scope integer,
    probing_node  integer,
    primary key (workflow_name, step_name)
);

select pg_catalog.pg_extension_config_dump('absurd.workflow_breaker', '');

comment on table absurd.workflow_breaker is
    'Circuit breakers that have counted something, one per workflow name and step. Written by the engine alone.';
comment on column absurd.workflow_breaker.workflow_name is 'Name of the workflow; all its versions share the breaker.';
comment on column absurd.workflow_breaker.step_name is 'Name of the step.';
comment on column absurd.workflow_breaker.failures is 'Consecutive counted failures while the breaker is closed.';
comment on column absurd.workflow_breaker.successes is 'Consecutive successes since isolation ended.';
comment on column absurd.workflow_breaker.open_until is 'When isolation ends or ended; null for a closed breaker.';
comment on column absurd.workflow_breaker.probing_run is 'Run whose attempt tries whether it works again.';
comment on column absurd.workflow_breaker.probing_scope is 'Scope instance of the step that tries.';
comment on column absurd.workflow_breaker.probing_node is 'Node of the step that tries.';

create table absurd.workflow_schedule (
    workflow_name    text primary key,
    workflow_version text not null,
    queue_name       text,
    is_paused        boolean not null,
    since            timestamptz not null,
    last_trigger     timestamptz,
    next_trigger     timestamptz
);

create index workflow_schedule_due on absurd.workflow_schedule (next_trigger)
    where not is_paused;

select pg_catalog.pg_extension_config_dump('absurd.workflow_schedule', '');

comment on table absurd.workflow_schedule is
    'One row per registered workflow: its schedule. Its lock keeps decisions about max_active_runs apart. Written by register_workflow, pause_workflow, resume_workflow and run_schedules.';
comment on column absurd.workflow_schedule.workflow_name is 'Name of the workflow.';
comment on column absurd.workflow_schedule.workflow_version is 'Version registered last, whose schedule counts.';
comment on column absurd.workflow_schedule.queue_name is 'Queue of scheduled runs; without one there are none.';
comment on column absurd.workflow_schedule.is_paused is 'Whether the schedule stands still.';
comment on column absurd.workflow_schedule.since is 'When it was registered or last resumed.';
comment on column absurd.workflow_schedule.last_trigger is 'Last trigger that was dealt with.';
comment on column absurd.workflow_schedule.next_trigger is 'Next trigger, null for none.';

CREATE FUNCTION "adopt_queue"(
    "p_queue_name" TEXT
) RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'adopt_queue_wrapper';

CREATE FUNCTION "fast_path"() RETURNS TABLE (
    "table_name" TEXT,
    "is_used" bool,
    "reason" TEXT,
    "used" bigint,
    "fell_back" bigint
)
STRICT
LANGUAGE c
AS 'MODULE_PATHNAME', 'fast_path_wrapper';

CREATE FUNCTION "grant_access"(
    "p_role" regrole,
    "p_access" TEXT,
    "p_queue_name" TEXT DEFAULT NULL
) RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'grant_access_wrapper';

CREATE FUNCTION "revoke_access"(
    "p_role" regrole,
    "p_access" TEXT,
    "p_queue_name" TEXT DEFAULT NULL
) RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'revoke_access_wrapper';

CREATE FUNCTION "complete_runs"(
    "p_queue_name" TEXT,
    "p_run_ids" uuid[],
    "p_states" jsonb[] DEFAULT NULL
) RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'complete_runs_wrapper';

CREATE FUNCTION "emit_events"(
    "p_queue_name" TEXT,
    "p_event_names" TEXT[],
    "p_payloads" jsonb[] DEFAULT NULL
) RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'emit_events_wrapper';

CREATE FUNCTION "fail_runs"(
    "p_queue_name" TEXT,
    "p_run_ids" uuid[],
    "p_reasons" jsonb[] DEFAULT NULL,
    "p_retry_at" timestamptz DEFAULT NULL
) RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'fail_runs_wrapper';

CREATE FUNCTION "spawn_tasks"(
    "p_queue_name" TEXT,
    "p_tasks" jsonb
) RETURNS TABLE (
    "task_id" uuid,
    "run_id" uuid,
    "attempt" INT,
    "created" bool
)
LANGUAGE c
AS 'MODULE_PATHNAME', 'spawn_tasks_wrapper';

CREATE FUNCTION "get_checkpoints_for_run"(
    "p_queue_name" TEXT,
    "p_run_id" uuid
) RETURNS TABLE (
    "checkpoint_name" TEXT,
    "state" jsonb,
    "status" TEXT,
    "owner_run_id" uuid,
    "updated_at" timestamptz
)
LANGUAGE c
AS 'MODULE_PATHNAME', 'get_checkpoints_for_run_wrapper';

CREATE FUNCTION "get_run_checkpoint"(
    "p_queue_name" TEXT,
    "p_run_id" uuid,
    "p_step_name" TEXT
) RETURNS jsonb
LANGUAGE c
AS 'MODULE_PATHNAME', 'get_run_checkpoint_wrapper';

CREATE FUNCTION "get_task_checkpoint_state"(
    "p_queue_name" TEXT,
    "p_task_id" uuid,
    "p_step_name" TEXT,
    "p_include_pending" bool DEFAULT false
) RETURNS TABLE (
    "checkpoint_name" TEXT,
    "state" jsonb,
    "status" TEXT,
    "owner_run_id" uuid,
    "updated_at" timestamptz
)
LANGUAGE c
AS 'MODULE_PATHNAME', 'get_task_checkpoint_state_wrapper';

CREATE FUNCTION "get_task_checkpoint_states"(
    "p_queue_name" TEXT,
    "p_task_id" uuid,
    "p_run_id" uuid
) RETURNS TABLE (
    "checkpoint_name" TEXT,
    "state" jsonb,
    "status" TEXT,
    "owner_run_id" uuid,
    "updated_at" timestamptz
)
LANGUAGE c
AS 'MODULE_PATHNAME', 'get_task_checkpoint_states_wrapper';

CREATE FUNCTION "save_checkpoint_for_run"(
    "p_queue_name" TEXT,
    "p_run_id" uuid,
    "p_step_name" TEXT,
    "p_data" jsonb,
    "p_task_id" uuid DEFAULT NULL
) RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'save_checkpoint_for_run_wrapper';

CREATE FUNCTION "set_task_checkpoint_state"(
    "p_queue_name" TEXT,
    "p_task_id" uuid,
    "p_step_name" TEXT,
    "p_state" jsonb,
    "p_owner_run" uuid,
    "p_extend_claim_by" INT DEFAULT NULL
) RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'set_task_checkpoint_state_wrapper';

CREATE FUNCTION "disable_cron"(
    "p_queue_name" TEXT DEFAULT NULL
) RETURNS TABLE (
    "job_name" TEXT,
    "job_id" bigint
)
LANGUAGE c
AS 'MODULE_PATHNAME', 'disable_cron_wrapper';

CREATE FUNCTION "enable_cron"(
    "p_queue_name" TEXT DEFAULT NULL,
    "p_partition_schedule" TEXT DEFAULT '5 * * * *',
    "p_cleanup_schedule" TEXT DEFAULT '17 * * * *',
    "p_detach_schedule" TEXT DEFAULT '29 * * * *'
) RETURNS TABLE (
    "job_name" TEXT,
    "job_id" bigint
)
LANGUAGE c
AS 'MODULE_PATHNAME', 'enable_cron_wrapper';

CREATE FUNCTION "schedule_detach_jobs"(
    "p_queue_name" TEXT DEFAULT NULL
) RETURNS TABLE (
    "job_name" TEXT,
    "job_id" bigint,
    "queue_name" TEXT,
    "partition_table" TEXT,
    "job_kind" TEXT
)
LANGUAGE c
AS 'MODULE_PATHNAME', 'schedule_detach_jobs_wrapper';

CREATE FUNCTION "await_event"(
    "p_queue_name" TEXT,
    "p_task_id" uuid,
    "p_run_id" uuid,
    "p_step_name" TEXT,
    "p_event_name" TEXT,
    "p_timeout" INT DEFAULT NULL
) RETURNS TABLE (
    "should_suspend" bool,
    "payload" jsonb
)
LANGUAGE c
AS 'MODULE_PATHNAME', 'await_event_wrapper';

CREATE FUNCTION "emit_event"(
    "p_queue_name" TEXT,
    "p_event_name" TEXT,
    "p_payload" jsonb DEFAULT NULL
) RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'emit_event_wrapper';

CREATE FUNCTION "add_workflow_items"(
    "workflow_run_id" uuid,
    "p_path" TEXT,
    "p_items" jsonb
) RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'add_workflow_items_wrapper';

CREATE FUNCTION "advance_timers"(
    "p_queue_name" TEXT DEFAULT NULL,
    "p_limit" INT DEFAULT 1000
) RETURNS INT
LANGUAGE c
AS 'MODULE_PATHNAME', 'advance_timers_wrapper';

CREATE FUNCTION "canonical_document"(
    "definition" jsonb
) RETURNS TEXT
IMMUTABLE PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'canonical_document_wrapper';

CREATE FUNCTION "delete_workflow"(
    "name" TEXT,
    "version" TEXT DEFAULT NULL
) RETURNS INT
LANGUAGE c
AS 'MODULE_PATHNAME', 'delete_workflow_wrapper';

CREATE FUNCTION "get_workflow"(
    "name" TEXT,
    "version" TEXT DEFAULT NULL
) RETURNS TABLE (
    "workflow_name" TEXT,
    "workflow_version" TEXT,
    "workflow_hash" TEXT,
    "queue_name" TEXT,
    "document" jsonb,
    "is_latest" bool,
    "schedule" TEXT,
    "is_paused" bool,
    "next_trigger" timestamptz,
    "registered_at" timestamptz,
    "registered_by" TEXT
)
LANGUAGE c
AS 'MODULE_PATHNAME', 'get_workflow_wrapper';

CREATE FUNCTION "list_workflows"() RETURNS TABLE (
    "workflow_name" TEXT,
    "workflow_version" TEXT,
    "workflow_hash" TEXT,
    "queue_name" TEXT,
    "is_latest" bool,
    "schedule" TEXT,
    "is_paused" bool,
    "next_trigger" timestamptz,
    "registered_at" timestamptz,
    "registered_by" TEXT
)
STRICT
LANGUAGE c
AS 'MODULE_PATHNAME', 'list_workflows_wrapper';

CREATE FUNCTION "pause_workflow"(
    "name" TEXT
) RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'pause_workflow_wrapper';

CREATE FUNCTION "register_workflow"(
    "p_definition" jsonb,
    "p_queue_name" TEXT DEFAULT NULL
) RETURNS TABLE (
    "workflow_name" TEXT,
    "workflow_version" TEXT,
    "workflow_hash" TEXT,
    "created" bool
)
LANGUAGE c
AS 'MODULE_PATHNAME', 'register_workflow_wrapper';

CREATE FUNCTION "register_workflow_yaml"(
    "p_definition" TEXT,
    "p_queue_name" TEXT DEFAULT NULL
) RETURNS TABLE (
    "workflow_name" TEXT,
    "workflow_version" TEXT,
    "workflow_hash" TEXT,
    "created" bool
)
LANGUAGE c
AS 'MODULE_PATHNAME', 'register_workflow_yaml_wrapper';

CREATE FUNCTION "resume_workflow"(
    "name" TEXT
) RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'resume_workflow_wrapper';

CREATE FUNCTION "run_schedules"(
    "p_limit" INT DEFAULT 100
) RETURNS INT
LANGUAGE c
AS 'MODULE_PATHNAME', 'run_schedules_wrapper';

CREATE FUNCTION "set_current_version"(
    "name" TEXT,
    "version" TEXT
) RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'set_current_version_wrapper';

CREATE FUNCTION "start_workflow"(
    "p_workflow_name" TEXT,
    "p_workflow_version" TEXT DEFAULT NULL,
    "p_inputs" jsonb DEFAULT '{}',
    "p_queue_name" TEXT DEFAULT NULL,
    "p_options" jsonb DEFAULT '{}'
) RETURNS uuid
LANGUAGE c
AS 'MODULE_PATHNAME', 'start_workflow_wrapper';

CREATE FUNCTION "list_event_waits"(
    "p_event_name" TEXT DEFAULT NULL,
    "p_queue_name" TEXT DEFAULT NULL
) RETURNS TABLE (
    "workflow_run_id" uuid,
    "workflow_name" TEXT,
    "path" TEXT,
    "queue_name" TEXT,
    "event_name" TEXT,
    "timeout_at" timestamptz
)
LANGUAGE c
AS 'MODULE_PATHNAME', 'list_event_waits_wrapper';

CREATE FUNCTION "workflow_diagram"(
    "name" TEXT,
    "version" TEXT DEFAULT NULL
) RETURNS TEXT
LANGUAGE c
AS 'MODULE_PATHNAME', 'workflow_diagram_wrapper';

CREATE FUNCTION "workflow_run_context"(
    "workflow_run_id" uuid
) RETURNS jsonb
LANGUAGE c
AS 'MODULE_PATHNAME', 'workflow_run_context_wrapper';

CREATE FUNCTION "workflow_run_diagram"(
    "workflow_run_id" uuid
) RETURNS TEXT
LANGUAGE c
AS 'MODULE_PATHNAME', 'workflow_run_diagram_wrapper';

CREATE FUNCTION "workflow_run_steps"(
    "workflow_run_id" uuid
) RETURNS TABLE (
    "path" TEXT,
    "step_name" TEXT,
    "operator" TEXT,
    "state" TEXT,
    "queue_name" TEXT,
    "task_id" uuid,
    "attempts" INT,
    "started_at" timestamptz,
    "finished_at" timestamptz,
    "result" jsonb,
    "error" jsonb,
    "waiting_for" jsonb,
    "last_error" jsonb
)
LANGUAGE c
AS 'MODULE_PATHNAME', 'workflow_run_steps_wrapper';

CREATE FUNCTION "cleanup_all_queues"(
    "p_queue_name" TEXT DEFAULT NULL
) RETURNS TABLE (
    "queue_name" TEXT,
    "tasks_deleted" INT,
    "events_deleted" INT
)
LANGUAGE c
AS 'MODULE_PATHNAME', 'cleanup_all_queues_wrapper';

CREATE FUNCTION "cleanup_events"(
    "p_queue_name" TEXT,
    "p_ttl_seconds" INT,
    "p_limit" INT DEFAULT 1000
) RETURNS INT
LANGUAGE c
AS 'MODULE_PATHNAME', 'cleanup_events_wrapper';

CREATE FUNCTION "cleanup_tasks"(
    "p_queue_name" TEXT,
    "p_ttl_seconds" INT,
    "p_limit" INT DEFAULT 1000
) RETURNS INT
LANGUAGE c
AS 'MODULE_PATHNAME', 'cleanup_tasks_wrapper';

CREATE FUNCTION "detach_partition"(
    "p_parent_table" TEXT,
    "p_partition_table" TEXT
) RETURNS bool
LANGUAGE c
AS 'MODULE_PATHNAME', 'detach_partition_wrapper';

CREATE FUNCTION "drop_detached_partition"(
    "p_partition_table" TEXT,
    "p_unschedule_job_name" TEXT DEFAULT NULL
) RETURNS bool
LANGUAGE c
AS 'MODULE_PATHNAME', 'drop_detached_partition_wrapper';

CREATE FUNCTION "ensure_partitions"(
    "p_queue_name" TEXT DEFAULT NULL
) RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'ensure_partitions_wrapper';

CREATE FUNCTION "list_detach_candidates"(
    "p_queue_name" TEXT DEFAULT NULL
) RETURNS TABLE (
    "queue_name" TEXT,
    "parent_table" TEXT,
    "partition_table" TEXT
)
LANGUAGE c
AS 'MODULE_PATHNAME', 'list_detach_candidates_wrapper';

CREATE FUNCTION "verify"(
    "p_queue_name" TEXT DEFAULT NULL
) RETURNS TABLE (
    "queue_name" TEXT,
    "kind" TEXT,
    "id" uuid,
    "detail" TEXT
)
LANGUAGE c
AS 'MODULE_PATHNAME', 'verify_wrapper';

CREATE FUNCTION "create_queue"(
    "p_queue_name" TEXT
) RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'create_queue_wrapper';

CREATE FUNCTION "create_queue"(
    "p_queue_name" TEXT,
    "p_storage_mode" TEXT
) RETURNS void

LANGUAGE c
AS 'MODULE_PATHNAME', 'create_queue_with_mode_wrapper';

CREATE FUNCTION "drop_queue"(
    "p_queue_name" TEXT
) RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'drop_queue_wrapper';

CREATE FUNCTION "ensure_queue_tables"(
    "p_queue_name" TEXT
) RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'ensure_queue_tables_wrapper';

CREATE FUNCTION "get_queue_policy"(
    "p_queue_name" TEXT
) RETURNS TABLE (
    "queue_name" TEXT,
    "storage_mode" TEXT,
    "default_partition" TEXT,
    "partition_lookahead" interval,
    "partition_lookback" interval,
    "cleanup_ttl" interval,
    "cleanup_limit" INT,
    "detach_mode" TEXT,
    "detach_min_age" interval
)
LANGUAGE c
AS 'MODULE_PATHNAME', 'get_queue_policy_wrapper';

CREATE FUNCTION "list_queues"() RETURNS TABLE (
    "queue_name" TEXT
)
STRICT
LANGUAGE c
AS 'MODULE_PATHNAME', 'list_queues_wrapper';

CREATE FUNCTION "set_queue_policy"(
    "p_queue_name" TEXT,
    "p_policy" jsonb
) RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'set_queue_policy_wrapper';

CREATE FUNCTION "validate_queue_name"(
    "p_queue_name" TEXT
) RETURNS TEXT
IMMUTABLE PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'validate_queue_name_wrapper';

CREATE FUNCTION "fail_step"(
    "workflow_run_id" uuid,
    "p_path" TEXT,
    "p_reason" TEXT DEFAULT NULL
) RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'fail_step_wrapper';

CREATE FUNCTION "pause_workflow_run"(
    "workflow_run_id" uuid
) RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'pause_workflow_run_wrapper';

CREATE FUNCTION "resume_workflow_run"(
    "workflow_run_id" uuid
) RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'resume_workflow_run_wrapper';

CREATE FUNCTION "retry_workflow_run"(
    "workflow_run_id" uuid,
    "p_from_step" TEXT DEFAULT NULL
) RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'retry_workflow_run_wrapper';

CREATE FUNCTION "skip_step"(
    "workflow_run_id" uuid,
    "p_path" TEXT,
    "p_result" jsonb DEFAULT NULL
) RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'skip_step_wrapper';

CREATE FUNCTION "cancel_task"(
    "p_queue_name" TEXT,
    "p_task_id" uuid
) RETURNS bool
LANGUAGE c
AS 'MODULE_PATHNAME', 'cancel_task_wrapper';

CREATE FUNCTION "claim_task"(
    "p_queue_name" TEXT,
    "p_worker_id" TEXT,
    "p_claim_timeout" INT DEFAULT 30,
    "p_qty" INT DEFAULT 1
) RETURNS TABLE (
    "run_id" uuid,
    "task_id" uuid,
    "attempt" INT,
    "task_name" TEXT,
    "params" jsonb,
    "retry_strategy" jsonb,
    "max_attempts" INT,
    "headers" jsonb,
    "wake_event" TEXT,
    "event_payload" jsonb
)
LANGUAGE c
AS 'MODULE_PATHNAME', 'claim_task_wrapper';

CREATE FUNCTION "complete_run"(
    "p_queue_name" TEXT,
    "p_run_id" uuid,
    "p_state" jsonb DEFAULT NULL
) RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'complete_run_wrapper';

CREATE FUNCTION "extend_claim"(
    "p_queue_name" TEXT,
    "p_run_id" uuid,
    "p_extend_by" INT
) RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'extend_claim_wrapper';

CREATE FUNCTION "fail_run"(
    "p_queue_name" TEXT,
    "p_run_id" uuid,
    "p_reason" jsonb,
    "p_retry_at" timestamptz DEFAULT NULL
) RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'fail_run_wrapper';

CREATE FUNCTION "get_task_result"(
    "p_queue_name" TEXT,
    "p_task_id" uuid
) RETURNS TABLE (
    "task_id" uuid,
    "state" TEXT,
    "result" jsonb,
    "failure_reason" jsonb
)
LANGUAGE c
AS 'MODULE_PATHNAME', 'get_task_result_wrapper';

CREATE FUNCTION "retry_delay_seconds"(
    "p_strategy" jsonb,
    "p_attempt" INT
) RETURNS double precision
IMMUTABLE PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'retry_delay_seconds_wrapper';

CREATE FUNCTION "retry_task"(
    "p_queue_name" TEXT,
    "p_task_id" uuid,
    "p_options" jsonb DEFAULT '{}'
) RETURNS TABLE (
    "task_id" uuid,
    "run_id" uuid,
    "attempt" INT,
    "created" bool
)
LANGUAGE c
AS 'MODULE_PATHNAME', 'retry_task_wrapper';

CREATE FUNCTION "schedule_run"(
    "p_queue_name" TEXT,
    "p_run_id" uuid,
    "p_wake_at" timestamptz
) RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'schedule_run_wrapper';

CREATE FUNCTION "spawn_task"(
    "p_queue_name" TEXT,
    "p_task_name" TEXT,
    "p_params" jsonb,
    "p_options" jsonb DEFAULT '{}'
) RETURNS TABLE (
    "task_id" uuid,
    "run_id" uuid,
    "attempt" INT,
    "created" bool
)
LANGUAGE c
AS 'MODULE_PATHNAME', 'spawn_task_wrapper';

CREATE FUNCTION "current_time"() RETURNS timestamptz
STRICT STABLE PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'current_time_wrapper';

CREATE FUNCTION "partition_week_tag"(
    "p_ts" timestamptz
) RETURNS TEXT
IMMUTABLE PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'partition_week_tag_wrapper';

CREATE FUNCTION "portable_uuidv7"() RETURNS uuid
STRICT VOLATILE PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'portable_uuidv7_wrapper';

CREATE FUNCTION "uuidv7_floor"(
    "p_ts" timestamptz
) RETURNS uuid
IMMUTABLE PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'uuidv7_floor_wrapper';

CREATE FUNCTION "uuidv7_timestamp"(
    "p_id" uuid
) RETURNS timestamptz
IMMUTABLE PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'uuidv7_timestamp_wrapper';

CREATE FUNCTION "version"() RETURNS TEXT
IMMUTABLE STRICT PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'version_wrapper';

CREATE FUNCTION "week_bucket_utc"(
    "p_ts" timestamptz
) RETURNS timestamptz
IMMUTABLE PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'week_bucket_utc_wrapper';

CREATE FUNCTION "cancel_workflow_run"(
    "workflow_run_id" uuid,
    "reason" TEXT DEFAULT NULL
) RETURNS INT
LANGUAGE c
AS 'MODULE_PATHNAME', 'cancel_workflow_run_wrapper';

CREATE FUNCTION "create_workflow_run"(
    "workflow_name" TEXT,
    "workflow_version" TEXT,
    "inputs" jsonb DEFAULT NULL,
    "absurd_run_id" uuid DEFAULT NULL,
    "created_by" TEXT DEFAULT NULL,
    "tags" jsonb DEFAULT NULL,
    "workflow_hash" TEXT DEFAULT NULL,
    "queue_name" TEXT DEFAULT NULL
) RETURNS uuid
LANGUAGE c
AS 'MODULE_PATHNAME', 'create_workflow_run_wrapper';

-- requires:
--   workflow_run
CREATE FUNCTION "get_workflow_run"(
    "workflow_run_id" uuid
) RETURNS absurd.workflow_run

LANGUAGE c
AS 'MODULE_PATHNAME', 'get_workflow_run_wrapper';

-- requires:
--   workflow_run
CREATE FUNCTION "list_workflow_runs"(
    "workflow_name" TEXT DEFAULT NULL,
    "workflow_version" TEXT DEFAULT NULL,
    "status" TEXT[] DEFAULT NULL,
    "tags" jsonb DEFAULT NULL,
    "created_by" TEXT DEFAULT NULL,
    "created_after" timestamptz DEFAULT NULL,
    "created_before" timestamptz DEFAULT NULL,
    "page_limit" INT DEFAULT 100,
    "after" uuid DEFAULT NULL
) RETURNS SETOF absurd.workflow_run

LANGUAGE c
AS 'MODULE_PATHNAME', 'list_workflow_runs_wrapper';

CREATE FUNCTION "parse_workflow_step_name"(
    "full_name" TEXT
) RETURNS TABLE (
    "workflow_name" TEXT,
    "workflow_version" TEXT,
    "step_name" TEXT
)
IMMUTABLE PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'parse_workflow_step_name_wrapper';

CREATE FUNCTION "update_workflow_run_status"(
    "workflow_run_id" uuid,
    "status" TEXT,
    "result" jsonb DEFAULT NULL,
    "error" jsonb DEFAULT NULL,
    "started_at" timestamptz DEFAULT NULL,
    "completed_at" timestamptz DEFAULT NULL,
    "task_count" INT DEFAULT NULL
) RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'update_workflow_run_status_wrapper';

CREATE FUNCTION "workflow_run_history"(
    "workflow_run_id" uuid
) RETURNS TABLE (
    "at" timestamptz,
    "from_status" TEXT,
    "to_status" TEXT,
    "changed_by" TEXT
)
LANGUAGE c
AS 'MODULE_PATHNAME', 'workflow_run_history_wrapper';

CREATE FUNCTION "workflow_run_progress"(
    "workflow_run_id" uuid
) RETURNS TABLE (
    "total" bigint,
    "pending" bigint,
    "running" bigint,
    "sleeping" bigint,
    "completed" bigint,
    "failed" bigint,
    "cancelled" bigint,
    "percent" double precision,
    "skipped" bigint
)
LANGUAGE c
AS 'MODULE_PATHNAME', 'workflow_run_progress_wrapper';

CREATE FUNCTION "workflow_run_tasks"(
    "workflow_run_id" uuid
) RETURNS TABLE (
    "queue_name" TEXT,
    "task_id" uuid,
    "task_name" TEXT,
    "state" TEXT,
    "attempts" INT,
    "enqueue_at" timestamptz,
    "first_started_at" timestamptz,
    "finished_at" timestamptz,
    "result" jsonb,
    "failure_reason" jsonb
)
LANGUAGE c
AS 'MODULE_PATHNAME', 'workflow_run_tasks_wrapper';

CREATE FUNCTION "workflow_step_name"(
    "workflow_name" TEXT,
    "workflow_version" TEXT,
    "step_name" TEXT
) RETURNS TEXT
IMMUTABLE PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'workflow_step_name_wrapper';

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
