//! The guard of `absurd.workflow_run`: every INSERT and UPDATE goes through it, whoever writes.
//! What the engine writes without a statement keeps the same rules, see `driver/direct/run.rs`.

use std::cell::Cell;
use std::thread::LocalKey;

use super::bounds::cut;
use super::status::{Facts, Outcome, Status};
use super::{name, registry};
use crate::error::{Error, Result};
use crate::params;
use crate::pg::plan::{Global, Statement};
use crate::pg::trigger::{self, Fired, Version};
use crate::pg::{Jsonb, Session, Timestamp, Uuid};

/// What the guard settles in a row before it is stored.
pub struct Settled {
    pub started_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    pub task_count: Option<i32>,
    pub created_at: Timestamp,
    pub updated_at: Option<Timestamp>,
}

/// What an INSERT or UPDATE of a workflow run may store.
///
/// # Errors
/// 22004 or 22023 naming value and rule, 55000 for a move that is not allowed.
pub fn check(session: &Session, fired: &Fired, now: Timestamp) -> Result<Settled> {
    check_values(fired)?;
    check_hash(session, fired)?;
    let new = facts(fired, Version::New)?;
    let created_at: Option<Timestamp> = fired.get(Version::New, "created_at")?;
    if fired.is_insert() {
        new.check_insert()?;
        return Ok(Settled {
            started_at: new.started_at,
            completed_at: new.completed_at,
            task_count: new.task_count,
            created_at: created_at.unwrap_or(now),
            updated_at: fired.get(Version::New, "updated_at")?,
        });
    }
    let id = check_identity(fired)?;
    check_executed(fired, id)?;
    if REOPENED.get() == Some(::uuid::Uuid::from_bytes(*id.as_bytes())) {
        return Ok(Settled {
            started_at: None,
            completed_at: None,
            task_count: new.task_count,
            created_at: created_at.unwrap_or(now),
            updated_at: Some(now),
        });
    }
    let old = facts(fired, Version::Old)?;
    let outcome =
        Outcome { same_result: same(fired, "result")?, same_error: same(fired, "error")? };
    let stored = new.update(&old, outcome, now, &id.to_string())?;
    Ok(Settled {
        started_at: stored.started_at,
        completed_at: stored.completed_at,
        task_count: stored.task_count,
        created_at: created_at.unwrap_or(now),
        updated_at: Some(now),
    })
}

fn facts(fired: &Fired, version: Version) -> Result<Facts> {
    let status: Option<String> = fired.get(version, "status")?;
    let status = Status::parse(status.as_deref())?;
    // A run that a document ended keeps its result, whatever status it was ended with.
    let executed = fired.get::<Uuid>(version, "root_run_id")?.is_some();
    let kept = executed && matches!(status, Status::Failed | Status::Cancelled);
    Ok(Facts {
        status,
        started_at: fired.get(version, "started_at")?,
        completed_at: fired.get(version, "completed_at")?,
        task_count: fired.get(version, "task_count")?,
        has_result: !kept && fired.get::<Jsonb>(version, "result")?.is_some(),
        has_error: fired.get::<Jsonb>(version, "error")?.is_some(),
    })
}

fn check_values(fired: &Fired) -> Result<()> {
    let text = |column| fired.get::<String>(Version::New, column);
    if fired.get::<Uuid>(Version::New, "workflow_run_id")?.is_none() {
        return Err(Error::null("workflow_run_id"));
    }
    name::check_name(text("workflow_name")?.as_deref())?;
    name::check_version(text("workflow_version")?.as_deref())?;
    if text("workflow_hash")?.is_some_and(|hash| hash.trim().is_empty()) {
        return Err(Error::blank("workflow_hash")
            .with_hint("Leave it null when the definition has no hash."));
    }
    match fired.get::<Jsonb>(Version::New, "tags")? {
        Some(tags) if !tags.is_object() => {
            Err(Error::invalid(format!("tags {}", cut(&tags.to_text())), "must be a JSON object"))
        }
        _ => Ok(()),
    }
}

/// A run that names the hash of its definition must name the one that is registered.
fn check_hash(session: &Session, fired: &Fired) -> Result<()> {
    let text = |version, column| fired.get::<String>(version, column);
    let Some(hash) = text(Version::New, "workflow_hash")? else { return Ok(()) };
    if !fired.is_insert() && text(Version::Old, "workflow_hash")?.as_ref() == Some(&hash) {
        return Ok(());
    }
    let name = text(Version::New, "workflow_name")?.unwrap_or_default();
    let version = text(Version::New, "workflow_version")?.unwrap_or_default();
    match registry::find(session, &name, Some(&version))? {
        Some(definition) if definition.hash != hash => Err(Error::invalid(
            format!("workflow_hash \"{}\"", cut(&hash)),
            format!(
                "is not that of workflow \"{}\" version \"{}\" as it is registered, {}",
                cut(&name),
                cut(&version),
                definition.hash
            ),
        )),
        _ => Ok(()),
    }
}

