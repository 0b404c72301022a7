-- How many were removed, when the last candidate had ended, and whether rows that were to go have
-- stayed: counted by groups, because a join would be planned for sizes that nobody knows.
select count(*)::integer,
       (select max(ended_at) from oldest),
       exists (
           select from (
               select task_id, 1 as n, true as goes from gone
               union all select task_id, 1, false from waits_held
               union all select task_id, 1, false from runs_held
               union all select task_id, 1, false from checkpoints_held
               union all select task_id, -1, true from tasks
               union all select task_id, -1, false from waits
               union all select task_id, -1, false from runs
               union all select task_id, -1, false from checkpoints) each
            group by task_id
           having bool_or(goes) and sum(n) <> 0)
  from tasks
