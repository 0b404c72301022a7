//! The files of sql/schema/ in the order in which CREATE EXTENSION runs them: checks, each table
//! with what belongs to it, and at last what functions are for.
//!
//! A table's triggers stand beside it, so its trigger functions come before it.

use pgrx::prelude::*;

extension_sql_file!("../sql/schema/checks.sql", name = "checks", bootstrap);
extension_sql_file!("../sql/schema/queues.sql", name = "queues", requires = [queues_changed]);
extension_sql_file!("../sql/schema/queue_watermark.sql", name = "queue_watermark");
extension_sql_file!("../sql/schema/queue_late.sql", name = "queue_late");
extension_sql_file!("../sql/schema/queue_access.sql", name = "queue_access");
extension_sql_file!("../sql/schema/stuck_work.sql", name = "stuck_work");
extension_sql_file!(
    "../sql/schema/workflow_run.sql",
    name = "workflow_run",
    requires = [workflow_run_guard, workflow_run_record]
);
extension_sql_file!(
    "../sql/schema/workflow_transition.sql",
    name = "workflow_transition",
    requires = ["workflow_run"]
);
extension_sql_file!(
    "../sql/schema/workflow_definition.sql",
    name = "workflow_definition",
    requires = [workflow_definition_deleted]
);
extension_sql_file!(
    "../sql/schema/workflow_execution.sql",
    name = "workflow_execution",
    requires = ["workflow_run", workflow_execution_forget]
);
extension_sql_file!("../sql/schema/workflow_scope.sql", name = "workflow_scope");
extension_sql_file!("../sql/schema/workflow_step.sql", name = "workflow_step");
extension_sql_file!("../sql/schema/workflow_value.sql", name = "workflow_value");
extension_sql_file!("../sql/schema/workflow_items.sql", name = "workflow_items");
extension_sql_file!("../sql/schema/workflow_kept.sql", name = "workflow_kept");
extension_sql_file!("../sql/schema/workflow_timer.sql", name = "workflow_timer");
extension_sql_file!("../sql/schema/workflow_wait.sql", name = "workflow_wait");
extension_sql_file!("../sql/schema/workflow_stimulus.sql", name = "workflow_stimulus");
extension_sql_file!("../sql/schema/workflow_breaker.sql", name = "workflow_breaker");
extension_sql_file!("../sql/schema/workflow_schedule.sql", name = "workflow_schedule");
extension_sql_file!("../sql/schema/functions.sql", name = "functions", finalize);
