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
