-- Hands out runs that are locked, with their tasks: $1 runs, $2 tasks, $3 when each task's cancellation
-- rule comes due, $4 when each attempt runs out of time, $5 now, $6 worker, $7 end of the leases.
with given as materialized (
    select *
      from rows from (unnest($1), unnest($2), unnest($3), unnest($4))
           as given (run_id, task_id, cancel_at, attempt_ends_at)
), runs as (
    update {r} r
       set state = 'running', claimed_by = $6, claim_expires_at = $7, available_at = $5,
           started_at = $5, last_heartbeat = $5, attempt_ends_at = given.attempt_ends_at
      from given
     where r.run_id = given.run_id
)
update {t} t
   set state = 'running', first_started_at = coalesce(t.first_started_at, $5),
       last_attempt_run = given.run_id, cancel_at = given.cancel_at
  from given
 where t.task_id = given.task_id
