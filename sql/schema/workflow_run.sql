-- Workflow runs as clients track them. The checks here are those that a row can answer for itself;
-- which status may follow which is the business of the trigger workflow_run_guard.
create table absurd.workflow_run (
    workflow_run_id  uuid primary key default gen_random_uuid(),
    workflow_name    text not null
        constraint workflow_run_workflow_name_check
        check (workflow_name ~ '^[a-z][a-z0-9_]*$' and workflow_name !~ '__|_$'),
    workflow_version text not null
        constraint workflow_run_workflow_version_check
        check (workflow_version ~ '^[a-zA-Z0-9._-]+$' and workflow_version !~ '__|_$'),
    workflow_hash    text
        constraint workflow_run_workflow_hash_check check (workflow_hash ~ '\S'),
    status           text not null default 'pending'
        constraint workflow_run_status_check
        check (status in ('pending', 'running', 'completed', 'failed', 'cancelled')),
    absurd_run_id    uuid,
    absurd_queue     text,
    inputs           jsonb,
    created_by       text,
    tags             jsonb
        constraint workflow_run_tags_check check (jsonb_typeof(tags) = 'object'),
    result           jsonb,
    error            jsonb
        constraint workflow_run_error_check
        check (error is null or status in ('failed', 'cancelled')),
    started_at       timestamptz,
    completed_at     timestamptz
        constraint workflow_run_completed_at_check check (completed_at >= started_at),
    task_count       integer
        constraint workflow_run_task_count_check check (task_count >= 0),
    created_at       timestamptz not null,
    updated_at       timestamptz,
    root_run_id      uuid,
    parent_run_id    uuid,
    parent_step      text,
    -- A run that a document ended keeps its result, whatever status it was ended with.
    constraint workflow_run_result_check
        check (result is null or status = 'completed' or root_run_id is not null)
);

create index workflow_run_newest on absurd.workflow_run (created_at desc, workflow_run_id desc);
create index workflow_run_by_name
    on absurd.workflow_run (workflow_name, created_at desc, workflow_run_id desc);
create index workflow_run_open
    on absurd.workflow_run (created_at desc, workflow_run_id desc)
    where status in ('pending', 'running');
create index workflow_run_children on absurd.workflow_run (parent_run_id)
    where parent_run_id is not null;

create trigger workflow_run_guard
    before insert or update on absurd.workflow_run
    for each row execute function absurd.workflow_run_guard();
create trigger workflow_run_record
    after update of status on absurd.workflow_run
    for each row when (old.status is distinct from new.status)
    execute function absurd.workflow_run_record();
-- The history is written by the extension's owner: who may move a run cannot forge its past.
alter function absurd.workflow_run_record() security definer;
alter function absurd.workflow_run_record() set search_path = pg_catalog, pg_temp;
revoke execute on function absurd.workflow_run_guard(), absurd.workflow_run_record() from public;

select pg_catalog.pg_extension_config_dump('absurd.workflow_run', '');

comment on table absurd.workflow_run is
    'One row per workflow run. Clients may write it directly: every INSERT and UPDATE is checked by workflow_run_guard.';
comment on column absurd.workflow_run.workflow_run_id is 'Id of the run; never changes.';
comment on column absurd.workflow_run.workflow_name is 'Name of the workflow: ^[a-z][a-z0-9_]*$ without "__" and without a trailing "_"; never changes.';
comment on column absurd.workflow_run.workflow_version is 'Version of the workflow: ^[a-zA-Z0-9._-]+$ without "__" and without a trailing "_"; never changes.';
comment on column absurd.workflow_run.workflow_hash is 'Hash of the workflow''s definition, any text that is not blank.';
comment on column absurd.workflow_run.status is 'pending -> running | failed | cancelled; running -> completed | failed | cancelled; those three are final.';
comment on column absurd.workflow_run.absurd_run_id is 'Run of the task at the root of the workflow run, when there is one.';
comment on column absurd.workflow_run.absurd_queue is 'Queue that the workflow run works with.';
comment on column absurd.workflow_run.inputs is 'What the workflow run was started with.';
comment on column absurd.workflow_run.created_by is 'Who or what created the run.';
comment on column absurd.workflow_run.tags is 'Object of tags to find the run by.';
comment on column absurd.workflow_run.result is 'What a completed run has come to.';
comment on column absurd.workflow_run.error is 'Why a run failed or was cancelled.';
comment on column absurd.workflow_run.started_at is 'When the run started; filled in when an UPDATE sets it running.';
comment on column absurd.workflow_run.completed_at is 'When the run ended, never before started_at; filled in when an UPDATE sets a final status.';
comment on column absurd.workflow_run.task_count is 'Number of tasks as its client counts them, not negative.';
comment on column absurd.workflow_run.created_at is 'When the run was created.';
comment on column absurd.workflow_run.updated_at is 'When the row was last updated; null until then.';
comment on column absurd.workflow_run.root_run_id is 'Of a run that the database executes: the run at the root of its tree, itself when it is no child; null for other runs. Never changes.';
comment on column absurd.workflow_run.parent_run_id is 'Of a child run: the run whose step started it. Never changes.';
comment on column absurd.workflow_run.parent_step is 'Of a child run: the path of the step that started it.';
