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
