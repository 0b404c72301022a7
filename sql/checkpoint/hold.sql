-- The run that writes a checkpoint, locked against ending: a failure or cancellation under way decides first.
-- Writers of one run share it. $1 run.
select r.task_id, r.attempt,
       r.state in ('pending', 'running', 'sleeping')
       and t.state in ('pending', 'running', 'sleeping')
  from {r} r
  join {t} t on t.task_id = r.task_id
 where r.run_id = $1
   for share of r
