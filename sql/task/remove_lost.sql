-- Removes runs whose task is gone: $1 the runs, $2 the name of the table of tasks. Rows that
-- somebody holds are left. Where a policy hides rows of tasks from the caller, a task that he does
-- not see may be there.
with held as materialized (
    select r.run_id
      from {r} r
     where r.run_id = any ($1)
       and not exists (select from {t} t where t.task_id = r.task_id)
       and not (select row_security_active(c.oid)
                  from pg_class c
                 where c.relnamespace = 'absurd'::regnamespace and c.relname = $2)
       for update skip locked
), waits as materialized (
    select w.run_id, w.step_name
      from held
      join {w} w on w.run_id = held.run_id
       for update of w skip locked
), forgotten as (
    delete from {w} w
     using waits
     where w.run_id = waits.run_id and w.step_name = waits.step_name
)
delete from {r} r
 using held
 where r.run_id = held.run_id
returning r.run_id
