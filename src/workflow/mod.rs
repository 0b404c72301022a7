//! Workflow runs: their status, which the database guards, the tasks that belong to them, and the
//! documents that the database executes.
//!
//! The language of documents (templates, expressions, guards, durations, schedules) and the
//! interpreter, `advance`, are functions without a database. `driver` stands between them and the
//! tables.

pub mod advance;
pub mod bounds;
pub mod compile;
pub mod datetime;
pub mod diagram;
pub mod document;
pub mod driver;
pub mod duration;
pub mod engine_options;
pub mod expression;
pub mod failure;
pub mod forget;
pub mod graph;
pub mod guard;
pub mod inspect;
pub mod items;
pub mod json;
pub mod link;
pub mod lints;
pub mod name;
pub mod names;
pub mod number;
pub mod operator;
pub mod options;
pub mod path;
pub mod policy;
pub mod program;
pub mod range;
pub mod records;
pub mod registry;
pub mod resolve;
pub mod retrace;
pub mod row_guard;
pub mod run;
pub mod schedule;
pub mod scopes;
pub mod state;
pub mod status;
pub mod step_state;
pub mod steps;
pub mod stimulus;
pub mod tasks;
pub mod template;
pub mod tree;
pub mod versions;
pub mod wait;
pub mod waiting;
pub mod work;
pub mod yaml;
