-- Sets tasks running that are locked, with their runs: $1 tasks, $2 runs, $3 now.
update {t} t
   set state = 'running', first_started_at = coalesce(t.first_started_at, $3),
       last_attempt_run = given.run_id
  from rows from (unnest($1), unnest($2)) as given (task_id, run_id)
 where t.task_id = given.task_id
