-- What finalize.sql does for the rest, for the documents that the database executes: triggers,
-- rights, and what each object is for.

create trigger workflow_execution_forget
    after delete on absurd.workflow_execution
    for each row execute function absurd.workflow_execution_forget();
-- Who may delete a run removes all of it.
alter function absurd.workflow_execution_forget() security definer;
alter function absurd.workflow_execution_forget() set search_path = pg_catalog, pg_temp;
revoke execute on function absurd.workflow_execution_forget() from public;

create trigger workflow_definition_deleted
    after delete on absurd.workflow_definition
    for each row execute function absurd.workflow_definition_deleted();
-- Who deletes a definition need not see the runs that it would leave without one.
alter function absurd.workflow_definition_deleted() security definer;
alter function absurd.workflow_definition_deleted() set search_path = pg_catalog, pg_temp;
revoke execute on function absurd.workflow_definition_deleted() from public;

comment on column absurd.workflow_run.root_run_id is 'Of a run that the database executes: the run at the root of its tree, itself when it is no child; null for other runs. Never changes.';
comment on column absurd.workflow_run.parent_run_id is 'Of a child run: the run whose step started it. Never changes.';
comment on column absurd.workflow_run.parent_step is 'Of a child run: the path of the step that started it.';

comment on table absurd.workflow_definition is
    'Registered workflow documents. Written by register_workflow(); a row never changes but for its queue.';
comment on column absurd.workflow_definition.workflow_name is 'Name of the workflow.';
comment on column absurd.workflow_definition.workflow_version is 'Version of the workflow.';
comment on column absurd.workflow_definition.registration is 'Place in the order of registrations; the greatest of a name is its latest version.';
comment on column absurd.workflow_definition.workflow_hash is 'SHA-256 of the canonical document, in hexadecimal.';
comment on column absurd.workflow_definition.document is 'The document in its canonical form: defaults filled in, unknown fields dropped.';
comment on column absurd.workflow_definition.queue_name is 'Queue that runs work with unless they name another.';
comment on column absurd.workflow_definition.registered_at is 'When it was registered.';
comment on column absurd.workflow_definition.registered_by is 'Role that registered it.';

comment on table absurd.workflow_execution is
    'One row per workflow run that the database executes. The row of a root run is the lock of its tree. Written by the engine alone.';
comment on column absurd.workflow_execution.workflow_run_id is 'The workflow run.';
comment on column absurd.workflow_execution.root_run_id is 'Run at the root of the tree, itself for a root.';
comment on column absurd.workflow_execution.parent_run_id is 'Run whose step started this one, null for a root.';
comment on column absurd.workflow_execution.parent_scope is 'Scope instance of that step.';
comment on column absurd.workflow_execution.parent_node is 'Node of that step.';
comment on column absurd.workflow_execution.parent_branch is 'Name that the child has in that step.';
comment on column absurd.workflow_execution.depth is 'Runs between this one and the root.';
comment on column absurd.workflow_execution.workflow_name is 'Name of the workflow.';
comment on column absurd.workflow_execution.workflow_version is 'Version that the run started with and keeps.';
comment on column absurd.workflow_execution.workflow_hash is 'SHA-256 of the document that it executes.';
comment on column absurd.workflow_execution.queue_name is 'Queue of its tasks and events.';
comment on column absurd.workflow_execution.status is 'As in absurd.workflow_run.';
comment on column absurd.workflow_execution.transitions is 'Of a root: the transitions of its tree so far.';
comment on column absurd.workflow_execution.next_scope is 'Number that the next scope instance gets.';
comment on column absurd.workflow_execution.idempotency_key is 'Key that start_workflow finds the run by, unique in its workflow.';
comment on column absurd.workflow_execution.bounded is 'Whether the run waits its turn under max_active_runs.';
comment on column absurd.workflow_execution.started_at is 'When the run started.';
comment on column absurd.workflow_execution.result is 'Result of a run that a terminate step ended with another status than completed.';
comment on column absurd.workflow_execution.retries is 'How often retry_workflow_run() has started it again; null for never.';
comment on column absurd.workflow_execution.paused_at is 'Of a root, since when pause_workflow_run() holds its tree up.';
comment on column absurd.workflow_execution.parent_place is 'Of a child whose parent was retried, the place of the step that takes it up again.';

comment on table absurd.workflow_scope is
    'Scope instances of executed runs: the root, branches and iterations. Written by the engine alone.';
