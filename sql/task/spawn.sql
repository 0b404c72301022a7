-- Spawns a task with its first run: $1 task, $2 run, $3 name, $4 params, $5 options, $6 max_attempts,
-- $7 now, $8 available at, $9 tenant, $10 workflow run, $11 priority.
with task as (
    insert into {t} (task_id, task_name, params, headers, retry_strategy, max_attempts,
                     cancellation, enqueue_at, state, attempts, last_attempt_run, tenant_id,
                     workflow_run_id)
    values ($1, $3, $4, $5 -> 'headers', nullif($5 -> 'retry_strategy', 'null'),
            $6, nullif($5 -> 'cancellation', 'null'), $7, 'pending', 1, $2, $9, $10)
)
insert into {r} (run_id, task_id, attempt, state, available_at, created_at, tenant_id, priority)
values ($2, $1, 1, 'pending', $8, $7, $9, $11)
