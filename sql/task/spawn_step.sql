-- As spawn_steps.sql, of one task, without its run.
insert into {t} (task_id, task_name, params, headers, retry_strategy, max_attempts, enqueue_at, state,
                 attempts, last_attempt_run, workflow_run_id, workflow_step, attempt_timeout,
                 leave_late)
values ($1, $3, $4::jsonb, $5::jsonb, $6::jsonb, $7, $11, 'pending', 1, $2, $10, true, $8, $9)
