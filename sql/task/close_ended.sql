-- Closes waiting runs whose task has ended without them: $1 the runs. Rows that somebody holds are
-- left.
with held as materialized (
    select r.run_id
      from {r} r
      join {t} t on t.task_id = r.task_id
     where r.run_id = any ($1)
       and r.state in ('pending', 'sleeping')
       and t.state not in ('pending', 'running', 'sleeping')
       for no key update of r skip locked
)
update {r} r
   set state = 'cancelled', claimed_by = null, claim_expires_at = null
  from held
 where r.run_id = held.run_id
returning r.run_id
