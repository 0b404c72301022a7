-- Columns of our own, and those of the contract that tables of another make may lack, one a
-- statement. Each may be null and none is relied upon: clients insert rows by the columns they
-- know.

alter table {t} add column tenant_id pg_catalog.text;
alter table {t} add column idempotency_key pg_catalog.text;
alter table {t} add column workflow_run_id pg_catalog.uuid;
-- True once a task with a cancellation rule has ended, so that the index on rules forgets it.
alter table {t} add column cancel_done boolean;
-- Of tasks that steps of executed workflow runs follow.
alter table {t} add column workflow_step boolean;
alter table {t} add column attempt_timeout double precision;
alter table {t} add column leave_late boolean;

alter table {r} add column last_heartbeat timestamp with time zone;
alter table {r} add column tenant_id pg_catalog.text;
alter table {r} add column priority smallint not null default 0;
alter table {r} add column attempt_ends_at timestamp with time zone;
-- True of a failed attempt that another followed, so that the index of what has ended forgets it.
alter table {r} add column retried boolean
