-- The tables of one queue, with the columns of the contract. What differs in a partitioned queue
-- stands in angle brackets, see src/queue/script.rs. Defaults call clock_timestamp(), not our
-- functions, so that the tables stand on their own when the extension is dropped. Types are
-- qualified because a session's temporary tables come before pg_catalog when a type's name is
-- looked up. Postgres reads a check anew with every statement that writes: one constant costs it
-- half of what a list of six does.

create table {t} (
    task_id           pg_catalog.uuid primary key,
    task_name         pg_catalog.text not null,
    params            pg_catalog.jsonb not null,
    headers           pg_catalog.jsonb,
    retry_strategy    pg_catalog.jsonb,
    max_attempts      integer,
    cancellation      pg_catalog.jsonb,
    enqueue_at        timestamp with time zone not null default clock_timestamp(),
    first_started_at  timestamp with time zone,
    state             pg_catalog.text not null
        check (state = any ('{pending,running,sleeping,completed,failed,cancelled}')),
    attempts          integer not null default 0,
    last_attempt_run  pg_catalog.uuid,
    completed_payload pg_catalog.jsonb,
    cancelled_at      timestamp with time zone,
    tenant_id         pg_catalog.text,
    idempotency_key   pg_catalog.text
)<storage of t>;

create table {r} (
    run_id           pg_catalog.uuid primary key,
    task_id          pg_catalog.uuid not null,
    attempt          integer not null,
    state            pg_catalog.text not null
        check (state = any ('{pending,running,sleeping,completed,failed,cancelled}')),
    claimed_by       pg_catalog.text,
    claim_expires_at timestamp with time zone,
    available_at     timestamp with time zone not null,
    wake_event       pg_catalog.text,
    event_payload    pg_catalog.jsonb,
    started_at       timestamp with time zone,
    completed_at     timestamp with time zone,
    failed_at        timestamp with time zone,
    result           pg_catalog.jsonb,
    failure_reason   pg_catalog.jsonb,
    created_at       timestamp with time zone not null default clock_timestamp(),
    last_heartbeat   timestamp with time zone,
    tenant_id        pg_catalog.text,
    priority         smallint not null default 0
)<storage of r>;

create table {c} (
    task_id         pg_catalog.uuid not null,
    checkpoint_name pg_catalog.text not null,
    state           pg_catalog.jsonb,
    status          pg_catalog.text not null default 'committed',
    owner_run_id    pg_catalog.uuid,
    updated_at      timestamp with time zone not null default clock_timestamp(),
    primary key (task_id, checkpoint_name)
)<storage of c>;

create table {e} (
    event_name pg_catalog.text primary key,
    payload    pg_catalog.jsonb,
    emitted_at timestamp with time zone not null default clock_timestamp()
);

create table {w} (
    task_id    pg_catalog.uuid not null,
    run_id     pg_catalog.uuid not null,
    step_name  pg_catalog.text not null,
    event_name pg_catalog.text not null,
    timeout_at timestamp with time zone,
    created_at timestamp with time zone not null default clock_timestamp(),
    primary key (run_id, step_name)
)<storage of w>;

-- Partitioned queues only: keys are unique over all weeks.
create table {i} (
    idempotency_key pg_catalog.text primary key,
    task_id         pg_catalog.uuid not null
);
