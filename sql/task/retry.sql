-- Revives a failed task that the caller has locked: $1 task, $2 the new run, $3 its attempt, $4 now,
-- $5 the attempts allowed. The clock of max_duration starts anew with the next start.
with next as (
    insert into {r} (run_id, task_id, attempt, state, available_at, created_at, tenant_id, priority)
    select $2, t.task_id, $3, 'pending', $4, $4, t.tenant_id,
           coalesce((select r.priority from {r} r where r.task_id = t.task_id
                      order by r.attempt desc limit 1), 0)
      from {t} t
     where t.task_id = $1
), earlier as materialized (
    select run_id from {r}
     where task_id = $1 and failed_at is not null and retried is null
       for no key update skip locked
), retried as (
    update {r} r set retried = true from earlier where r.run_id = earlier.run_id
)
update {t}
   set state = 'pending', attempts = $3, max_attempts = $5, last_attempt_run = $2,
       first_started_at = null, cancel_done = null
 where task_id = $1
