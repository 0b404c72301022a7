//! Queues: their names, their policies, and the tables that each owns.

pub mod name;
pub mod policy;
pub mod provision;

pub use name::QueueName;
