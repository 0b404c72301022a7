-- How many were removed, when the last candidate had ended, and whether rows that were to go have
-- stayed.
select count(*)::integer,
       (select max(ended_at) from oldest),
       (select count(*) from gone) > count(*)
       or (select count(*) from waits_held join gone using (task_id)) > (select count(*) from waits)
       or (select count(*) from runs_held join gone using (task_id)) > (select count(*) from runs)
       or (select count(*) from checkpoints_held join gone using (task_id))
          > (select count(*) from checkpoints)
  from tasks
