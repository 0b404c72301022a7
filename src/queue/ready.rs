//! Waking workers: a notification when work becomes ready, for queues whose policy asks for it.

use super::{QueueName, policy};
use crate::error::Result;
use crate::pg::{Session, Timestamp, notify};

/// The channel that workers listen on; the payload is the queue's name.
const CHANNEL: &str = "absurd";

/// Notifies of work that is available at `at`, unless that lies ahead: time passes without telling
/// anybody, so workers look by themselves for what becomes due.
pub fn announce(session: &Session, queue: &QueueName, at: Timestamp) -> Result<()> {
    if at > session.now() || !is_wanted(session, queue)? {
        return Ok(());
    }
    notify::send(CHANNEL, queue.as_str())
}

/// Whether the queue's policy asks for notifications. Remembered by this backend until a row of
/// `absurd.queues` changes.
fn is_wanted(session: &Session, queue: &QueueName) -> Result<bool> {
    match notify::remembered(queue.as_str()) {
        Some(wanted) => Ok(wanted),
        None => {
            let wanted = policy::notify(session, queue)?;
            notify::remember(queue.as_str(), wanted)?;
            Ok(wanted)
        }
    }
}
