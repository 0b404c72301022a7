-- The least that a life can write to tables as every engine of this interface has them: their keys and named
-- indexes and no other, no row locked beforehand, nothing looked up, nothing checked. The loop is that
-- of lives.sql, and takes the same arguments; there is one queue only.

create schema bench;

create table bench.t (
    task_id uuid primary key, task_name text, params jsonb not null, headers jsonb, retry_strategy jsonb,
    max_attempts int, cancellation jsonb, enqueue_at timestamptz, first_started_at timestamptz, state text,
    attempts int, last_attempt_run uuid, completed_payload jsonb, cancelled_at timestamptz, tenant_id text,
    idempotency_key text
) with (fillfactor = 70);
create unique index on bench.t (idempotency_key) where idempotency_key is not null;

create table bench.r (
    run_id uuid primary key, task_id uuid, attempt int, state text, claimed_by text, claim_expires_at timestamptz,
    available_at timestamptz, wake_event text, event_payload jsonb, started_at timestamptz,
    completed_at timestamptz, failed_at timestamptz, result jsonb, failure_reason jsonb, created_at timestamptz,
    last_heartbeat timestamptz, tenant_id text
) with (fillfactor = 70);
create index on bench.r (task_id);
create index on bench.r (claim_expires_at) where state = 'running' and claim_expires_at is not null;
create index on bench.r (available_at, run_id) where state in ('pending', 'sleeping');

create table bench.c (
    task_id uuid, checkpoint_name text, state jsonb, status text default 'committed', owner_run_id uuid,
    updated_at timestamptz, primary key (task_id, checkpoint_name)
);

-- Ids in the order of their making, as UUIDv7 are, so that pages of an index are not split in the middle.
create function bench.id() returns uuid language sql as $$
    select (lpad(to_hex((extract(epoch from clock_timestamp()) * 1e6)::bigint), 16, '0')
            || substr(md5(random()::text), 1, 16))::uuid
$$;

create procedure bench.life(p_queue text, p_lives int)
language plpgsql as $$
declare run uuid; task uuid; at timestamptz;
begin
    for i in 1 .. p_lives loop
        task := bench.id();
        run := bench.id();
        at := clock_timestamp();
        insert into bench.t (task_id, task_name, params, max_attempts, enqueue_at, state, attempts, last_attempt_run)
            values (task, 'task', '{"n": 1}', 3, at, 'pending', 1, run);
        insert into bench.r (run_id, task_id, attempt, state, available_at, created_at)
            values (run, task, 1, 'pending', at, at);
        commit;
        at := clock_timestamp();
        update bench.r set state = 'running', claimed_by = 'worker', claim_expires_at = at + interval '600 s',
               available_at = at, started_at = at, last_heartbeat = at where run_id = run;
        update bench.t set state = 'running', first_started_at = at where task_id = task;
        commit;
        for step in 1 .. 2 loop
            at := clock_timestamp();
            insert into bench.c (task_id, checkpoint_name, state, owner_run_id, updated_at)
                values (task, case step when 1 then 'one' else 'two' end, '{"done": true}', run, at);
            update bench.r set claim_expires_at = at + interval '600 s', last_heartbeat = at where run_id = run;
            commit;
        end loop;
        at := clock_timestamp();
        update bench.r set state = 'completed', completed_at = at, result = '{"ok": true}' where run_id = run;
        update bench.t set state = 'completed', completed_payload = '{"ok": true}' where task_id = task;
        commit;
    end loop;
end $$;
