-- As take_tasks.sql, of one task: $1 task, $2 run, $3 now.
update {t}
   set state = 'running', first_started_at = coalesce(first_started_at, $3), last_attempt_run = $2
 where task_id = $1
