-- Running runs whose time is over, by the column <end> that says when: $1 now, $2 at most how many,
-- $3 the instant before which none is, $4 runs that are to be passed over. The run is locked, and
-- the task where nobody else is at it.
with line as materialized (
    select r.run_id, r.task_id, r.<end> as ended_at
      from {r} r
     where r.state = 'running' and r.<end> is not null and r.<end> between $3 and $1
       and r.run_id <> all ($4)
     order by r.<end>
     limit $2
       for no key update skip locked
)
select line.run_id, t.state in ('pending', 'running', 'sleeping'),
       exists (select from {w} w where w.run_id = line.run_id),
       t.state is null and not exists (select from {t} t where t.task_id = line.task_id),
       line.ended_at
  from line
  left join lateral (
       select t.state from {t} t where t.task_id = line.task_id for no key update skip locked
  ) t on true
 order by line.ended_at
