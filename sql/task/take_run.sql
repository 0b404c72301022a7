-- As take_runs.sql, of one run: $1 run, $2 when its attempt runs out of time, $3 now, $4 worker, $5
-- end of the lease.
update {r}
   set state = 'running', claimed_by = $4, claim_expires_at = $5, available_at = $3,
       started_at = $3, last_heartbeat = $3, attempt_ends_at = $2
 where run_id = $1
