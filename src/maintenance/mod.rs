//! What keeps queues small.

pub mod cleanup;
