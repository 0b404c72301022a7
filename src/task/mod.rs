//! Tasks and their runs, a verb a file.

pub mod backoff;
pub mod batch;
pub mod budget;
pub mod cancel;
pub mod claim;
pub mod complete;
pub mod direct;
pub mod fail;
pub mod followed;
pub mod front;
pub mod hand_out;
pub mod lease;
pub mod lost;
pub mod lost_lease;
pub mod options;
pub mod pages;
pub mod result;
pub mod retry;
pub mod schedule;
pub mod spawn;
pub mod state;
pub mod steps;
pub mod stuck;
pub mod sweep;
