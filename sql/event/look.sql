-- Everything that await_event decides on, with the run locked: $1 run, $2 step, $3 event.
select r.task_id, r.state, t.state, r.wake_event, r.event_payload is not null,
       c.task_id is not null, c.state, e.event_name is not null, e.payload
  from {r} r
  join {t} t on t.task_id = r.task_id
  left join {c} c on c.task_id = r.task_id and c.checkpoint_name = $2
  left join {e} e on e.event_name = $3
 where r.run_id = $1
   for no key update of r
