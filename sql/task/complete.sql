-- Completes a running run: $1 run, $2 payload, $3 now. Returns its task, and whether the run has
-- waits; nothing when it is not running. The blank leaves out tasks that steps of a workflow run
-- follow.
update {r} r
   set state = 'completed', completed_at = $3, result = $2
  from {t} t
 where r.run_id = $1 and r.state = 'running' and t.task_id = r.task_id <followed>
returning r.task_id, exists (select from {w} w where w.run_id = $1)
