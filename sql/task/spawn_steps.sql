-- Spawns the tasks of workflow steps with their first runs, an array element a task: $1 tasks, $2
-- runs, $3 names, $4 params, $5 headers, $6 retry strategies, $7 max_attempts, $8 seconds of an
-- attempt, $9 whether late workers are left alone, $10 workflow runs; $11 now.
with tasks as (
    insert into {t} (task_id, task_name, params, headers, retry_strategy, max_attempts, enqueue_at,
                     state, attempts, last_attempt_run, workflow_run_id, workflow_step,
                     attempt_timeout, leave_late)
    select task_id, name, params::jsonb, headers::jsonb, retry_strategy::jsonb, max_attempts, $11,
           'pending', 1, run_id, workflow_run_id, true, attempt_timeout, leave_late
      from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
           as given (task_id, run_id, name, params, headers, retry_strategy, max_attempts,
                     attempt_timeout, leave_late, workflow_run_id)
)
insert into {r} (run_id, task_id, attempt, state, available_at, created_at, priority)
select run_id, task_id, 1, 'pending', $11, $11, 0
  from unnest($1, $2) as given (task_id, run_id)
