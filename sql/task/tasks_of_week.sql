-- The tasks of runs that head_of_week.sql found, locked: $1 their ids. A task of another week and
-- one that somebody holds are missing in the answer.
select t.task_id, t.task_name, t.params, t.retry_strategy, t.max_attempts, t.headers,
       t.state in ('pending', 'running', 'sleeping'), t.cancellation, t.enqueue_at,
       t.first_started_at, t.attempts, t.attempt_timeout, t.workflow_step
  from {t} t
 where t.task_id = any ($1)
   for no key update skip locked
