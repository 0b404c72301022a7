-- As head.sql, of the runs of one week, without their tasks: $1 now, $2 how many, $3 the priority,
-- $4 and $5 the instants between which to look.
select r.run_id, r.task_id, r.attempt, r.wake_event, r.event_payload, r.available_at,
       exists (select from {w} w where w.run_id = r.run_id and w.timeout_at <= $1)
  from {r} r
 where r.state in ('pending', 'sleeping')
   and r.priority = $3
   and r.available_at between $4 and $5
 order by r.available_at, r.run_id
 limit $2
   for no key update skip locked
