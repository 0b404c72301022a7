create table absurd.workflow_items (
    workflow_run_id uuid not null,
    scope           integer not null,
    node            integer not null,
    first           integer not null,
    count           integer not null,
    -- JSON that is read once, a piece at a time: as jsonb a million items would take a second to
    -- store.
    items           text not null,
    primary key (workflow_run_id, scope, node, first)
);

select pg_catalog.pg_extension_config_dump('absurd.workflow_items', '');

comment on table absurd.workflow_items is
    'Items of foreach steps that have no iterations yet: a loop of more than 1,000 is begun in pieces. Written by the engine alone.';
comment on column absurd.workflow_items.workflow_run_id is 'The run.';
comment on column absurd.workflow_items.scope is 'Scope instance of the loop''s step.';
comment on column absurd.workflow_items.node is 'Node of the loop''s step.';
comment on column absurd.workflow_items.first is 'Index of the first of these items.';
comment on column absurd.workflow_items.count is 'How many they are.';
comment on column absurd.workflow_items.items is 'The items, a JSON array; deleted when their iterations are made.';