/// What names a run does not change: tasks, history and clients refer to it.
fn check_identity(fired: &Fired) -> Result<Uuid> {
    let id: Option<Uuid> = fired.get(Version::Old, "workflow_run_id")?;
    let id = id.ok_or_else(|| Error::null("workflow_run_id"))?;
    if fired.get(Version::New, "workflow_run_id")? != Some(id) {
        return Err(fixed(id, "workflow_run_id"));
    }
    for column in ["workflow_name", "workflow_version"] {
        let version = |version| fired.get::<String>(version, column);
        if version(Version::Old)? != version(Version::New)? {
            return Err(fixed(id, column));
        }
    }
    Ok(id)
}

thread_local! {
    /// The run whose row the engine is writing.
    static WRITTEN: Cell<Option<::uuid::Uuid>> = const { Cell::new(None) };
    /// The run that has ended and that the engine makes pending again.
    static REOPENED: Cell<Option<::uuid::Uuid>> = const { Cell::new(None) };
}

type Written = LocalKey<Cell<Option<::uuid::Uuid>>>;

/// Lets the engine write the status of a run that it executes, while `f` runs.
pub fn as_engine<T>(run: ::uuid::Uuid, f: impl FnOnce() -> T) -> T {
    with(&WRITTEN, run, f)
}

/// As [`as_engine`], to make a run pending again that has ended.
pub fn reopening<T>(run: ::uuid::Uuid, f: impl FnOnce() -> T) -> T {
    as_engine(run, || with(&REOPENED, run, f))
}

fn with<T>(place: &'static Written, run: ::uuid::Uuid, f: impl FnOnce() -> T) -> T {
    struct Restore(&'static Written, Option<::uuid::Uuid>);
    impl Drop for Restore {
        fn drop(&mut self) {
            self.0.set(self.1);
        }
    }
    let _restore = Restore(place, place.replace(Some(run)));
    f()
}

/// The status of a run that the database executes follows from its steps, and nobody else sets it.
fn check_executed(fired: &Fired, id: Uuid) -> Result<()> {
    for column in ["root_run_id", "parent_run_id"] {
        let version = |version| fired.get::<Uuid>(version, column);
        if version(Version::Old)? != version(Version::New)? {
            return Err(fixed(id, column));
        }
    }
    if fired.get::<Uuid>(Version::Old, "root_run_id")?.is_none()
        || WRITTEN.get() == Some(::uuid::Uuid::from_bytes(*id.as_bytes()))
    {
        return Ok(());
    }
    for column in ["absurd_queue", "parent_step", "workflow_hash"] {
        let version = |version| fired.get::<String>(version, column);
        if version(Version::Old)? != version(Version::New)? {
            return Err(fixed(id, column));
        }
    }
    if !same(fired, "inputs")? {
        return Err(fixed(id, "inputs"));
    }
    let status = |version| fired.get::<String>(version, "status");
    if status(Version::Old)? == status(Version::New)?
        && same(fired, "result")?
        && same(fired, "error")?
    {
        return Ok(());
    }
    Err(Error::WrongState {
        what: format!("Workflow run \"{id}\""),
        rule: "is executed by the database, which alone sets its status, result and error"
            .to_owned(),
        hint: Some("To end it, use absurd.cancel_workflow_run().".into()),
    })
}

fn fixed(id: Uuid, column: &str) -> Error {
    Error::WrongState {
        what: format!("Workflow run \"{id}\""),
        rule: format!("cannot change its {column}"),
        hint: Some("Create a new workflow run.".into()),
    }
}

fn same(fired: &Fired, column: &str) -> Result<bool> {
    let version = |version| fired.get::<Jsonb>(version, column);
    Ok(match (version(Version::Old)?, version(Version::New)?) {
        (None, None) => true,
        (Some(old), Some(new)) => old.equals(new),
        _ => false,
    })
}

/// Records a change of status after an UPDATE. An INSERT records nothing, so that a restored dump
/// brings back the history that it carries and no other.
pub fn record(session: &Session, fired: &Fired) -> Result<()> {
    static RECORD: Statement = Statement::new(
        "insert into absurd.workflow_transition
             (workflow_run_id, to_status, from_status, changed_at, changed_by, number)
         select $1, $2, $3, $4, $5, coalesce(max(number), 0) + 1
           from absurd.workflow_transition
          where workflow_run_id = $1",
    );
    let text = |version| fired.get::<String>(version, "status");
    let (from, to) = (text(Version::Old)?, text(Version::New)?);
    if from == to {
        return Ok(());
    }
    let id: Option<Uuid> = fired.get(Version::New, "workflow_run_id")?;
    let by = trigger::acting_role();
    let values = params![id, to.as_deref(), from.as_deref(), session.now(), by.as_str()];
    session.run(&RECORD, &Global, values)?;
    Ok(())
}
