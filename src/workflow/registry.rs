//! Registered workflow documents, and their programs compiled once a backend.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::bounds::{Check, cut};
use super::document::{self, Document};
use super::driver::schedules;
use super::program::Program;
use super::{compile, lints, name};
use crate::error::{Error, Result};
use crate::params;
use crate::pg::plan::{Global, Own, Statement};
use crate::pg::{Jsonb, Session, Timestamp, ereport, heap, lock, trigger};
use crate::queue::{QueueName, policy};

/// Bytes that the programs which a backend keeps may take; the one that was not used for longest
/// goes first.
const MAX_KEPT: usize = 32 << 20;

/// Bytes that a document may take while it is compiled: some 15,000 steps.
const MAX_COMPILING: usize = 40 << 20;

/// What a run needs to know of a registered document.
pub struct Definition {
    pub name: String,
    pub version: String,
    pub hash: String,
    pub queue: Option<String>,
}

/// What register_workflow answers.
pub struct Registered {
    pub name: String,
    pub version: String,
    pub hash: String,
    pub created: bool,
}

static EXACT: Statement = Statement::new(
    "select workflow_name, workflow_version, workflow_hash, queue_name
       from absurd.workflow_definition
      where workflow_name = $1 and workflow_version = $2",
);
static LATEST: Statement = Statement::new(
    "select workflow_name, workflow_version, workflow_hash, queue_name
       from absurd.workflow_definition
      where workflow_name = $1
      order by registration desc
      limit 1",
);
static INSERT: Statement = Statement::new(
    "insert into absurd.workflow_definition
         (workflow_name, workflow_version, registration, workflow_hash, document, queue_name,
          registered_at, registered_by)
     select $1, $2, coalesce(max(registration), 0) + 1, $3, $4, $5, $6, $7
       from absurd.workflow_definition",
);
static SET_QUEUE: Statement = Statement::new(
    "update absurd.workflow_definition
        set queue_name = $3
      where workflow_name = $1 and workflow_version = $2",
);
static DOCUMENT: Statement = Statement::new(
    "select document, workflow_hash
       from absurd.workflow_definition
      where workflow_name = $1 and workflow_version = $2",
);

/// A registered document; the one registered last unless a version is named.
pub fn find(session: &Session, name: &str, version: Option<&str>) -> Result<Option<Definition>> {
    let rows = match version {
        Some(version) => session.run(&EXACT, &Own, params![name, version])?,
        None => session.run(&LATEST, &Own, params![name])?,
    };
    let read = |row: crate::pg::Row| {
        Ok(Definition {
            name: row.need(0)?,
            version: row.need(1)?,
            hash: row.need(2)?,
            queue: row.get(3)?,
        })
    };
    rows.first().map(read).transpose()
}

/// As [`find`].
///
/// # Errors
/// P0002 for a workflow or a version that is not registered.
pub fn require(session: &Session, name: &str, version: Option<&str>) -> Result<Definition> {
    match find(session, name, version)? {
        Some(definition) => Ok(definition),
        None => Err(unknown(name, version)),
    }
}

/// The error for a workflow, or a version of it, that is not registered.
pub fn unknown(name: &str, version: Option<&str>) -> Error {
    let id = match version {
        Some(version) => format!("{}\" version \"{}", cut(name), cut(version)),
        None => cut(name),
    };
    Error::NotFound { what: "Workflow", id, queue: None }
}

/// Registers a document, given as JSON text, under its name and version. The same content again
/// changes nothing but the queue, when another is named.
///
/// # Errors
/// 22023 naming the step and the rule for a document that must be rejected, 42710 when the version
/// is registered with other content, 42P01 for an unknown queue; 54000 for a document that is too
/// large.
pub fn register(session: &Session, text: String, queue: Option<&str>) -> Result<Registered> {
    let check: Check = &bounded(session);
    let (document, mut lints) = Document::read_new(&text, check)?;
    drop(text);
    let canonical = document.to_text()?;
    let mut program = compile::build(&document, &canonical, check)?;
    drop(document);
    lints.extend(lints::of(&program));
    // Its name, version and schedule are asked for, no more.
    (program.nodes, program.scopes, program.declared) = Default::default();
    let hash = document::hash(&document::interchange(&canonical, check)?);
    // Step names and runs carry the joined form, which is stricter than the format.
    name::check_name(Some(&program.name))?;
    name::check_version(Some(&program.version))?;
    let queue = queue.map(|queue| QueueName::parse(Some(queue))).transpose()?;
    if let Some(queue) = &queue {
        policy::require(session, queue)?;
    }
    let queue = queue.as_ref().map(QueueName::as_str);
    let known = |created| Registered {
        name: program.name.clone(),
        version: program.version.clone(),
        hash: hash.clone(),
        created,
    };
    if same(session, &program, &hash, queue)? {
        return Ok(known(false));
    }
    lock::registering()?;
    if same(session, &program, &hash, queue)? {
        return Ok(known(false));
    }
    let stored = Jsonb::from_long_text(&canonical, check)?;
    drop(canonical);
    // A version that names no queue has that of the one before.
    let before = find(session, &program.name, None)?.and_then(|before| before.queue);
    let queue = queue.or(before.as_deref());
    let now = session.now();
    let by = trigger::acting_role();
    let values = params![
        program.name.as_str(),
        program.version.as_str(),
        hash.as_str(),
        stored,
        queue,
        now,
        by.as_str(),
    ];
    session.run(&INSERT, &Global, values)?;
    lints.iter().try_for_each(|lint| ereport::notice(lint))?;
    schedules::put_in_charge(session, &program, queue)?;
    Ok(known(true))
}

