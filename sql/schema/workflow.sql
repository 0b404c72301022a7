-- Workflow runs and the history of their statuses. The rules live in the triggers of finalize.sql;
-- the checks here are those that a row can answer for itself.

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
    result           jsonb
        constraint workflow_run_result_check check (result is null or status = 'completed'),
    error            jsonb
        constraint workflow_run_error_check
        check (error is null or status in ('failed', 'cancelled')),
    started_at       timestamptz,
    completed_at     timestamptz
        constraint workflow_run_completed_at_check check (completed_at >= started_at),
    task_count       integer
        constraint workflow_run_task_count_check check (task_count >= 0),
    created_at       timestamptz not null,
    updated_at       timestamptz
);

create index workflow_run_newest on absurd.workflow_run (created_at desc, workflow_run_id desc);
create index workflow_run_by_name
    on absurd.workflow_run (workflow_name, created_at desc, workflow_run_id desc);
create index workflow_run_open
    on absurd.workflow_run (created_at desc, workflow_run_id desc)
    where status in ('pending', 'running');

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

select pg_catalog.pg_extension_config_dump('absurd.workflow_run', '');
select pg_catalog.pg_extension_config_dump('absurd.workflow_transition', '');
