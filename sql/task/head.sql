-- Some runs of the line of one priority, locked, with their tasks where nobody else is at those: $1
-- now, $2 how many, $3 the priority, $4 and $5 the instants from which on and up to which to look,
-- $6 the run from which on at the first of these. The index on ready runs yields them in order, so
-- nothing beyond these rows is read or sorted, whether they have a task or not. Locked rows are
-- passed over: a claim waits for nobody. <aside> is nothing, or leaves out the runs $7.
with line as materialized (
    select r.run_id, r.task_id, r.attempt, r.wake_event, r.event_payload, r.available_at
      from {r} r
     where r.state in ('pending', 'sleeping')
       and r.priority = $3
       and (r.available_at, r.run_id) >= ($4, $6)
       and r.available_at <= $5 <aside>
     order by r.available_at, r.run_id
     limit $2
       for no key update skip locked
)
select line.run_id, line.task_id, line.attempt, line.wake_event, line.event_payload,
       line.available_at,
       exists (select from {w} w where w.run_id = line.run_id and w.timeout_at <= $1),
       t.task_name, t.params, t.retry_strategy, t.max_attempts, t.headers,
       t.state in ('pending', 'running', 'sleeping'), t.cancellation, t.enqueue_at,
       t.first_started_at, t.attempts, t.attempt_timeout, t.workflow_step, t.cancel_done,
       t.state is null and not exists (select from {t} t where t.task_id = line.task_id)
  from line
  left join lateral (
       select t.*
         from {t} t
        where t.task_id = line.task_id
          for no key update skip locked
  ) t on true
 order by line.available_at, line.run_id
