-- Writes a checkpoint of a task as a run that the caller has locked: $1 task, $2 name, $3 state, $4
-- run, $5 now, $6 the run's attempt. A name is the newest attempt's.
insert into {c} as c (task_id, checkpoint_name, state, status, owner_run_id, updated_at)
values ($1, $2, $3, 'committed', $4, $5)
on conflict (task_id, checkpoint_name) do update
   set state = excluded.state, status = excluded.status, owner_run_id = excluded.owner_run_id,
       updated_at = excluded.updated_at
 where coalesce((select owner.attempt from {r} owner where owner.run_id = c.owner_run_id), $6) <= $6
