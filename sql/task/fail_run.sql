-- Fails a run that the caller has locked together with its task: $1 run, $2 reason, $3 now, $4
-- whether another follows. Returns whether it has waits.
update {r}
   set state = 'failed', failed_at = $3, failure_reason = $2, wake_event = null,
       retried = case when $4 then true end
 where run_id = $1
returning exists (select from {w} w where w.run_id = $1)
