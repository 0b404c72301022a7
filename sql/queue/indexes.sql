-- The indexes of one queue beside its keys. A task's row changes state several times, and none of
-- its indexes mentions the state, so that most of those updates can stay within the page.

-- Tasks with a cancellation rule, by the instant at which it comes due, in UTC. An expression, so
-- that it is right whoever writes the row, and of built-in functions only, so that the table needs
-- no extension. (A column that the engine fills would let a claim stay within the page, but not
-- know of rows that clients move; a generated one doubled the cost of a spawn.)
create index if not exists {t_due} on {t} (({deadline}))
    where cancellation is not null and cancel_done is null;
-- Unpartitioned queues only. Most tasks have no key, and the index does not know them.
create unique index if not exists {t_ik} on {t} (idempotency_key) where idempotency_key is not null;
-- The tasks of a workflow run.
create index if not exists {t_wri} on {t} (workflow_run_id) where workflow_run_id is not null;
-- What cleanup removes, oldest first: cancelled tasks here, the others by the end of their run.
create index if not exists {t_cai} on {t} (cancelled_at) where cancelled_at is not null;

create index if not exists {r_ti} on {r} (task_id);
-- Ready runs in the order in which a claim hands them out: within a priority, those that are due
-- stand before those that are not.
create index if not exists {r_rdy} on {r} (priority desc, available_at, run_id)
    where state in ('pending', 'sleeping');
-- Leases in the order in which they expire.
create index if not exists {r_cei} on {r} (claim_expires_at)
    where state = 'running' and claim_expires_at is not null;
-- Attempts with a limit, in the order in which they run out of it.
create index if not exists {r_aei} on {r} (attempt_ends_at)
    where state = 'running' and attempt_ends_at is not null;
-- Runs by which a task may have ended. Attempts that others followed would stand in front of them
-- for as long as their tasks are open.
create index if not exists {r_end} on {r} ((coalesce(completed_at, failed_at)))
    where coalesce(completed_at, failed_at) is not null and retried is null;

create index if not exists {e_eai} on {e} (emitted_at);

create index if not exists {w_eni} on {w} (event_name);
create index if not exists {w_ti} on {w} (task_id);

-- Partitioned queues only.
create index if not exists {i_ti} on {i} (task_id);
