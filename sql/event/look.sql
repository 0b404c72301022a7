-- Everything that await_event decides on, once the run is locked: $1 run, $2 step, $3 event. The
-- lock is a statement of its own, since this one must see what was committed while that was waited
-- for.
select r.task_id, r.state, t.state, r.wake_event, r.event_payload is not null,
       c.task_id is not null, c.state, e.event_name is not null, e.payload
  from {r} r
  join {t} t on t.task_id = r.task_id
  left join {c} c on c.task_id = r.task_id and c.checkpoint_name = $2
  left join {e} e on e.event_name = $3
 where r.run_id = $1
