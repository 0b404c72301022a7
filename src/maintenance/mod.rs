//! What keeps queues small, and their partitions coming.

pub mod cleanup;
pub mod cron;
mod direct;
pub mod partitions;
