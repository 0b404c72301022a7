-- What an application role needs to work with one queue, here `pipeline`, and to track workflow
-- runs. The functions of the extension run with the rights of their caller. Creating a queue is left
-- to the owner.
grant usage on schema absurd to app;
grant select on absurd.queues to app;
grant select, insert, update on absurd.workflow_run to app;
grant select on absurd.workflow_transition to app;
grant select, insert, update, delete on
    absurd.t_pipeline, absurd.r_pipeline, absurd.c_pipeline, absurd.e_pipeline, absurd.w_pipeline
    to app;
