-- Removes events emitted before $1, oldest first, at most $2.
with old as materialized (
    select event_name from {e}
     where emitted_at < $1
     order by emitted_at
     limit $2
       for update skip locked
), gone as (
    delete from {e} e using old where e.event_name = old.event_name
    returning 1
)
select count(*)::integer from gone
