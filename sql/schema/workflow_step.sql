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
