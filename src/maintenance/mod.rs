//! What keeps queues small, and their partitions coming.

pub mod cleanup;
pub mod cron;
pub mod partitions;
pub mod verify;
