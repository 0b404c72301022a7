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
