-- As take.sql, of one run: what is known beforehand needs no join.
with run as (
    update {r}
       set state = 'running', claimed_by = $6, claim_expires_at = $7, available_at = $5,
           started_at = $5, last_heartbeat = $5, attempt_ends_at = $4
     where run_id = $1
)
update {t}
   set state = 'running', first_started_at = coalesce(first_started_at, $5),
       last_attempt_run = $1, cancel_at = $3
 where task_id = $2
