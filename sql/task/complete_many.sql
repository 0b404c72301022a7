-- Completes running runs and their tasks, but for tasks that workflow steps follow: $1 runs, in the
-- order in which they are to be locked, $2 payloads, $3 now. Returns each run that was running and
-- whose task was open.
with done as (
    update {r} r
       set state = 'completed', completed_at = $3, result = given.payload
      from rows from (unnest($1), unnest($2)) as given (run_id, payload), {t} t
     where r.run_id = given.run_id and r.state = 'running'
       and t.task_id = r.task_id and t.workflow_step is not true
    returning r.run_id, r.task_id, given.payload
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
