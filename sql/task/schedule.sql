-- Puts a running run to sleep: $1 run, $2 until when. What an earlier event left behind goes: the
-- run wakes for the time, not for an event. Returns its task, and whether it has waits.
update {r} r
   set state = 'sleeping', available_at = $2, claimed_by = null, claim_expires_at = null,
       wake_event = null, event_payload = null
 where r.run_id = $1 and r.state = 'running'
returning r.task_id, exists (select from {w} w where w.run_id = $1)
