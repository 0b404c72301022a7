-- Columns of our own, and those of the contract that tables of another make may lack, one a
-- statement. Each may be null and none is relied upon: clients insert rows by the columns they know.

alter table {t} add column tenant_id pg_catalog.text;
alter table {t} add column idempotency_key pg_catalog.text unique;
alter table {t} add column workflow_run_id pg_catalog.uuid;

-- When the task's cancellation rule comes due, in UTC. Generated, so that it is right whoever writes
-- the row, and from built-in functions only, so that the table needs no extension. A rule that
-- spawn_task would have refused binds nothing.
alter table {t} add column cancel_at timestamp generated always as (
        case
            when cancellation is null or state in ('completed', 'failed', 'cancelled') then null
            when first_started_at is not null then
                case when jsonb_typeof(cancellation -> 'max_duration') = 'number'
                          and cancellation ->> 'max_duration' ~ '^[0-9]{1,9}$'
                     then timezone('UTC', first_started_at) + make_interval(
                              secs => (cancellation ->> 'max_duration')::double precision)
                end
            -- A revived task has started before, if not since.
            when attempts <= 1 then
                case when jsonb_typeof(cancellation -> 'max_delay') = 'number'
                          and cancellation ->> 'max_delay' ~ '^[0-9]{1,9}$'
                     then timezone('UTC', enqueue_at) + make_interval(
                              secs => (cancellation ->> 'max_delay')::double precision)
                end
        end) stored;

alter table {r} add column last_heartbeat timestamp with time zone;
alter table {r} add column tenant_id pg_catalog.text
