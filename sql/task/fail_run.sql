-- Fails a run that the caller has locked together with its task: $1 run, $2 reason, $3 now.
update {r}
   set state = 'failed', failed_at = $3, failure_reason = $2, wake_event = null
 where run_id = $1
