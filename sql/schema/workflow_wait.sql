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
