-- Stores an event, once: $1 name, $2 payload, $3 now. Returns its waits when it is new, a row
-- without a run when there are none: whether there are any decides whether the rest of the work is
-- needed.
with event as (
    insert into {e} (event_name, payload, emitted_at) values ($1, $2, $3)
    on conflict (event_name) do nothing
    returning event_name
)
select w.run_id, w.step_name, coalesce(w.timeout_at <= $3, false)
  from event
  left join {w} w on w.event_name = $1
