-- The run that follows a failed one: $1 the failed run, $2 the next, $3 its attempt, $4 its state,
-- $5 when it becomes available, $6 now.
insert into {r} (run_id, task_id, attempt, state, available_at, created_at, tenant_id, priority)
select $2, task_id, $3, $4, $5, $6, tenant_id, priority
  from {r}
 where run_id = $1