comment on column absurd.workflow_scope.workflow_run_id is 'The workflow run.';
comment on column absurd.workflow_scope.scope is 'Number of the instance in its run; the root''s is 0.';
comment on column absurd.workflow_scope.definition_scope is 'Number of the scope in the compiled document.';
comment on column absurd.workflow_scope.parent_scope is 'Instance that the container is in.';
comment on column absurd.workflow_scope.parent_node is 'Node of the container.';
comment on column absurd.workflow_scope.ordinal is 'Which branch, in the order of names, or iteration it is, from 0.';
comment on column absurd.workflow_scope.chain is 'Enclosing instances, the root first.';
comment on column absurd.workflow_scope.context is 'Instance that result keys written here go to.';
comment on column absurd.workflow_scope.path is 'What stands before the names of its steps in their paths.';
comment on column absurd.workflow_scope.phase is 'waiting, open, finished, or the state that steps which had not started were given when it was closed: skipped or upstream_failed.';
comment on column absurd.workflow_scope.open is 'Steps that have not ended.';
comment on column absurd.workflow_scope.failed_sinks is 'Last steps that failed.';
comment on column absurd.workflow_scope.item is 'Item of an iteration of a foreach.';
comment on column absurd.workflow_scope.result is 'Result of an instance that has ended.';
comment on column absurd.workflow_scope.error is 'Error of an instance that has failed.';

comment on table absurd.workflow_step is
    'Steps of executed runs that something has happened to; workflow_run_steps() shows the others too. Written by the engine alone.';
comment on column absurd.workflow_step.workflow_run_id is 'The workflow run.';
comment on column absurd.workflow_step.scope is 'Scope instance that the step is in.';
comment on column absurd.workflow_step.node is 'Number of the node in the compiled document.';
comment on column absurd.workflow_step.state is 'pending, running, completed, failed, skipped, upstream_failed or cancelled.';
comment on column absurd.workflow_step.dependencies is 'Dependencies that have completed, failed and been skipped.';
comment on column absurd.workflow_step.routers is 'Routers that selected the step, failed, and did not select it.';
comment on column absurd.workflow_step.inputs is 'Inputs of a join that have completed, failed and been skipped.';
comment on column absurd.workflow_step.referrers is 'Steps that have ended of those that name this one as their handler.';
comment on column absurd.workflow_step.trigger_node is 'Node whose end triggered a handler.';
comment on column absurd.workflow_step.trigger_succeeded is 'Whether that node completed.';
comment on column absurd.workflow_step.selected is 'Node that a router selected.';
comment on column absurd.workflow_step.open is 'Branches, iterations or child runs that have not ended.';
comment on column absurd.workflow_step.iterations is 'Iterations known of a loop.';
comment on column absurd.workflow_step.first_failed is 'First branch or iteration that failed.';
comment on column absurd.workflow_step.task_id is 'Queue task that works the step.';
comment on column absurd.workflow_step.attempts is 'Attempts that the task has made.';
comment on column absurd.workflow_step.event_name is 'Event that the step waits for.';
comment on column absurd.workflow_step.result is 'Result of a completed step.';
comment on column absurd.workflow_step.error is 'Error of a failed step.';
comment on column absurd.workflow_step.started_at is 'When the step started.';
comment on column absurd.workflow_step.finished_at is 'When the step ended.';
comment on column absurd.workflow_step.started is 'Place of its start in the order of all that happens in the tree.';
comment on column absurd.workflow_step.finished is 'Place of its end in that order.';

comment on table absurd.workflow_value is
    'Result keys of executed runs, each with the step whose result it names. Written by the engine alone.';
comment on column absurd.workflow_value.workflow_run_id is 'The workflow run.';
comment on column absurd.workflow_value.context is 'Scope instance in which the key was written.';
comment on column absurd.workflow_value.key is 'The result key.';
comment on column absurd.workflow_value.source_scope is 'Scope instance of the step.';
comment on column absurd.workflow_value.source_node is 'Node of the step.';

comment on table absurd.workflow_kept is
    'How steps of executed runs ended before the run was retried: they end so again when their turn comes. Written by the engine alone.';
comment on column absurd.workflow_kept.workflow_run_id is 'The workflow run.';
comment on column absurd.workflow_kept.place is 'Where the step stands: of each container around it node and ordinal, then its node.';
comment on column absurd.workflow_kept.state is 'State that the step had, or running for a loop whose items are kept.';
comment on column absurd.workflow_kept.selected is 'Node that a router selected.';
comment on column absurd.workflow_kept.task_id is 'Queue task that worked the step.';
comment on column absurd.workflow_kept.attempts is 'Attempts that the task made.';
comment on column absurd.workflow_kept.result is 'Result of the step, or the items of the loop.';
comment on column absurd.workflow_kept.error is 'Error of the step.';
comment on column absurd.workflow_kept.started_at is 'When the step started.';
comment on column absurd.workflow_kept.finished_at is 'When the step ended.';
comment on column absurd.workflow_kept.ended is 'Its place in the order of ends; 0 for what skip_step() gave.';
comment on column absurd.workflow_kept.is_entered is 'Whether it is a container that was ended from outside: what is inside it ends as it did before.';
comment on column absurd.workflow_kept.is_given is 'Whether skip_step() gave the result.';