/// A document, given as JSON text, in its canonical form as RFC 8785 writes it (HIGHWAY 14.6): what
/// [`register`] hashes.
///
/// # Errors
/// 22023 naming the step and the rule for a document that breaks the format's; 54000 for one that
/// is too large.
pub fn canonical(session: &Session, text: &str) -> Result<String> {
    let check: Check = &bounded(session);
    let (document, _) = Document::read_new(text, check)?;
    document::interchange(&document.to_text()?, check)
}

/// Ends what an interrupt ends, or what takes more memory than a document may.
fn bounded(session: &Session) -> impl Fn() -> Result<()> + '_ {
    let before = heap::in_use();
    move || {
        session.check_for_interrupts()?;
        match heap::in_use().saturating_sub(before) <= MAX_COMPILING {
            true => Ok(()),
            false => Err(document::too_large(MAX_COMPILING, "bytes when it is compiled")),
        }
    }
}

/// Whether the program's name and version are registered with this content; a queue that is named
/// then replaces the one it has.
fn same(session: &Session, program: &Program, hash: &str, queue: Option<&str>) -> Result<bool> {
    let (name, version) = (program.name.as_str(), program.version.as_str());
    let Some(found) = find(session, name, Some(version))? else { return Ok(false) };
    if found.hash != hash {
        return Err(Error::Exists {
            what: format!("Workflow \"{}\" version \"{}\"", cut(name), cut(version)),
            rule: "is registered with other content".to_owned(),
            hint: "Give the changed document a version of its own: runs keep the one that they \
                   started with.",
        });
    }
    let current = require(session, name, None)?.version;
    ereport::notice(&format!(
        "workflow \"{}\" version \"{}\" is registered already; version \"{}\" is current",
        cut(name),
        cut(version),
        cut(&current)
    ))?;
    if queue.is_some() && queue != found.queue.as_deref() {
        session.run(&SET_QUEUE, &Global, params![name, version, queue])?;
        schedules::moved(session, program, queue)?;
    }
    Ok(true)
}

/// A compiled program that a backend keeps.
struct Kept {
    program: Rc<Program>,
    /// What is allocated for it: the difference that compiling it made.
    bytes: usize,
    used: u64,
}

#[derive(Default)]
struct Cache {
    programs: HashMap<Box<str>, Kept>,
    bytes: usize,
    clock: u64,
}

impl Cache {
    fn forget(&mut self, hash: &str) {
        if let Some(gone) = self.programs.remove(hash) {
            self.bytes -= gone.bytes;
        }
    }

    /// Keeps a program in the place of those that were not used for longest; not one that alone
    /// takes more than all may.
    fn keep(&mut self, hash: &str, program: &Rc<Program>, bytes: usize) {
        if bytes > MAX_KEPT {
            return;
        }
        self.forget(hash);
        while self.bytes + bytes > MAX_KEPT {
            let oldest = self.programs.iter().min_by_key(|(_, kept)| kept.used);
            let Some(oldest) = oldest.map(|(hash, _)| hash.clone()) else { break };
            self.forget(&oldest);
        }
        self.bytes += bytes;
        let kept = Kept { program: Rc::clone(program), bytes, used: self.clock };
        self.programs.insert(hash.into(), kept);
    }
}

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::default();
}

