-- A new task: $1 task, $2 its first run, $3 name, $4 params, $5 options, $6 max_attempts, $7 now,
-- $8 tenant, $9 workflow run.
insert into {t} (task_id, task_name, params, headers, retry_strategy, max_attempts, cancellation,
                 enqueue_at, state, attempts, last_attempt_run, tenant_id, workflow_run_id)
values ($1, $3, $4, $5 -> 'headers', nullif($5 -> 'retry_strategy', 'null'),
        $6, nullif($5 -> 'cancellation', 'null'), $7, 'pending', 1, $2, $8, $9)
