-- Fails a run that the caller has locked together with its task, and settles the task: $1 run,
-- $2 reason, $3 now, $4 the task's state, $5 the next run or null, $6 when that becomes available.
-- The next run, when there is one, is in the state of its task.
with failed as (
    update {r}
       set state = 'failed', failed_at = $3, failure_reason = $2, wake_event = null,
           retried = case when $5 is not null then true end
     where run_id = $1
    returning task_id, attempt, tenant_id, priority
), waits as (
    delete from {w} w where w.run_id = $1
), next as (
    insert into {r} (run_id, task_id, attempt, state, available_at, created_at, tenant_id, priority)
    select $5, task_id, attempt + 1, $4, $6, $3, tenant_id, priority
      from failed
     where $5 is not null
)
update {t} t
   set state = $4,
       attempts = case when $5 is null then t.attempts else failed.attempt + 1 end,
       last_attempt_run = coalesce($5, t.last_attempt_run, $1),
       cancelled_at = case when $4 = 'cancelled' then $3 else t.cancelled_at end,
       cancel_done = case when t.cancellation is not null and $5 is null then true
                          else t.cancel_done end
  from failed
 where t.task_id = failed.task_id
