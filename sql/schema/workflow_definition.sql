create table absurd.workflow_definition (
    workflow_name    text not null
        constraint workflow_definition_workflow_name_check
        check (workflow_name ~ '^[a-z][a-z0-9_]*$' and workflow_name !~ '__|_$'),
    workflow_version text not null
        constraint workflow_definition_workflow_version_check
        check (workflow_version ~ '^[a-zA-Z0-9._-]+$' and workflow_version !~ '__|_$'),
    registration     bigint not null unique,
    workflow_hash    text not null,
    document         jsonb not null,
    queue_name       text,
    registered_at    timestamptz not null,
    registered_by    text not null,
    primary key (workflow_name, workflow_version)
);

create index workflow_definition_latest
    on absurd.workflow_definition (workflow_name, registration desc);

create trigger workflow_definition_deleted
    after delete on absurd.workflow_definition
    for each row execute function absurd.workflow_definition_deleted();
-- Who deletes a definition need not see the runs that it would leave without one.
alter function absurd.workflow_definition_deleted() security definer;
alter function absurd.workflow_definition_deleted() set search_path = pg_catalog, pg_temp;
revoke execute on function absurd.workflow_definition_deleted() from public;

select pg_catalog.pg_extension_config_dump('absurd.workflow_definition', '');

comment on table absurd.workflow_definition is
    'Registered workflow documents. Written by register_workflow(); a row never changes but for its queue.';
comment on column absurd.workflow_definition.workflow_name is 'Name of the workflow.';
comment on column absurd.workflow_definition.workflow_version is 'Version of the workflow.';
comment on column absurd.workflow_definition.registration is 'Place in the order of registrations; the greatest of a name is its latest version.';
comment on column absurd.workflow_definition.workflow_hash is 'SHA-256 of the canonical document, in hexadecimal.';
comment on column absurd.workflow_definition.document is 'The document in its canonical form: defaults filled in, unknown fields dropped.';
comment on column absurd.workflow_definition.queue_name is 'Queue that runs work with unless they name another.';
comment on column absurd.workflow_definition.registered_at is 'When it was registered.';
comment on column absurd.workflow_definition.registered_by is 'Role that registered it.';
