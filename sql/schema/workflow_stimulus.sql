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
