-- Completes a running run and its task, unless steps of a workflow run follow it: $1 run, $2 payload,
-- $3 now. Returns nothing when the run is not running or its task is followed, and a false flag when its
-- task has ended already or is followed since a moment ago.
with done as (
    update {r} r
       set state = 'completed', completed_at = $3, result = $2
      from {t} t
     where r.run_id = $1 and r.state = 'running'
       and t.task_id = r.task_id and t.workflow_step is not true
    returning r.task_id
), task as (
    update {t} t
       set state = 'completed', completed_payload = $2,
           cancel_done = case when t.cancellation is not null then true else t.cancel_done end
      from done
     where t.task_id = done.task_id and t.state in ('pending', 'running', 'sleeping')
       and t.workflow_step is not true
    returning t.task_id
), waits as (
    delete from {w} w using done where w.run_id = $1
)
select exists (select from task) from done
