-- Stores an event, once: $1 name, $2 payload, $3 now. Returns its waiters when it is new: whether
-- there are any decides whether the rest of the work is needed.
with event as (
    insert into {e} (event_name, payload, emitted_at) values ($1, $2, $3)
    on conflict (event_name) do nothing
    returning event_name
)
select exists (select from {w} w where w.event_name = $1) from event
