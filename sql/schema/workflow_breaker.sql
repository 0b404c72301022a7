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

select pg_catalog.pg_extension_config_dump('absurd.workflow_breaker', '');

comment on table absurd.workflow_breaker is
    'Circuit breakers that have counted something, one per workflow name and step. Written by the engine alone.';
comment on column absurd.workflow_breaker.workflow_name is 'Name of the workflow; all its versions share the breaker.';
comment on column absurd.workflow_breaker.step_name is 'Name of the step.';
comment on column absurd.workflow_breaker.failures is 'Consecutive counted failures while the breaker is closed.';
comment on column absurd.workflow_breaker.successes is 'Consecutive successes since isolation ended.';
comment on column absurd.workflow_breaker.open_until is 'When isolation ends or ended; null for a closed breaker.';
comment on column absurd.workflow_breaker.probing_run is 'Run whose attempt tries whether it works again.';
comment on column absurd.workflow_breaker.probing_scope is 'Scope instance of the step that tries.';
comment on column absurd.workflow_breaker.probing_node is 'Node of the step that tries.';
