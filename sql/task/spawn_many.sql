-- Spawns tasks with their first runs: $1 the orders as a JSON array of {task_name, params,
-- options}, $2 tasks, $3 runs, $4 max_attempts, $5 available at, $6 tenants, $7 workflow runs, $8
-- priorities, an element an order; $9 now. An order whose task is null is left out.
with given as materialized (
    select *
      from rows from (jsonb_array_elements($1), unnest($2), unnest($3), unnest($4), unnest($5),
                      unnest($6), unnest($7), unnest($8))
           as given (item, task_id, run_id, max_attempts, available_at, tenant_id, workflow_run_id,
                     priority)
     where task_id is not null
), tasks as (
    insert into {t} (task_id, task_name, params, headers, retry_strategy, max_attempts,
                     cancellation, enqueue_at, state, attempts, last_attempt_run, tenant_id,
                     workflow_run_id)
    select task_id, item ->> 'task_name', coalesce(item -> 'params', 'null'),
           item -> 'options' -> 'headers',
           nullif(item -> 'options' -> 'retry_strategy', 'null'), max_attempts,
           nullif(item -> 'options' -> 'cancellation', 'null'), $9, 'pending', 1, run_id, tenant_id,
           workflow_run_id
      from given
    returning task_id
)
insert into {r} (run_id, task_id, attempt, state, available_at, created_at, tenant_id, priority)
select run_id, task_id, 1, 'pending', available_at, $9, tenant_id, priority
  from given
 where task_id in (select task_id from tasks)
