-- Revives a failed task that the caller has locked: $1 task, $2 the new run, $3 its attempt, $4
-- now, $5 the attempts allowed. The clock of max_duration starts anew with the next start.
with next as (
    insert into {r} (run_id, task_id, attempt, state, available_at, created_at, tenant_id, priority)
    select $2, t.task_id, $3, 'pending', $4, $4, t.tenant_id,
           coalesce((select r.priority from {r} r where r.task_id = t.task_id
                      order by r.attempt desc limit 1), 0)
      from {t} t
     where t.task_id = $1
    returning run_id
)
update {t}
   set state = 'pending', attempts = $3, max_attempts = $5, last_attempt_run = $2,
       first_started_at = null, cancel_done = null
 where task_id = $1 and exists (select from next)
