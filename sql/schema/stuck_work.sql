-- Work that cannot go on now; see src/task/stuck.rs.
create table absurd.stuck_work (
    queue     text not null,
    kind      text not null,
    id        uuid not null,
    since     timestamptz not null,
    attempts  integer not null,
    error     jsonb not null,
    next_try  timestamptz not null,
    -- Empty where the work fails whoever does it.
    role_name text not null,
    primary key (queue, kind, id, role_name)
);

create index stuck_work_next on absurd.stuck_work (queue, next_try);

comment on table absurd.stuck_work is
    'Work that came due and failed: set aside so that everything else goes on, and tried again by claims and advance_timers at next_try. A row vanishes when the work succeeds or is gone. Deleting one has it tried at once. Written by the engine alone.';
comment on column absurd.stuck_work.queue is 'Name of the queue whose claims would do the work.';
comment on column absurd.stuck_work.kind is 'workflow: a tree of workflow runs that has a due timer or a stimulus; lease, attempt: a run whose lease, or whose attempt''s time, has ended; cancellation: a task whose cancellation rule has come due; run: a run of an ended task, or of none; claim: a ready run that cannot be handed out.';
comment on column absurd.stuck_work.id is 'Of a workflow the root''s workflow_run_id, of a cancellation the task_id, else the run_id.';
comment on column absurd.stuck_work.since is 'When the work failed first.';
comment on column absurd.stuck_work.attempts is 'How often it has failed.';
comment on column absurd.stuck_work.error is 'The last failure: sqlstate, message and, where there are any, detail and hint.';
comment on column absurd.stuck_work.next_try is 'When it will be tried again: 1 second after the first failure, then twice as long each time, up to an hour.';
comment on column absurd.stuck_work.role_name is 'The role that was denied the work, for which alone it is set aside; empty for every role.';
