-- The head of the line of one priority, locked: $1 now, $2 how many, $3 the priority, $4 and $5 the
-- instants from which on and up to which to look. The index on ready runs yields them in order, so
-- nothing is sorted and nothing beyond these rows is read. Locked rows, run or task, are passed over: a
-- claim waits for nobody.
select r.run_id, r.task_id, r.attempt, r.wake_event, r.event_payload, r.available_at,
       exists (select from {w} w where w.run_id = r.run_id and w.timeout_at <= $1),
       t.task_name, t.params, t.retry_strategy, t.max_attempts, t.headers,
       t.state in ('pending', 'running', 'sleeping'), t.cancellation, t.enqueue_at,
       t.first_started_at, t.attempts, t.attempt_timeout, t.workflow_step
  from {r} r
  join {t} t on t.task_id = r.task_id
 where r.state in ('pending', 'sleeping')
   and r.priority = $3
   and r.available_at between $4 and $5
 order by r.available_at, r.run_id
 limit $2
   for no key update of r, t skip locked