comment on table absurd.workflow_timer is
    'Instants that executed runs and their steps wait for. Written by the engine alone.';
comment on column absurd.workflow_timer.workflow_run_id is 'The workflow run.';
comment on column absurd.workflow_timer.scope is 'Scope instance of the step, -1 for the run itself.';
comment on column absurd.workflow_timer.node is 'Node of the step, -1 for the run itself.';
comment on column absurd.workflow_timer.root_run_id is 'Root of the run''s tree.';
comment on column absurd.workflow_timer.queue_name is 'Queue whose claims fire the timer.';
comment on column absurd.workflow_timer.kind is 'wake, timeout, deadline, or admit: look again whether a waiting run may start.';
comment on column absurd.workflow_timer.due_at is 'When the timer fires.';

comment on table absurd.workflow_wait is
    'Steps of executed runs that wait for an event. Written by the engine alone.';
comment on column absurd.workflow_wait.workflow_run_id is 'The workflow run.';
comment on column absurd.workflow_wait.scope is 'Scope instance of the step.';
comment on column absurd.workflow_wait.node is 'Node of the step.';
comment on column absurd.workflow_wait.root_run_id is 'Root of the run''s tree.';
comment on column absurd.workflow_wait.queue_name is 'Queue of the event.';
comment on column absurd.workflow_wait.event_name is 'Name of the event.';

comment on table absurd.workflow_stimulus is
    'What has happened to executed runs while others were at work on them, taken up by who next holds the tree. Written by the engine alone.';
comment on column absurd.workflow_stimulus.stimulus_id is 'Id of the stimulus.';
comment on column absurd.workflow_stimulus.arrived_at is 'When it arrived, by the wall clock: the order in which stimuli are taken up.';
comment on column absurd.workflow_stimulus.happened_at is 'When it happened, by absurd.current_time(); of an attempt whose lease or time has ended, that instant. Timers that were due by then fire before it.';
comment on column absurd.workflow_stimulus.workflow_run_id is 'Workflow run that it concerns.';
comment on column absurd.workflow_stimulus.root_run_id is 'Root of the run''s tree.';
comment on column absurd.workflow_stimulus.queue_name is 'Queue whose claims take it up.';
comment on column absurd.workflow_stimulus.kind is 'task, attempt, event, look, emit, continue or admit.';
comment on column absurd.workflow_stimulus.scope is 'Scope instance of the step that it concerns.';
comment on column absurd.workflow_stimulus.node is 'Node of that step.';
comment on column absurd.workflow_stimulus.payload is 'What more there is to know of it.';

comment on table absurd.workflow_breaker is
    'Circuit breakers that have counted something, one per workflow name and step. Written by the engine alone.';
comment on column absurd.workflow_breaker.workflow_name is 'Name of the workflow; all its versions share the breaker.';
comment on column absurd.workflow_breaker.step_name is 'Name of the step.';
comment on column absurd.workflow_breaker.failures is 'Consecutive counted failures while the breaker is closed.';
comment on column absurd.workflow_breaker.successes is 'Consecutive successes since isolation ended.';
comment on column absurd.workflow_breaker.open_until is 'When isolation ends or ended; null for a closed breaker.';
comment on column absurd.workflow_breaker.probing_run is 'Run whose attempt tries whether it works again.';
comment on column absurd.workflow_breaker.probing_scope is 'Scope instance of the step that tries.';
comment on column absurd.workflow_breaker.probing_node is 'Node of the step that tries.';

comment on table absurd.workflow_schedule is
    'One row per registered workflow: its schedule. Its lock keeps decisions about max_active_runs apart. Written by register_workflow, pause_workflow, resume_workflow and run_schedules.';
comment on column absurd.workflow_schedule.workflow_name is 'Name of the workflow.';
comment on column absurd.workflow_schedule.workflow_version is 'Version registered last, whose schedule counts.';
comment on column absurd.workflow_schedule.queue_name is 'Queue of scheduled runs; without one there are none.';
comment on column absurd.workflow_schedule.is_paused is 'Whether the schedule stands still.';
comment on column absurd.workflow_schedule.since is 'When it was registered or last resumed.';
comment on column absurd.workflow_schedule.last_trigger is 'Last trigger that was dealt with.';
comment on column absurd.workflow_schedule.next_trigger is 'Next trigger, null for none.';

