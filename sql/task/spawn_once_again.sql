-- As spawn_once_partitioned.sql, for a key whose task, $13, is gone.
with key as (
    update {i} set task_id = $1
     where idempotency_key = $12 and task_id = $13
    returning task_id
), task as (
    insert into {t} (task_id, task_name, params, headers, retry_strategy, max_attempts,
                     cancellation, enqueue_at, state, attempts, last_attempt_run, tenant_id,
                     workflow_run_id, idempotency_key)
    select task_id, $3, $4, $5 -> 'headers', nullif($5 -> 'retry_strategy', 'null'),
            $6, nullif($5 -> 'cancellation', 'null'), $7, 'pending', 1, $2, $9, $10, $12
      from key
    returning task_id
)
insert into {r} (run_id, task_id, attempt, state, available_at, created_at, tenant_id, priority)
select $2, task_id, 1, 'pending', $8, $7, $9, $11 from task
returning run_id
