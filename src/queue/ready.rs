//! Waking workers: a notification when work becomes ready, for queues whose policy asks for it.

use super::{QueueName, behind, policy};
use crate::error::Result;
use crate::pg::{Session, Timestamp, notify};

/// The channel that workers listen on; the payload is the queue's name.
const CHANNEL: &str = "absurd";

/// Tells of runs that have been made ready at `at`, or will be. Workers are notified, unless that
/// lies ahead: time passes without telling anybody, so they look by themselves for what becomes
/// due.
///
/// # Errors
/// Postgres's own.
pub fn announce(session: &Session, queue: &QueueName, at: Timestamp) -> Result<()> {
    announce_all(session, queue, &[at])
}

/// As [`announce`], of runs that become ready at several instants.
///
/// # Errors
/// Postgres's own.
pub fn announce_all(session: &Session, queue: &QueueName, instants: &[Timestamp]) -> Result<()> {
    behind::note(session, queue, instants)?;
    if instants.iter().all(|at| *at > session.now()) || !is_wanted(session, queue)? {
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
            let changes = notify::changes();
            let wanted = policy::notify(session, queue)?;
            notify::remember(queue.as_str(), wanted, changes)?;
            Ok(wanted)
        }
    }
}