/// The compiled program of a registered document. Kept by the hash of its content, so that nothing
/// ever has to be forgotten.
///
/// # Errors
/// P0002 when the document is gone, 55000 when it is not the one that the run started with.
pub fn program(session: &Session, name: &str, version: &str, hash: &str) -> Result<Rc<Program>> {
    let found = CACHE.with_borrow_mut(|cache| {
        cache.clock += 1;
        let kept = cache.programs.get_mut(hash)?;
        kept.used = cache.clock;
        Some(Rc::clone(&kept.program))
    });
    if let Some(program) = found {
        return Ok(program);
    }
    let Some(row) = session.run(&DOCUMENT, &Own, params![name, version])?.first() else {
        return Err(unknown(name, Some(version)));
    };
    if row.need::<String>(1)? != hash {
        return Err(Error::WrongState {
            what: format!("Workflow \"{name}\" version \"{version}\""),
            rule: "was removed and registered with other content than its run has".to_owned(),
            hint: Some("Register the former document again, or cancel the run.".into()),
        });
    }
    let document = row.need::<Jsonb>(0)?;
    let check: Check = &|| session.check_for_interrupts();
    let before = heap::in_use();
    let program = Rc::new(compile::stored(&document.to_text(), check)?);
    let bytes = heap::in_use().saturating_sub(before);
    CACHE.with_borrow_mut(|cache| cache.keep(hash, &program, bytes));
    Ok(program)
}

/// A registered document with everything that is known of it.
pub struct Stored {
    pub name: String,
    pub version: String,
    pub hash: String,
    pub queue: Option<String>,
    pub latest: bool,
    pub document: Jsonb,
    pub schedule: Option<String>,
    pub paused: Option<bool>,
    pub next_trigger: Option<Timestamp>,
    pub registered_at: Timestamp,
    pub registered_by: String,
}

/// Registered documents by name, the newest first; of one name when one is given.
pub fn list(session: &Session, name: Option<&str>) -> Result<Vec<Stored>> {
    const LIST: &str = "select d.workflow_name, d.workflow_version, d.workflow_hash, d.queue_name,
                d.registration = (select max(l.registration) from absurd.workflow_definition l
                                   where l.workflow_name = d.workflow_name),
                d.document, d.document ->> 'schedule', s.is_paused, s.next_trigger,
                d.registered_at, d.registered_by
           from absurd.workflow_definition d
           left join absurd.workflow_schedule s
             on s.workflow_name = d.workflow_name and s.workflow_version = d.workflow_version
          where $1 is null or d.workflow_name = $1
          order by d.workflow_name, d.registration desc";
    let read = |row: crate::pg::Row| {
        Ok(Stored {
            name: row.need(0)?,
            version: row.need(1)?,
            hash: row.need(2)?,
            queue: row.get(3)?,
            latest: row.need(4)?,
            document: session.keep(row.need(5)?),
            schedule: row.get(6)?,
            paused: row.get(7)?,
            next_trigger: row.get(8)?,
            registered_at: row.need(9)?,
            registered_by: row.need(10)?,
        })
    };
    session.run_once(LIST, params![name])?.into_iter().map(read).collect()
}

/// One registered document, the one registered last unless a version is named.
///
/// # Errors
/// P0002 for an unknown one.
pub fn get(session: &Session, name: &str, version: Option<&str>) -> Result<Stored> {
    let wanted =
        |stored: &Stored| version.map_or(stored.latest, |version| stored.version == version);
    let mut found = list(session, Some(name))?.into_iter().filter(wanted);
    found.next().ok_or_else(|| unknown(name, version))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_programs_used_last_are_kept_within_their_bytes() {
        let program = Rc::new(compile::compile(&json!({"name": "w"})).unwrap());
        let mut cache = Cache::default();
        let kept = |cache: &Cache| {
            let mut kept: Vec<String> = cache.programs.keys().map(ToString::to_string).collect();
            kept.sort();
            kept.concat()
        };
        for (hash, sixteenths) in [("a", 6), ("b", 6), ("c", 4)] {
            cache.clock += 1;
            cache.keep(hash, &program, MAX_KEPT / 16 * sixteenths);
        }
        assert_eq!((kept(&cache).as_str(), cache.bytes), ("abc", MAX_KEPT));
        cache.clock += 1;
        if let Some(kept) = cache.programs.get_mut("a") {
            kept.used = cache.clock;
        }
        cache.clock += 1;
        cache.keep("d", &program, MAX_KEPT / 2);
        assert_eq!((kept(&cache).as_str(), cache.bytes), ("ad", MAX_KEPT / 16 * 14));
        cache.keep("e", &program, MAX_KEPT + 1);
        cache.keep("a", &program, MAX_KEPT / 2);
        assert_eq!((kept(&cache).as_str(), cache.bytes), ("ad", MAX_KEPT));
    }

    #[test]
    fn a_program_is_measured() {
        let task = |at: usize| json!({"task_id": format!("t{at:04}"), "operator_type": "task", "function": "f"});
        let tasks: serde_json::Map<_, _> =
            (0..1000).map(|at| (format!("t{at:04}"), task(at))).collect();
        let text = json!({"name": "w", "tasks": tasks}).to_string();
        let before = heap::in_use();
        let program = compile::stored(&text, &|| Ok(())).unwrap();
        let bytes = heap::in_use() - before;
        assert!(bytes > program.nodes.len() * size_of::<crate::workflow::program::Node>());
        drop(program);
        assert_eq!(heap::in_use(), before);
    }
}
