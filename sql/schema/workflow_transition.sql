-- A status never comes back, so the status reached is a key, and no sequence is needed.
create table absurd.workflow_transition (
    workflow_run_id uuid not null references absurd.workflow_run on delete cascade,
    to_status       text not null,
    from_status     text not null,
    changed_at      timestamptz not null,
    changed_by      text not null,
    number          integer not null,
    primary key (workflow_run_id, number)
);

select pg_catalog.pg_extension_config_dump('absurd.workflow_transition', '');

comment on table absurd.workflow_transition is
    'Every change of a workflow run''s status. Written by the engine alone; read it with workflow_run_history().';
comment on column absurd.workflow_transition.workflow_run_id is 'The workflow run.';
comment on column absurd.workflow_transition.to_status is 'Status that it went to.';
comment on column absurd.workflow_transition.from_status is 'Status that it came from.';
comment on column absurd.workflow_transition.changed_at is 'When the status changed.';
comment on column absurd.workflow_transition.changed_by is 'Role that changed it.';
comment on column absurd.workflow_transition.number is 'Which change of the run it is, from 1.';
