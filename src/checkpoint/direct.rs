//! Writing a checkpoint without a statement, see [`crate::pg::direct`].

use crate::error::Result;
use crate::params;
use crate::pg::direct::{Access, Change, Key};
use crate::pg::{Jsonb, Param, Session, Uuid};
use crate::queue::QueueName;
use crate::queue::rows::{self, runs};
use crate::task::direct::{is_running, lease};

mod checkpoint {
    crate::layout! {
        "btree (task_id, checkpoint_name)";
        TASK_ID "task_id" UUID,
        NAME "checkpoint_name" TEXT,
        STATE "state" JSONB,
        STATUS "status" TEXT,
        OWNER "owner_run_id" UUID,
        UPDATED_AT "updated_at" TIMESTAMPTZ,
    }
}

/// What a run writes of its task, named by its id or by the run's own.
pub struct Write<'a> {
    pub task: Uuid,
    pub step: &'a str,
    pub state: Option<Jsonb>,
    pub owner: Uuid,
}

/// Writes a checkpoint of a run that this transaction has for itself, by having prolonged its lease: no other
/// session can be writing one of the task's. False when a statement must do it, or say why it cannot be
/// done.
///
/// # Errors
/// Postgres's own.
pub fn put(session: &Session, queue: &QueueName, write: &Write) -> Result<bool> {
    let runs = rows::open(session, queue, "r", &runs::LAYOUT, Access::Write)?;
    let checkpoints = rows::open(session, queue, "c", &checkpoint::LAYOUT, Access::Write)?;
    let (Some(runs), Some(checkpoints)) = (runs, checkpoints) else { return Ok(false) };
    session.with_snapshot(|| {
        if runs.find(&[Key::is(1, write.owner)])? != Some(true) {
            return Ok(false);
        }
        let task: Uuid = runs.need(runs::TASK_ID)?;
        let attempt: i32 = runs.need(runs::ATTEMPT)?;
        let is_its = write.task == task || write.task == write.owner;
        if !is_running(&runs)?
            || !is_its
            || lease::task_is_open(session, queue, task)? != Some(true)
        {
            return Ok(false);
        }
        let [id, name, state, status, owner, now]: &[Param; 6] =
            params![task, write.step, write.state, "committed", write.owner, session.now()];
        let row = [
            (checkpoint::TASK_ID, *id),
            (checkpoint::NAME, *name),
            (checkpoint::STATE, *state),
            (checkpoint::STATUS, *status),
            (checkpoint::OWNER, *owner),
            (checkpoint::UPDATED_AT, *now),
        ];
        match checkpoints.find(&[Key::is(1, task), Key::is(2, write.step)])? {
            None => return Ok(false),
            Some(false) => return checkpoints.insert(&row).map(|()| true),
            Some(true) => {}
        }
        // A name is the newest attempt's.
        if let Some(before) = checkpoints.get::<Uuid>(checkpoint::OWNER)? {
            match runs.find(&[Key::is(1, before)])? {
                None => return Ok(false),
                Some(true) if runs.need::<i32>(runs::ATTEMPT)? > attempt => return Ok(true),
                Some(_) => {}
            }
        }
        Ok(checkpoints.update(&row, true)? == Change::Done)
    })
}
