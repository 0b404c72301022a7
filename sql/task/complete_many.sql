-- Completes running runs and their tasks, but for tasks that workflow steps follow: $1 runs, $2 payloads, $3 now. Runs are locked in one order.
-- Returns each run that was running, with a false flag when its task has ended already.
with held as materialized (
    select r.run_id, given.payload
      from rows from (unnest($1), unnest($2)) as given (run_id, payload)
      join {r} r on r.run_id = given.run_id
      join {t} t on t.task_id = r.task_id
     where r.state = 'running' and t.workflow_step is not true
     order by r.run_id
       for no key update of r
), done as (
    update {r} r
       set state = 'completed', completed_at = $3, result = held.payload
      from held
     where r.run_id = held.run_id
    returning r.run_id, r.task_id, held.payload
), tasks as (
    update {t} t
       set state = 'completed', completed_payload = done.payload,
           cancel_done = case when t.cancellation is not null then true else t.cancel_done end
      from done
     where t.task_id = done.task_id and t.state in ('pending', 'running', 'sleeping')
       and t.workflow_step is not true
    returning done.run_id
), waits as (
    delete from {w} w using done where w.run_id = done.run_id
)
select run_id from tasks
