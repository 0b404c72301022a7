-- Removes tasks that ended before $1, oldest first, at most $2, with everything of theirs. A task
-- that is locked, being revived for one, or one of whose rows somebody holds, is passed over: a few
-- more candidates than wanted are looked at for that. Rows are taken from the inside out, each kind
-- only of tasks whose inner rows could all be had, so that nothing stays locked of a task that
-- stays.
with ended as materialized (
    select t.task_id, coalesce(r.completed_at, r.failed_at) as ended_at
      from {r} r
      join {t} t on t.task_id = r.task_id
     where coalesce(r.completed_at, r.failed_at) < $1 and r.retried is null
       -- The end of an earlier attempt is not the task's.
       and not exists (
           select from {r} later where later.task_id = r.task_id and later.attempt > r.attempt)
       and t.state in ('completed', 'failed')
     order by coalesce(r.completed_at, r.failed_at)
     limit $2::bigint + 64
), cancelled as materialized (
    select t.task_id, t.cancelled_at as ended_at
      from {t} t
     where t.cancelled_at < $1 and t.state = 'cancelled'
     order by t.cancelled_at
     limit $2::bigint + 64
), oldest as materialized (
    select task_id, ended_at
      from (select * from ended union all select * from cancelled) either
     order by ended_at
     limit $2::bigint + 64
), checkpoints_held as materialized (
    select c.task_id from oldest join {c} c on c.task_id = oldest.task_id
       for update of c skip locked
), waits_held as materialized (
    select w.task_id from oldest join {w} w on w.task_id = oldest.task_id
       for update of w skip locked
), inner_free as materialized (
    select task_id, min(ended_at) as ended_at
      from (select task_id, ended_at, 0 as missing from oldest
            union all select task_id, null, -1 from checkpoints_held
            union all select task_id, null, -1 from waits_held
            union all select c.task_id, null, 1 from oldest join {c} c on c.task_id = oldest.task_id
            union all select w.task_id, null, 1 from oldest join {w} w on w.task_id = oldest.task_id) each
     group by task_id
    having sum(missing) = 0
), runs_held as materialized (
    select r.task_id
      from (select task_id from inner_free order by ended_at limit $2) first
      join {r} r on r.task_id = first.task_id
       for update of r skip locked
), free as materialized (
    select task_id, min(ended_at) as ended_at
      from (select task_id, ended_at, 0 as missing from inner_free
            union all select task_id, null, -1 from runs_held
            union all select r.task_id, null, 1 from inner_free join {r} r on r.task_id = inner_free.task_id) each
     group by task_id
    having sum(missing) = 0
     order by 2
), gone as materialized (
    select t.task_id
      from free
      join {t} t on t.task_id = free.task_id
     where t.state in ('completed', 'failed', 'cancelled')
     limit $2
       for update of t skip locked
), waits as (
    delete from {w} w using gone where w.task_id = gone.task_id
    returning w.task_id
), checkpoints as (
    delete from {c} c using gone where c.task_id = gone.task_id
    returning c.task_id
), runs as (
    delete from {r} r using gone where r.task_id = gone.task_id
    returning r.task_id
), tasks as (
    delete from {t} t using gone where t.task_id = gone.task_id
    returning t.task_id
)