comment on function absurd.register_workflow(jsonb, text) is
    'Registers a workflow document (highway-dsl) and the queue that its runs work with. workflow_hash is the SHA-256 of the canonical document. Without p_queue_name a new version has the queue of the version before. The same content again: created = false, a NOTICE says which version is current, and another queue replaces the one it had. Errors: 22023 naming the step and the rule for a document that cannot be executed; 54000 more than 4 MiB of text, 100,000 values or what the engine compiles; 42501 no INSERT on workflow_definition; 42710 the version is registered with other content; 42P01 unknown queue; 22004 NULL.';
comment on function absurd.register_workflow_yaml(text, text) is
    'As register_workflow, from YAML or JSON text. Errors: as register_workflow; 22023 text that is not YAML.';
comment on function absurd.set_current_version(text, text) is
    'Makes a registered version current: runs start with it unless they name another, and it is in charge of the schedule. Errors: P0002 unknown; 42501 no UPDATE on workflow_definition; 22004 NULL.';
comment on function absurd.delete_workflow(text, text) is
    'Removes a version of a workflow, or all of them; returns how many. The newest that is left is current then. Errors: P0002 unknown; 55000 open runs need it; 42501 no DELETE on workflow_definition; 22004 NULL name.';
comment on function absurd.get_workflow(text, text) is
    'A registered workflow, the version registered last unless one is named: its document and what is known of it. Errors: P0002 unknown; 22004 NULL name.';
comment on function absurd.list_workflows() is
    'All registered workflows, by name and the newest first. Schedule columns of all but the version registered last are NULL.';
comment on function absurd.start_workflow(text, text, jsonb, text, jsonb) is
    'Starts a run of a registered workflow, the version registered last unless one is named, in the caller''s transaction; returns its id. p_inputs: an object. Options: created_by, tags, idempotency_key (the workflow''s run with that key is returned), respect_max_active_runs (wait as pending while the bound is reached). Errors: P0002 unknown workflow; 22004 NULL name, no queue; 22023 inputs (no object, more than 1,000 levels of nesting) or option; 42P01 unknown queue.';
comment on function absurd.workflow_run_steps(uuid) is
    'The steps of a run that the database executes, in the order of execution, those last that never came to it. waiting_for: an object that says what an open step waits for: queued_since, worker and lease_until, backoff_until, event, until, timeout_at, children; last_error: the error of its last failed attempt. What is known of tasks is shown to who may read the queue''s tables. Errors: P0002 not such a run; 22004 NULL.';
comment on function absurd.list_event_waits(text, text) is
    'The steps of workflow runs that wait for an event, or for any, in one queue or in all, with the instant at which they give up; of the runs that the caller sees. Errors: 42501 no SELECT on workflow_run.';
comment on function absurd.workflow_run_context(uuid) is
    '{"inputs", "variables", "results"} of a run that the database executes. Errors: P0002 not such a run; 22004 NULL.';
comment on function absurd.pause_workflow(text) is
    'Stops a workflow''s schedule; runs can still be started. Errors: P0002 unknown workflow; 22004 NULL.';
comment on function absurd.resume_workflow(text) is
    'Lets a workflow''s schedule go on. Triggers missed meanwhile are made up for only with catchup. Errors: P0002 unknown workflow; 22004 NULL.';
comment on function absurd.advance_timers(text, integer) is
    'Fires at most p_limit timers of executed runs that have come due, waits, timeouts, of attempts too, and deadlines, in one queue or in all; returns how many. claim_task does the same for its queue, few at a time. Errors: 42P01 unknown queue; 22004, 22023 limit.';
comment on function absurd.run_schedules(integer) is
    'Creates at most p_limit runs of workflows whose schedules have come due; returns how many. A schedule that fails is reported as a warning. Errors: 22004, 22023 limit.';
comment on function absurd.add_workflow_items(uuid, text, jsonb) is
    'Adds the elements of an array to a running dynamic foreach, named by its path. Errors: P0002 unknown run or step; 55000 the step takes no items; 22023 no array, too many items, more than 1,000 levels of nesting; 22004 NULL.';
comment on function absurd.workflow_diagram(text, text) is
    'A registered workflow as a Mermaid flowchart, the version registered last unless one is named. Errors: P0002 unknown; 22004 NULL name.';
comment on function absurd.workflow_run_diagram(uuid) is
    'A run that the database executes as a Mermaid flowchart, its steps in the colours of their states. Errors: P0002 not such a run; 22004 NULL.';
comment on function absurd.workflow_definition_deleted() is
    'Trigger: refuses to delete a workflow that open runs need, and lets another version take charge of its schedule.';
comment on function absurd.workflow_execution_forget() is
    'Trigger: removes what a deleted run of absurd.workflow_execution consisted of; refuses while children of it are open.';
