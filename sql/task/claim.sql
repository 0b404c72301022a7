-- Hands out runs that a timeout has woken, and that are locked with their tasks: $1 now, $2 the
-- runs, $3 worker, $4 end of the lease. A run one of whose waits a client is removing at this
-- moment is left: a claim waits for nobody. An attempt's limit that is no number of seconds up to a
-- hundred years is none. The last two columns say whether the run and its task were changed.
with head as materialized (
    select r.run_id, r.task_id, r.attempt, t.task_name, t.params, t.retry_strategy,
           t.max_attempts, t.headers, r.wake_event, r.event_payload, t.attempt_timeout
      from {r} r
      join {t} t on t.task_id = r.task_id
     where r.run_id = any ($2)
       for no key update of r, t skip locked
), timed_out as materialized (
    select w.run_id, w.step_name
      from head
      join {w} w on w.run_id = head.run_id
     where w.timeout_at <= $1
       for update of w skip locked
), ready as materialized (
    select head.*
      from head
     where not exists (
               select from {w} w
                where w.run_id = head.run_id and w.timeout_at <= $1
                  and not exists (
                      select from timed_out
                       where timed_out.run_id = w.run_id
                         and timed_out.step_name = w.step_name))
), claimed as (
    update {r} r
       set state = 'running', claimed_by = $3, claim_expires_at = $4, available_at = $1,
           started_at = $1, last_heartbeat = $1,
           attempt_ends_at = case
               when ready.attempt_timeout between 0 and 3.2e9::double precision
               then $1 + make_interval(secs => ready.attempt_timeout) end
      from ready
     where r.run_id = ready.run_id
    returning r.run_id
), started as (
    update {t} t
       set state = 'running', first_started_at = coalesce(t.first_started_at, $1),
           last_attempt_run = ready.run_id
      from ready
     where t.task_id = ready.task_id
    returning ready.run_id
), waits as (
    delete from {w} w
     using timed_out
      join ready on ready.run_id = timed_out.run_id
     where w.run_id = timed_out.run_id and w.step_name = timed_out.step_name
)
select run_id, task_id, attempt, task_name, params, retry_strategy, max_attempts, headers,
       wake_event, event_payload, run_id in (select run_id from claimed),
       run_id in (select run_id from started)
  from ready
