-- What a user sees with \d+ of a queue's tables.

comment on table {t} is 'Tasks of a queue, a row each. Written by the functions of schema absurd.';
comment on column {t}.task_id is 'Id of the task, a UUID of version 7.';
comment on column {t}.task_name is 'What a worker is to do.';
comment on column {t}.params is 'What it is to be done with.';
comment on column {t}.headers is 'Object of data about the task, such as its workflow_run_id.';
comment on column {t}.retry_strategy is 'When the next attempt follows a failed one, see retry_delay_seconds().';
comment on column {t}.max_attempts is 'Attempts that the task gets, null for any number.';
comment on column {t}.cancellation is 'Seconds within which the task must start (max_delay) and, once started, end (max_duration).';
comment on column {t}.enqueue_at is 'When the task was spawned.';
comment on column {t}.first_started_at is 'When its first run was claimed, since it was last revived.';
comment on column {t}.state is 'pending, running, sleeping, completed, failed or cancelled.';
comment on column {t}.attempts is 'Number of the newest attempt.';
comment on column {t}.last_attempt_run is 'Run of the newest attempt.';
comment on column {t}.completed_payload is 'Result of a completed task.';
comment on column {t}.cancelled_at is 'When the task was cancelled.';
comment on column {t}.tenant_id is 'Whom the task is for, as its spawner said.';
comment on column {t}.idempotency_key is 'Key that spawn_task finds the task by, unique in the queue.';
comment on column {t}.workflow_run_id is 'Workflow run that the task belongs to.';
comment on column {t}.cancel_done is 'True once a task with a cancellation rule has ended.';
comment on column {t}.workflow_step is 'True when steps of executed workflow runs follow the task.';
comment on column {t}.attempt_timeout is 'Seconds that an attempt may take from its claim, null for any number.';
comment on column {t}.leave_late is 'Whether a worker whose attempt ran out of time is told nothing when it reports.';

comment on table {r} is 'Runs of a queue''s tasks, a row per attempt.';
comment on column {r}.run_id is 'Id of the run, a UUID of version 7.';
comment on column {r}.task_id is 'Task that the run is an attempt at.';
comment on column {r}.attempt is 'Number of the attempt, from 1.';
comment on column {r}.state is 'pending, running, sleeping, completed, failed or cancelled.';
comment on column {r}.claimed_by is 'Worker that claimed the run last.';
comment on column {r}.claim_expires_at is 'When the lease of a running run ends, null for no lease.';
comment on column {r}.available_at is 'When a pending or sleeping run may be claimed. Of a claimed run, when that was.';
comment on column {r}.wake_event is 'Event that a sleeping run waits for, or whose timeout woke it.';
comment on column {r}.event_payload is 'Payload of the event that woke the run, until the run has taken it.';
comment on column {r}.started_at is 'When the run was last claimed.';
comment on column {r}.completed_at is 'When the run completed.';
comment on column {r}.failed_at is 'When the run failed.';
comment on column {r}.result is 'Result of a completed run.';
comment on column {r}.failure_reason is 'Why the run failed.';
comment on column {r}.created_at is 'When the run was made.';
comment on column {r}.last_heartbeat is 'When the worker was last heard of: a claim or an extended lease.';
comment on column {r}.tenant_id is 'Whom the task is for.';
comment on column {r}.attempt_ends_at is 'When the attempt runs out of its time, null for never.';
comment on column {r}.retried is 'True of a failed attempt that another followed.';
comment on column {r}.priority is 'From -8 to 8: among runs that are ready, the higher are claimed first.';

comment on table {c} is 'Checkpoints of a queue''s tasks: what their steps have stored.';
comment on column {c}.task_id is 'Task that the checkpoint belongs to.';
comment on column {c}.checkpoint_name is 'Name of the step, unique in the task.';
comment on column {c}.state is 'What the step stored.';
comment on column {c}.status is 'committed, or what a client means by another word.';
comment on column {c}.owner_run_id is 'Run that wrote it.';
comment on column {c}.updated_at is 'When it was written.';

comment on table {e} is 'Events of a queue. A row is there exactly when the event was emitted.';
comment on column {e}.event_name is 'Name of the event, unique in the queue.';
comment on column {e}.payload is 'What the first emission carried.';
comment on column {e}.emitted_at is 'When it was emitted.';

comment on table {w} is 'Runs that wait for an event, a row per run and step.';
comment on column {w}.task_id is 'Task of the run.';
comment on column {w}.run_id is 'Run that waits.';
comment on column {w}.step_name is 'Step of the run that waits.';
comment on column {w}.event_name is 'Event that it waits for.';
comment on column {w}.timeout_at is 'When the wait ends without the event, null for never.';
comment on column {w}.created_at is 'When the wait began.';

comment on table {i} is 'Idempotency keys of a partitioned queue, unique over all its weeks.';
comment on column {i}.idempotency_key is 'Key that spawn_task finds a task by.';
comment on column {i}.task_id is 'Task that has the key.'
