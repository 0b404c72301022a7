//! Statements and their kept plans.
//!
//! A statement is prepared once per backend and queue and kept. Values are always parameters; only
//! relation names, quoted by the queue's name type, are put into the text. Postgres re-plans a kept
//! plan by itself when DDL touches its tables.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CString, c_int};
use std::ptr::NonNull;

use pgrx::pg_sys;

use super::ereport::guarded;
use super::ffi::{
    MemoryContextMemAllocated, SPI_freeplan, SPI_keepplan, SPI_plan_get_plan_sources,
    SPI_prepare_params,
};
use super::path::{self, Types};
use super::planning;
use super::value::Param;
use crate::error::{Error, Result};

/// The memory that a backend's plans may take: that of some thirty queues with every verb in use. A
/// plan takes 20 to 200 kB, with its parsed query and what it is planned anew from. The least
/// recently used ones go first.
const KEPT_BYTES: usize = 12 << 20;

/// A SQL statement of the engine. Make it a `static`: its address is its identity.
pub struct Statement {
    pub(super) sql: &'static str,
    /// A word of the text and what stands for it.
    blank: Option<(&'static str, &'static str)>,
}

impl Statement {
    /// In `sql`, `{t}` stands for the queue's task table and so on; `$1` ... are its parameters.
    pub const fn new(sql: &'static str) -> Self {
        Self { sql, blank: None }
    }

    /// As [`Self::new`], of a text that several statements share: `word` in it is a blank that this
    /// one fills with `with`.
    pub const fn with(sql: &'static str, word: &'static str, with: &'static str) -> Self {
        Self { sql, blank: Some((word, with)) }
    }

    /// The statement without the comment above it, which would stand in every error's context.
    fn body(&self) -> &'static str {
        let mut body = self.sql;
        while body.starts_with("--") {
            body = body.split_once('\n').map_or("", |(_, rest)| rest);
        }
        body
    }
}

/// What gives a statement its relation names.
pub trait Scope {
    /// What distinguishes this scope from others, empty for statements without a queue.
    fn key(&self) -> &str;
    /// The statement's text with the relation names in place.
    fn expand(&self, sql: &'static str) -> String;
    /// The error for a relation of the scope that does not exist; `message` is Postgres's.
    fn missing(&self, message: &str) -> Option<Error>;
    /// Looks at the relations before a statement uses them.
    ///
    /// # Errors
    /// 55000 for one that the engine must not use.
    fn check(&self) -> Result<()> {
        Ok(())
    }
    /// Whether its statements run with the rights of the engine's owner, not with the caller's.
    fn is_owned(&self) -> bool {
        false
    }
}

/// The scope of statements on the extension's own tables.
pub struct Global;

/// The scope of statements on tables that the engine alone reads and writes: callers need no rights
/// on them, and could do nothing sound with any.
pub struct Own;

impl Scope for Own {
    fn key(&self) -> &str {
        ""
    }

    fn expand(&self, sql: &'static str) -> String {
        sql.to_owned()
    }

    fn missing(&self, _: &str) -> Option<Error> {
        None
    }

    fn is_owned(&self) -> bool {
        true
    }
}

impl Scope for Global {
    fn key(&self) -> &str {
        ""
    }

    fn expand(&self, sql: &'static str) -> String {
        sql.to_owned()
    }

    fn missing(&self, _: &str) -> Option<Error> {
        None
    }
}

struct Kept {
    plan: Plan,
    used: u64,
    /// Bytes that it takes, once it has been planned and measured.
    size: Option<usize>,
}

/// A prepared statement.
pub(super) struct Plan {
    pub plan: NonNull<pg_sys::_SPI_plan>,
    /// Postgres asks for them whenever it parses the statement anew.
    _types: Box<Types>,
}

impl Plan {
    /// The plan's statements, of which ours have one.
    fn sources(&self) -> impl Iterator<Item = *const pg_sys::CachedPlanSource> {
        // SAFETY: a plan that was not freed; its sources live with it.
        unsafe {
            let sources = SPI_plan_get_plan_sources(self.plan.as_ptr());
            let count = if sources.is_null() { 0 } else { (*sources).length as usize };
            (0..count).map(move |i| (*(*sources).elements.add(i)).ptr_value.cast_const().cast())
        }
    }

    /// Frees it. Nothing may execute it any longer.
    pub fn free(self) {
        for source in self.sources() {
            // SAFETY: as above.
            planning::disclaim(unsafe { (*source).query_string });
        }
        // SAFETY: the caller's promise; it was prepared by us.
        unsafe { SPI_freeplan(self.plan.as_ptr()) };
    }
}

impl Kept {
    /// What the plan takes now.
    fn measure(&self) -> usize {
        // SAFETY: a plan that was kept and not freed; its sources and their contexts live with it.
        // The contexts' sizes are read without allocating.
        unsafe {
            self.plan
                .sources()
                .map(|source| {
                    let planned = (*source).gplan;
                    let plan = if planned.is_null() { None } else { Some((*planned).context) };
                    MemoryContextMemAllocated((*source).context, true)
                        + plan.map_or(0, |context| MemoryContextMemAllocated(context, true))
                })
                .sum()
        }
    }
}

#[derive(Default)]
struct Cache {
    plans: HashMap<usize, HashMap<Box<str>, Kept>>,
    /// What the measured ones take.
    bytes: usize,
    /// Prepared since the last measuring: a plan is made when it is first executed.
    new: Vec<(usize, Box<str>)>,
    clock: u64,
}

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::default();
}

