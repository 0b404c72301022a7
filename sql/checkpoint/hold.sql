-- The run that writes a checkpoint, locked against ending: a failure or cancellation under way
-- decides first. Nothing when it or its task has ended. Says also whether it has a lease. $1 run.
select r.task_id, r.attempt, true, r.state = 'running' and r.claim_expires_at is not null
  from {r} r
  join {t} t on t.task_id = r.task_id
 where r.run_id = $1
   and r.state in ('pending', 'running', 'sleeping')
   and t.state in ('pending', 'running', 'sleeping')
