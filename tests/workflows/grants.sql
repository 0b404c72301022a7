-- What an application role needs to register, start and work workflow documents in one queue, here
-- `pipeline`, beside what grants.sql of the client tests says. The functions run with the rights of their
-- caller.
grant usage on schema absurd to app;
grant select on absurd.queues to app;
grant select, insert, update on absurd.workflow_run to app;
grant select on absurd.workflow_transition to app;
grant select, insert, update, delete on
    absurd.t_pipeline, absurd.r_pipeline, absurd.c_pipeline, absurd.e_pipeline, absurd.w_pipeline
    to app;
grant select, insert, update, delete on
    absurd.workflow_definition, absurd.workflow_execution, absurd.workflow_scope,
    absurd.workflow_step, absurd.workflow_value, absurd.workflow_timer, absurd.workflow_wait,
    absurd.workflow_stimulus, absurd.workflow_breaker, absurd.workflow_schedule
    to app;
