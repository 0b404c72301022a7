-- Columns of our own, and those of the contract that tables of another make may lack, one a
-- statement. Each may be null and none is relied upon: clients insert rows by the columns they know.

alter table {t} add column tenant_id pg_catalog.text;
alter table {t} add column idempotency_key pg_catalog.text unique;
alter table {t} add column workflow_run_id pg_catalog.uuid;
-- When the task's cancellation rule comes due, infinity for never, null where there is no rule or
-- where nobody has worked it out yet. A plain column: one that the server generates would have its
-- expression read anew by every statement that writes the table, which doubled the cost of a spawn.
alter table {t} add column cancel_at timestamp with time zone;

alter table {r} add column last_heartbeat timestamp with time zone;
alter table {r} add column tenant_id pg_catalog.text
