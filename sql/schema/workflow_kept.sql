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
