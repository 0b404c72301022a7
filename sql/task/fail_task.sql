-- Settles the task of a failed run: $1 task, $2 its state, $3 the run that speaks for it, $4 the
-- next attempt or null, $5 now.
update {t}
   set state = $2, attempts = coalesce($4, attempts),
       last_attempt_run = case when $4 is null then coalesce(last_attempt_run, $3) else $3 end,
       cancelled_at = case when $2 = 'cancelled' then $5 else cancelled_at end,
       cancel_done = case when cancellation is not null and $4 is null then true
                          else cancel_done end
 where task_id = $1
