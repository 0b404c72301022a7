-- Removes tasks that ended before $1, oldest first, at most $2, with everything of theirs. A task
-- that is locked, being revived for one, is passed over.
with ended as materialized (
    select t.task_id, coalesce(r.completed_at, r.failed_at) as ended_at
      from {r} r
      join {t} t on t.task_id = r.task_id
     where coalesce(r.completed_at, r.failed_at) < $1
       -- The end of an earlier attempt is not the task's.
       and not exists (
           select from {r} later where later.task_id = r.task_id and later.attempt > r.attempt)
       and t.state in ('completed', 'failed')
     order by coalesce(r.completed_at, r.failed_at)
     limit $2
       for update of t skip locked
), cancelled as materialized (
    select t.task_id, t.cancelled_at as ended_at
      from {t} t
     where t.cancelled_at < $1 and t.state = 'cancelled'
     order by t.cancelled_at
     limit $2
       for update skip locked
), gone as materialized (
    select task_id
      from (select * from ended union all select * from cancelled) oldest
     order by ended_at
     limit $2
), waits as (
    delete from {w} w using gone where w.task_id = gone.task_id
), checkpoints as (
    delete from {c} c using gone where c.task_id = gone.task_id
), runs as (
    delete from {r} r using gone where r.task_id = gone.task_id
), tasks as (
    delete from {t} t using gone where t.task_id = gone.task_id
    returning 1
)
