-- Takes failed attempts that others followed out of the index of what has ended, where it does not
-- say so of them since a client wrote them: $1 the instant up to which cleanups have come.
with passed as materialized (
    select r.run_id
      from {r} r
     where coalesce(r.completed_at, r.failed_at) <= $1 and r.retried is null
       and exists (
           select from {r} later where later.task_id = r.task_id and later.attempt > r.attempt)
     order by coalesce(r.completed_at, r.failed_at)
     limit 10000
       for no key update of r skip locked
)
update {r} r set retried = true from passed where r.run_id = passed.run_id
