-- A new task from another's inputs: $1 the new task, $2 its run, $3 the old task, $4 now, $5 the
-- attempts allowed.
with task as (
    insert into {t} (task_id, task_name, params, headers, retry_strategy, max_attempts,
                     cancellation, enqueue_at, state, attempts, last_attempt_run, tenant_id,
                     workflow_run_id)
    select $1, task_name, params, headers, retry_strategy, $5, cancellation, $4, 'pending', 1, $2,
           tenant_id, workflow_run_id
      from {t}
     where task_id = $3
    returning tenant_id
)
insert into {r} (run_id, task_id, attempt, state, available_at, created_at, tenant_id, priority)
select $2, $1, 1, 'pending', $4, $4, tenant_id,
       coalesce((select r.priority from {r} r where r.task_id = $3
                  order by r.attempt desc limit 1), 0)
  from task
