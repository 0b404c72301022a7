//! Workflow runs: their status, which the database guards, and the tasks that belong to them.

pub mod guard;
pub mod link;
pub mod name;
pub mod run;
pub mod status;
pub mod tasks;