/// The kept plan of `statement` in `scope`, prepared now if this backend has none.
pub(super) fn get(
    statement: &'static Statement,
    scope: &impl Scope,
    params: &[Param],
    outermost: bool,
) -> Result<NonNull<pg_sys::_SPI_plan>> {
    let identity = std::ptr::from_ref(statement).addr();
    let found = CACHE.with_borrow_mut(|cache| {
        cache.clock += 1;
        let kept = cache.plans.get_mut(&identity)?.get_mut(scope.key())?;
        kept.used = cache.clock;
        Some(kept.plan.plan)
    });
    if let Some(plan) = found {
        return Ok(plan);
    }
    let kept = prepare(statement, scope, params)?;
    let plan = kept.plan;
    // A plan may be in use by an outer call of this backend; only the outermost may free one.
    if outermost {
        CACHE.with_borrow_mut(Cache::make_room);
    }
    CACHE.with_borrow_mut(|cache| {
        let used = cache.clock;
        cache.new.push((identity, scope.key().into()));
        let of_statement = cache.plans.entry(identity).or_default();
        of_statement.insert(scope.key().into(), Kept { plan: kept, used, size: None });
    });
    Ok(plan)
}

/// Prepares a text of ours. It is planned for the values at hand unless it is `kept`.
pub(super) fn prepare_text(text: &str, params: &[Param], kept: bool) -> Result<Plan> {
    let text = CString::new(text)
        .map_err(|_| Error::invalid("SQL text", "must not contain a zero byte"))?;
    let types = Types::new(params.iter().map(|param| param.oid));
    let (text, argument) = (text.as_ptr(), types.as_argument());
    // The engine's statements are keyed look-ups whose best plan does not depend on the values:
    // ask for the generic plan at once instead of five custom ones first.
    let options = if kept { pg_sys::CURSOR_OPT_GENERIC_PLAN as c_int } else { 0 };
    let parsers = path::parsers();
    // SAFETY: the text outlives the call and the types the plan; the closure's frame holds pointers
    // only.
    let plan =
        unsafe { guarded(|| SPI_prepare_params(text, Some(path::begin), argument, options)) };
    path::settle(parsers);
    let plan = NonNull::new(plan?)
        .ok_or_else(|| Error::Corrupt { what: "a statement could not be prepared".to_owned() })?;
    Ok(Plan { plan, _types: types })
}

fn prepare(statement: &'static Statement, scope: &impl Scope, params: &[Param]) -> Result<Plan> {
    let mut text = planning::MARK.to_owned() + &scope.expand(statement.body());
    if let Some((word, with)) = statement.blank {
        text = text.replace(word, with);
    }
    let plan = match prepare_text(&text, params, true) {
        // 42P01: a table of the queue is missing. Say it with the queue's name and a hint.
        Err(Error::Postgres(caught)) if caught.is("42P01") => {
            return Err(scope.missing(&caught.message()).unwrap_or(Error::Postgres(caught)));
        }
        other => other?,
    };
    // SAFETY: the plan was just prepared on this connection.
    unsafe { guarded(|| SPI_keepplan(plan.plan.as_ptr()))? };
    for source in plan.sources() {
        // SAFETY: the plan's own source.
        planning::claim(unsafe { (*source).query_string });
    }
    Ok(plan)
}

impl Cache {
    fn make_room(&mut self) {
        for (identity, key) in std::mem::take(&mut self.new) {
            let kept = self.plans.get_mut(&identity).and_then(|plans| plans.get_mut(&key));
            if let Some(kept) = kept {
                let size = kept.measure();
                self.bytes += size;
                kept.size = Some(size);
            }
        }
        if self.bytes < KEPT_BYTES {
            return;
        }
        // A quarter at once, so that the search for the oldest is paid seldom.
        let mut by_age: Vec<(u64, usize, Box<str>)> = self
            .plans
            .iter()
            .flat_map(|(id, plans)| plans.iter().map(|(key, kept)| (kept.used, *id, key.clone())))
            .collect();
        by_age.sort_unstable_by_key(|(used, ..)| *used);
        for (_, identity, key) in by_age {
            if self.bytes < KEPT_BYTES / 4 * 3 {
                break;
            }
            let Some(plans) = self.plans.get_mut(&identity) else { continue };
            if let Some(Kept { plan, size, .. }) = plans.remove(&key) {
                let size = size.unwrap_or(0);
                plan.free();
                self.bytes = self.bytes.saturating_sub(size);
            }
        }
    }
}
