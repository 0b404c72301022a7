-- The first run of a new task: $1 run, $2 task, $3 available at, $4 now, $5 tenant, $6 priority.
insert into {r} (run_id, task_id, attempt, state, available_at, created_at, tenant_id, priority)
values ($1, $2, 1, 'pending', $3, $4, $5, $6)
