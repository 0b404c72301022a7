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
