-- Hands out ready runs of one priority: $1 now, $2 how many, $3 worker, $4 end of the lease, $5
-- whether to pass over what cannot be handed out, $6 the priority, $7 and $8 the instants from which on
-- and up to which to look.
--
-- The index on ready runs yields them in order, so nothing is sorted and nothing beyond the rows
-- handed out is read. Locked rows, run or task, are passed over: a claim waits for nobody. With $5
-- false the rows at the head are taken as they come, and a run of an ended task is closed then, so
-- that it does not stand at the head for ever. Whether a task is in time is worked out from its rule
-- itself, so that none is handed out late whoever wrote its row.
with head as materialized (
    select r.run_id, r.task_id, r.attempt, t.task_name, t.params, t.retry_strategy,
           t.max_attempts, t.headers, r.wake_event, r.event_payload, r.available_at,
           t.attempt_timeout,
           t.state in ('pending', 'running', 'sleeping') as open,
           coalesce({deadline} > timezone('UTC', $1), true) as in_time
      from {r} r
      join {t} t on t.task_id = r.task_id
     where r.state in ('pending', 'sleeping')
       and r.priority = $6
       and r.available_at between $7 and $8
       and (not $5
            or (t.state in ('pending', 'running', 'sleeping')
                and coalesce({deadline} > timezone('UTC', $1), true)))
     order by r.available_at, r.run_id
     limit $2
       for no key update of r, t skip locked
), timed_out as materialized (
    -- The waits that a run woke from, unless a client is removing one at this moment.
    select w.run_id, w.step_name
      from head
      join {w} w on w.run_id = head.run_id
     where w.timeout_at <= $1
       for update of w skip locked
), ready as materialized (
    select head.*,
           open and in_time
           and not exists (
               select from {w} w
                where w.run_id = head.run_id and w.timeout_at <= $1
                  and not exists (
                      select from timed_out
                       where timed_out.run_id = w.run_id
                         and timed_out.step_name = w.step_name)) as usable
      from head
), claimed as (
    update {r} r
       set state = 'running', claimed_by = $3, claim_expires_at = $4, available_at = $1,
           started_at = $1, last_heartbeat = $1,
           attempt_ends_at = $1 + make_interval(secs => ready.attempt_timeout)
      from ready
     where r.run_id = ready.run_id and ready.usable
), started as (
    update {t} t
       set state = 'running', first_started_at = coalesce(t.first_started_at, $1),
           last_attempt_run = ready.run_id
      from ready
     where t.task_id = ready.task_id and ready.usable
), waits as (
    delete from {w} w
     using timed_out
      join ready on ready.run_id = timed_out.run_id and ready.usable
     where w.run_id = timed_out.run_id and w.step_name = timed_out.step_name
), closed as (
    update {r} r
       set state = 'cancelled', claimed_by = null, claim_expires_at = null
      from ready
     where r.run_id = ready.run_id and not ready.open
)
select run_id, task_id, attempt, task_name, params, retry_strategy, max_attempts, headers,
       wake_event, event_payload, usable, available_at
  from ready
