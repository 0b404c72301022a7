create table absurd.workflow_schedule (
    workflow_name    text primary key,
    workflow_version text not null,
    queue_name       text,
    is_paused        boolean not null,
    since            timestamptz not null,
    last_trigger     timestamptz,
    next_trigger     timestamptz
);

create index workflow_schedule_due on absurd.workflow_schedule (next_trigger)
    where not is_paused;

select pg_catalog.pg_extension_config_dump('absurd.workflow_schedule', '');

comment on table absurd.workflow_schedule is
    'One row per registered workflow: its schedule. Its lock keeps decisions about max_active_runs apart. Written by register_workflow, pause_workflow, resume_workflow and run_schedules.';
comment on column absurd.workflow_schedule.workflow_name is 'Name of the workflow.';
comment on column absurd.workflow_schedule.workflow_version is 'Version registered last, whose schedule counts.';
comment on column absurd.workflow_schedule.queue_name is 'Queue of scheduled runs; without one there are none.';
comment on column absurd.workflow_schedule.is_paused is 'Whether the schedule stands still.';
comment on column absurd.workflow_schedule.since is 'When it was registered or last resumed.';
comment on column absurd.workflow_schedule.last_trigger is 'Last trigger that was dealt with.';
comment on column absurd.workflow_schedule.next_trigger is 'Next trigger, null for none.';
