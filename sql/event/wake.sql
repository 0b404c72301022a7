-- Wakes the runs that wait for events: $1 runs, $2 steps, $3 which of the payloads, $4 payloads, $5
-- now. Returns how many rows were changed of the kind with the fewest, and whether a run was not.
-- Runs are locked in the order in which they are given, then their tasks, so that emitters and
-- cancellations of many cannot wait for each other in a circle. (To be told to order them, Postgres
-- would read the waits of all events in the order of their runs.)
with locked as materialized (
    select r.run_id, r.task_id, r.attempt, given.step_name, ($4)[given.place] as payload
      from rows from (unnest($1), unnest($2), unnest($3)) as given (run_id, step_name, place)
      join {r} r on r.run_id = given.run_id
     where r.state = 'sleeping'
       for no key update of r
), held as materialized (
    -- In order, so that all are locked before one is changed: a run may have several waits.
    select * from locked order by attempt desc
), woken as (
    update {r} r
       set state = 'pending', available_at = $5, wake_event = null, event_payload = held.payload,
           claimed_by = null, claim_expires_at = null
      from held
     where r.run_id = held.run_id
    returning 1
), tasks as (
    update {t} t
       set state = 'pending'
      from held
     where t.task_id = held.task_id and t.state in ('pending', 'running', 'sleeping')
    returning 1
), steps as (
    insert into {c} as c (task_id, checkpoint_name, state, status, owner_run_id, updated_at)
    -- Several attempts at a task may wait at one step.
    select distinct on (held.task_id, held.step_name)
           held.task_id, held.step_name, held.payload, 'committed', held.run_id, $5
      from held
     order by held.task_id, held.step_name, held.attempt desc
    on conflict (task_id, checkpoint_name) do update
       set state = excluded.state, status = excluded.status,
           owner_run_id = excluded.owner_run_id, updated_at = excluded.updated_at
     -- A name is the newest attempt's.
     where not exists (
           select from {r} owner join {r} waiter on waiter.run_id = excluded.owner_run_id
            where owner.run_id = c.owner_run_id and owner.attempt > waiter.attempt)
), waits as (
    delete from {w} w
     using held
     where w.run_id = held.run_id and w.step_name = held.step_name
    returning 1
)
select least((select count(*) from woken), (select count(*) from tasks), (select count(*) from waits)),
       (select count(distinct run_id) from held) > (select count(*) from woken)
