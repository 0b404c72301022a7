-- What an application role needs to register and start workflow documents, and to work them in one queue,
-- here `pipeline`. What the engine keeps of a run's course is read and written with its own rights: no
-- role needs any on those tables.
grant usage on schema absurd to app;
grant select on absurd.queues to app;
grant select, insert, update on absurd.workflow_run to app;
grant select on absurd.workflow_transition to app;
grant select, insert, update, delete on
    absurd.t_pipeline, absurd.r_pipeline, absurd.c_pipeline, absurd.e_pipeline, absurd.w_pipeline
    to app;
grant select, insert, update on absurd.workflow_definition to app;
