-- Registers a wait and puts run and task to sleep: $1 run, $2 task, $3 step, $4 event, $5 timeout
-- or null, $6 now.
with wait as (
    insert into {w} (task_id, run_id, step_name, event_name, timeout_at, created_at)
    values ($2, $1, $3, $4, $5, $6)
    on conflict (run_id, step_name) do update
       set event_name = excluded.event_name, timeout_at = excluded.timeout_at,
           created_at = excluded.created_at
), asleep as (
    update {r}
       set state = 'sleeping', available_at = coalesce($5, 'infinity'), wake_event = $4,
           event_payload = null, claimed_by = null, claim_expires_at = null
     where run_id = $1
    returning run_id
)
update {t} set state = 'sleeping' where task_id = $2 and exists (select from asleep)
