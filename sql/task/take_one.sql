-- As take.sql, of one run: what is known beforehand needs no join.
with run as (
    update {r}
       set state = 'running', claimed_by = $5, claim_expires_at = $6, available_at = $4,
           started_at = $4, last_heartbeat = $4, attempt_ends_at = $3
     where run_id = $1
)
update {t}
   set state = 'running', first_started_at = coalesce(first_started_at, $4),
       last_attempt_run = $1
 where task_id = $2
