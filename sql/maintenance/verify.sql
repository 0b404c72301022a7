-- What must hold in a queue's tables and does not: kind, id, detail.
select 'orphan run', r.run_id, format('its task %s does not exist', r.task_id)
  from {r} r
 where not exists (select from {t} t where t.task_id = r.task_id)
union all
select 'orphan checkpoint', c.task_id,
       format('checkpoint %L is of a task that does not exist', left(c.checkpoint_name, 100))
  from {c} c
 where not exists (select from {t} t where t.task_id = c.task_id)
union all
select 'orphan wait', w.run_id,
       format('the wait for event %L is of a run that does not exist', left(w.event_name, 100))
  from {w} w
 where not exists (select from {r} r where r.run_id = w.run_id)
union all
select 'open runs', t.task_id,
       format('the task is %s and has %s open runs; one is right', t.state, count(r.run_id))
  from {t} t
  left join {r} r on r.task_id = t.task_id and r.state in ('pending', 'running', 'sleeping')
 where t.state in ('pending', 'running', 'sleeping')
 group by t.task_id, t.state
having count(r.run_id) <> 1
union all
select 'state pair', r.run_id,
       format('the run is %s, its task %s is %s', r.state, t.task_id, t.state)
  from {r} r
  join {t} t on t.task_id = r.task_id
 where r.state in ('pending', 'running', 'sleeping') and t.state <> r.state
union all
select 'state pair', t.task_id,
       format('the task is %s, and none of its runs is', t.state)
  from {t} t
 where t.state in ('completed', 'failed')
   and not exists (select from {r} r where r.task_id = t.task_id and r.state = t.state)
union all
select 'double completion', r.task_id, format('%s runs of the task are completed', count(*))
  from {r} r
 where r.state = 'completed'
 group by r.task_id
having count(*) > 1
union all
select 'lost wait', w.run_id,
       format('the run sleeps, and event %L has been emitted', left(w.event_name, 100))
  from {w} w
  join {r} r on r.run_id = w.run_id and r.state = 'sleeping'
  join {e} e on e.event_name = w.event_name
union all
select 'lost wait', r.run_id, 'the run sleeps for ever, and waits for no event'
  from {r} r
 where r.state = 'sleeping' and r.available_at = 'infinity'
   and not exists (select from {w} w where w.run_id = r.run_id)
