-- Workflow documents that the database executes: the documents, and what is stored of the runs.
--
-- Only what a client could get wrong is checked by the tables: what the engine alone writes is not,
-- since Postgres would read each check anew with every statement. What a run consists of hangs on
-- its id without foreign keys: a check per row would cost more than the row. A trigger on
-- workflow_execution removes it with the run.

alter table absurd.workflow_run
    add column root_run_id   uuid,
    add column parent_run_id uuid,
    add column parent_step   text,
    drop constraint workflow_run_result_check,
    -- A run that a document ended keeps its result, whatever status it was ended with.
    add constraint workflow_run_result_check
        check (result is null or status = 'completed' or root_run_id is not null);
create index workflow_run_children on absurd.workflow_run (parent_run_id)
    where parent_run_id is not null;

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

create table absurd.workflow_value (
    workflow_run_id uuid not null,
    context         integer not null,
    key             text not null,
    source_scope    integer not null,
    source_node     integer not null,
    primary key (workflow_run_id, context, key)
);

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

select pg_catalog.pg_extension_config_dump('absurd.workflow_definition', '');
select pg_catalog.pg_extension_config_dump('absurd.workflow_execution', '');
select pg_catalog.pg_extension_config_dump('absurd.workflow_scope', '');
select pg_catalog.pg_extension_config_dump('absurd.workflow_step', '');
select pg_catalog.pg_extension_config_dump('absurd.workflow_value', '');
select pg_catalog.pg_extension_config_dump('absurd.workflow_kept', '');
select pg_catalog.pg_extension_config_dump('absurd.workflow_timer', '');
select pg_catalog.pg_extension_config_dump('absurd.workflow_wait', '');
select pg_catalog.pg_extension_config_dump('absurd.workflow_stimulus', '');
select pg_catalog.pg_extension_config_dump('absurd.workflow_breaker', '');
select pg_catalog.pg_extension_config_dump('absurd.workflow_schedule', '');
