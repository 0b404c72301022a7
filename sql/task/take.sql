-- Hands out runs that are locked, with their tasks: $1 runs, $2 tasks, $3 when each attempt
-- runs out of time, $4 now, $5 worker, $6 end of the leases.
with given as materialized (
    select *
      from rows from (unnest($1), unnest($2), unnest($3))
           as given (run_id, task_id, attempt_ends_at)
), runs as (
    update {r} r
       set state = 'running', claimed_by = $5, claim_expires_at = $6, available_at = $4,
           started_at = $4, last_heartbeat = $4, attempt_ends_at = given.attempt_ends_at
      from given
     where r.run_id = given.run_id
)
update {t} t
   set state = 'running', first_started_at = coalesce(t.first_started_at, $4),
       last_attempt_run = given.run_id
  from given
 where t.task_id = given.task_id
