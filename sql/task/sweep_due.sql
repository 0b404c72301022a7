-- Cancels tasks whose cancellation rule has come due: $1 now, $2 at most how many, $3 the instant
-- before which none did, $4 tasks that are to be passed over. Returns a row for each that was
-- looked at: its id, whether it has been dealt with, whether it was cancelled and steps of workflow
-- runs follow it, and whether all that was to be changed has been, of runs and of this task. What
-- is locked, the task, one of its open runs or one of its waits, is left to the next sweep. A task
-- that has ended without the engine's doing is only taken off the list.
with listed as materialized (
    select task_id, state in ('pending', 'running', 'sleeping') as open
      from {t}
     where cancellation is not null and cancel_done is null
       and {deadline} between timezone('UTC', $3) and timezone('UTC', $1)
       and task_id <> all ($4)
     order by {deadline}
     limit $2
       for no key update skip locked
), due as materialized (
    select task_id from listed where open
), held as materialized (
    select r.run_id, r.task_id
      from due
      join {r} r on r.task_id = due.task_id
     where r.state in ('pending', 'running', 'sleeping')
       for no key update of r skip locked
), waits as materialized (
    select w.run_id, w.step_name, w.task_id
      from due
      join {w} w on w.task_id = due.task_id
       for update of w skip locked
), sound as materialized (
    select due.task_id
      from due
     where (select count(*) from held where held.task_id = due.task_id)
         = (select count(*)
              from {r} r
             where r.task_id = due.task_id and r.state in ('pending', 'running', 'sleeping'))
       and (select count(*) from waits where waits.task_id = due.task_id)
         = (select count(*) from {w} w where w.task_id = due.task_id)
), runs as (
    update {r} r
       set state = 'cancelled', claimed_by = null, claim_expires_at = null
      from held
      join sound on sound.task_id = held.task_id
     where r.run_id = held.run_id
    returning r.run_id
), forgotten as (
    delete from {w} w
     using waits
      join sound on sound.task_id = waits.task_id
     where w.run_id = waits.run_id and w.step_name = waits.step_name
), swept as (
    update {t} t
       set state = case when listed.open then 'cancelled' else t.state end,
           cancelled_at = case when listed.open then $1 else t.cancelled_at end,
           cancel_done = true
      from listed
      left join sound on sound.task_id = listed.task_id
     where t.task_id = listed.task_id and (sound.task_id is not null or not listed.open)
    returning t.task_id, listed.open and coalesce(t.workflow_step, false) as followed
)
select listed.task_id, swept.task_id is not null, swept.followed is true,
       (select count(*) from runs)
     = (select count(*) from held join sound on sound.task_id = held.task_id),
       swept.task_id is not null or listed.task_id not in (select task_id from sound)
  from listed
  left join swept on swept.task_id = listed.task_id
