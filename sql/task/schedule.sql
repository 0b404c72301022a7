-- Puts a running run and its task to sleep: $1 run, $2 until when. Waits and what an earlier event
-- left behind go: the run wakes for the time, not for an event.
with asleep as (
    update {r}
       set state = 'sleeping', available_at = $2, claimed_by = null, claim_expires_at = null,
           wake_event = null, event_payload = null
     where run_id = $1 and state = 'running'
    returning task_id
), task as (
    update {t} t
       set state = 'sleeping'
      from asleep
     where t.task_id = asleep.task_id and t.state in ('pending', 'running', 'sleeping')
    returning t.task_id
), waits as (
    delete from {w} w using asleep where w.run_id = $1
)
select exists (select from task) from asleep
