-- Completes a task that is open: $1 task, $2 payload. The blank is as in complete.sql.
update {t} t
   set state = 'completed', completed_payload = $2,
       cancel_done = case when t.cancellation is not null then true else t.cancel_done end
 where t.task_id = $1 and t.state in ('pending', 'running', 'sleeping') <followed>
returning t.task_id
