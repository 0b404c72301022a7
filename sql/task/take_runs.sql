-- Hands out runs that are locked: $1 runs, $2 when each attempt runs out of time, $3 now, $4
-- worker, $5 end of the leases.
update {r} r
   set state = 'running', claimed_by = $4, claim_expires_at = $5, available_at = $3,
       started_at = $3, last_heartbeat = $3, attempt_ends_at = given.attempt_ends_at
  from rows from (unnest($1), unnest($2)) as given (run_id, attempt_ends_at)
 where r.run_id = given.run_id
