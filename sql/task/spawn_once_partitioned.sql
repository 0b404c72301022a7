-- As spawn_once.sql, for a partitioned queue, whose keys are unique in a table of their own.
with key as (
    insert into {i} (idempotency_key, task_id) values ($12, $1)
    on conflict (idempotency_key) do nothing
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
