-- Wakes the runs that wait for events: $1 names, $2 payloads, $3 now. Runs are locked in one order, then
-- their tasks, so that emitters and cancellations of many cannot wait for each other in a circle.
with held as materialized (
    select r.run_id, r.task_id, r.attempt, w.step_name, event.payload
      from rows from (unnest($1), unnest($2)) as event (name, payload)
      join {w} w on w.event_name = event.name
      join {r} r on r.run_id = w.run_id
     where (w.timeout_at is null or w.timeout_at > $3)
       and r.state = 'sleeping'
     order by r.run_id
       for no key update of r
), late as materialized (
    -- Waits whose time has passed are over; a claim tells their runs.
    select w.run_id, w.step_name
      from unnest($1) as event (name)
      join {w} w on w.event_name = event.name
     where w.timeout_at <= $3
       for update of w skip locked
), woken as (
    update {r} r
       set state = 'pending', available_at = $3, wake_event = null, event_payload = held.payload,
           claimed_by = null, claim_expires_at = null
      from held
     where r.run_id = held.run_id
), tasks as (
    update {t} t
       set state = 'pending'
      from held
     where t.task_id = held.task_id and t.state in ('pending', 'running', 'sleeping')
), steps as (
    insert into {c} as c (task_id, checkpoint_name, state, status, owner_run_id, updated_at)
    select held.task_id, held.step_name, held.payload, 'committed', held.run_id, $3 from held
    on conflict (task_id, checkpoint_name) do update
       set state = excluded.state, status = excluded.status,
           owner_run_id = excluded.owner_run_id, updated_at = excluded.updated_at
)
delete from {w} w
 using (select run_id, step_name from held union all select run_id, step_name from late) held
 where w.run_id = held.run_id and w.step_name = held.step_name
