-- Writes a checkpoint: $1 the run that writes, $2 its task or the run itself, $3 name, $4 state,
-- $5 now. Returns nothing when the run is not the task's or either has ended. The run is locked
-- against ending: a failure or cancellation under way decides first. Writers of one run share it; one that
-- has just prolonged its lease has the run for itself, and the lock is left out.
with run as materialized (
    select r.task_id, r.attempt
      from {r} r
      join {t} t on t.task_id = r.task_id
     where r.run_id = $1 and $2 in (r.task_id, r.run_id)
       and r.state in ('pending', 'running', 'sleeping')
       and t.state in ('pending', 'running', 'sleeping')
       <lock>
), put as (
    insert into {c} as c (task_id, checkpoint_name, state, status, owner_run_id, updated_at)
    select task_id, $3, $4, 'committed', $1, $5 from run
    on conflict (task_id, checkpoint_name) do update
       set state = excluded.state, status = excluded.status,
           owner_run_id = excluded.owner_run_id, updated_at = excluded.updated_at
     -- A name is the newest attempt's.
     where (select owner.attempt from {r} owner where owner.run_id = c.owner_run_id) is null
        or (select owner.attempt from {r} owner where owner.run_id = c.owner_run_id)
           <= (select attempt from run)
)
select task_id from run
