-- The committed checkpoints that a run sees: its own and those of earlier attempts of its task.
-- $1 task, $2 run.
select c.checkpoint_name, c.state, c.status, c.owner_run_id, c.updated_at
  from {c} c
  left join {r} owner on owner.run_id = c.owner_run_id
 where c.task_id = $1
   and c.status = 'committed'
   and (owner.attempt is null
        or owner.attempt <= (select attempt from {r} where run_id = $2))
 order by c.updated_at, c.checkpoint_name
