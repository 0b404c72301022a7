//! Queues: their names, their policies, and the tables that each owns.

pub mod access;
pub mod adopt;
pub mod behind;
pub mod grants;
mod hold;
pub mod name;
pub mod partition;
pub mod policy;
pub mod provision;
pub mod ready;
pub mod rows;
mod scope;
mod script;
pub mod week;

pub use name::QueueName;
