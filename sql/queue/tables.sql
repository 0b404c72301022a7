-- The tables of one unpartitioned queue, with the columns of the contract. Defaults call clock_timestamp(), not our functions, so
-- that the tables stand on their own when the extension is dropped. A task's row changes state within
-- its page as long as there is room.

create table {t} (
    task_id           uuid primary key,
    task_name         text not null,
    params            jsonb not null,
    headers           jsonb,
    retry_strategy    jsonb,
    max_attempts      integer,
    cancellation      jsonb,
    enqueue_at        timestamptz not null default clock_timestamp(),
    first_started_at  timestamptz,
    state             text not null
        check (state in ('pending', 'running', 'sleeping', 'completed', 'failed', 'cancelled')),
    attempts          integer not null default 0,
    last_attempt_run  uuid,
    completed_payload jsonb,
    cancelled_at      timestamptz,
    tenant_id         text,
    idempotency_key   text unique
) with (fillfactor = 70);

create table {r} (
    run_id           uuid primary key,
    task_id          uuid not null,
    attempt          integer not null,
    state            text not null
        check (state in ('pending', 'running', 'sleeping', 'completed', 'failed', 'cancelled')),
    claimed_by       text,
    claim_expires_at timestamptz,
    available_at     timestamptz not null,
    wake_event       text,
    event_payload    jsonb,
    started_at       timestamptz,
    completed_at     timestamptz,
    failed_at        timestamptz,
    result           jsonb,
    failure_reason   jsonb,
    created_at       timestamptz not null default clock_timestamp(),
    last_heartbeat   timestamptz,
    tenant_id        text
);

create table {c} (
    task_id         uuid not null,
    checkpoint_name text not null,
    state           jsonb,
    status          text not null default 'committed',
    owner_run_id    uuid,
    updated_at      timestamptz not null default clock_timestamp(),
    primary key (task_id, checkpoint_name)
);

create table {e} (
    event_name text primary key,
    payload    jsonb,
    emitted_at timestamptz not null default clock_timestamp()
);

create table {w} (
    task_id    uuid not null,
    run_id     uuid not null,
    step_name  text not null,
    event_name text not null,
    timeout_at timestamptz,
    created_at timestamptz not null default clock_timestamp(),
    primary key (run_id, step_name)
);
