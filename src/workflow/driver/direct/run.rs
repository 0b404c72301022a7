//! The row of a new run in `workflow_execution`, inserted without a statement.

use uuid::Uuid;

use super::{execution, executions};
use crate::error::Result;
use crate::params;
use crate::pg::{Param, Session};
use crate::workflow::driver::rows::int;
use crate::workflow::driver::start::NewExecution;
use crate::workflow::status::Status;

/// Inserts a pending run under an id; false when a statement must do it.
///
/// # Errors
/// Those of the table's constraints.
pub fn insert(session: &Session, id: Uuid, new: &NewExecution) -> Result<bool> {
    // Two may bring the same key.
    if new.idempotency_key.is_some() {
        return Ok(false);
    }
    let Some(executions) = executions(session)? else { return Ok(false) };
    let (definition, origin) = (new.definition, new.origin.as_ref());
    let [id, root, parent, scope, node, branch, depth, queue, pending]: &[Param; 9] = params![
        id,
        origin.map_or(id, |origin| origin.root),
        origin.map(|origin| origin.parent),
        origin.map(|origin| int(origin.step.scope.0)),
        origin.map(|origin| int(origin.step.node.0)),
        origin.map(|origin| origin.branch),
        origin.map_or(0, |origin| int(origin.depth)),
        new.queue,
        Status::Pending.as_str(),
    ];
    let [name, version, hash, first, none, bounded]: &[Param; 6] = params![
        definition.name.as_str(),
        definition.version.as_str(),
        definition.hash.as_str(),
        1_i64,
        0,
        new.bounded,
    ];
    executions.insert(&[
        (execution::RUN, *id),
        (execution::ROOT, *root),
        (execution::PARENT, *parent),
        (execution::PARENT_SCOPE, *scope),
        (execution::PARENT_NODE, *node),
        (execution::PARENT_BRANCH, *branch),
        (execution::DEPTH, *depth),
        (execution::NAME, *name),
        (execution::VERSION, *version),
        (execution::HASH, *hash),
        (execution::QUEUE, *queue),
        (execution::STATUS, *pending),
        (execution::TRANSITIONS, *first),
        (execution::NEXT_SCOPE, *none),
        (execution::BOUNDED, *bounded),
    ])?;
    Ok(true)
}
