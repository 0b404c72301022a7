-- As wake.sql, of one wait: $1 run, $2 step, $3 payload, $4 now.
with woken as (
    update {r}
       set state = 'pending', available_at = $4, wake_event = null, event_payload = $3,
           claimed_by = null, claim_expires_at = null
     where run_id = $1 and state = 'sleeping'
    returning task_id
), step as (
    insert into {c} as c (task_id, checkpoint_name, state, status, owner_run_id, updated_at)
    select task_id, $2, $3, 'committed', $1, $4 from woken
    on conflict (task_id, checkpoint_name) do update
       set state = excluded.state, status = excluded.status,
           owner_run_id = excluded.owner_run_id, updated_at = excluded.updated_at
     where not exists (
           select from {r} owner join {r} waiter on waiter.run_id = $1
            where owner.run_id = c.owner_run_id and owner.attempt > waiter.attempt)
), wait as (
    delete from {w} w using woken where w.run_id = $1 and w.step_name = $2
    returning 1
), task as (
    update {t} t
       set state = 'pending'
      from woken
     where t.task_id = woken.task_id and t.state in ('pending', 'running', 'sleeping')
    returning 1
)
select least((select count(*) from woken), (select count(*) from task), (select count(*) from wait)),
       false
