//! One call of a SQL function: one reading of the clock, one SPI connection.

use std::cell::Cell;
use std::ffi::c_int;
use std::marker::PhantomData;
use std::ptr::NonNull;

use pgrx::{Uuid, pg_sys};

use super::direct::Tables;
use super::ereport::{self, guarded};
use super::ffi::{
    AcceptInvalidationMessages, GetLatestSnapshot, PopActiveSnapshot, ProcessInterrupts,
    PushActiveSnapshot, SPI_connect, SPI_datumTransfer, SPI_execute_plan_with_paramlist,
    SPI_finish, makeParamList,
};
use super::path;
use super::plan::{self, Scope, Statement};
use super::row::Rows;
use super::value::Param;
use super::{Jsonb, Timestamp, clock, rights};
use crate::error::{Error, Result};

thread_local! {
    /// How many calls of ours are under way in this backend; triggers of users may nest them.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// What a call works with. Values that it returns to SQL must leave through [`Session::keep`] or be
/// Rust's own.
pub struct Session {
    now: Timestamp,
    depth: u32,
    pub(super) tables: Tables,
    _backend: PhantomData<*const ()>,
}

/// Runs `f` as one call and returns its value; an error is raised as a Postgres ERROR.
pub fn call<T>(f: impl FnOnce(&Session) -> Result<T>) -> T {
    match Session::run_in(f) {
        Ok(value) => value,
        Err(error) => ereport::raise(error),
    }
}

/// Runs `f`, which needs no database, and raises its error.
pub fn pure<T>(f: impl FnOnce() -> Result<T>) -> T {
    match f() {
        Ok(value) => value,
        Err(error) => ereport::raise(error),
    }
}

impl Session {
    fn run_in<T>(f: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        let now = clock::now()?;
        // Within a transaction Postgres takes note of what others have changed with each lock that
        // is new to it; whose tables are and what they look like is known before any is taken.
        // SAFETY: hears what others have changed; the closure's frame is plain.
        unsafe { guarded(|| AcceptInvalidationMessages())? };
        // SAFETY: paired with SPI_finish below; on error the (sub)transaction's end disconnects.
        unsafe { guarded(|| SPI_connect())? };
        DEPTH.set(DEPTH.get() + 1);
        let tables = Tables::default();
        let session = Self { now, depth: DEPTH.get(), tables, _backend: PhantomData };
        let value = f(&session)?;
        session.close_tables()?;
        drop(session);
        // SAFETY: this call connected.
        unsafe { guarded(|| SPI_finish())? };
        Ok(value)
    }

    /// Whether no other call of the backend is under way around this one.
    pub(super) fn is_outermost(&self) -> bool {
        self.depth == 1
    }

    /// The call's time.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Whether the call's time is set by hand.
    pub fn is_time_set(&self) -> bool {
        clock::is_set()
    }

    /// Blocks of tables and indexes that this backend has looked at since it began.
    pub fn blocks_looked_at(&self) -> i64 {
        blocks()
    }

    /// Runs a statement of the engine with its kept plan.
    pub fn run(
        &self,
        statement: &'static Statement,
        scope: &impl Scope,
        params: &[Param],
    ) -> Result<Rows> {
        self.execute(statement, scope, params, false)
    }

    /// Runs a statement of the engine that changes so many rows, which the call has locked or
    /// makes, of a `table`, which stands as in a statement.
    ///
    /// # Errors
    /// 27000 when a trigger or a policy has kept one as it was: what is told of it would not be so.
    pub fn change(
        &self,
        statement: &'static Statement,
        scope: &impl Scope,
        params: &[Param],
        (count, table): (usize, &'static str),
    ) -> Result<()> {
        match self.run(statement, scope, params)?.processed() == count {
            true => Ok(()),
            false => Err(Self::kept(scope, table)),
        }
    }

    /// The error for rows that a trigger or policy has kept as they were.
    pub fn kept(scope: &impl Scope, tables: &'static str) -> Error {
        Error::Kept { table: scope.expand(tables) }
    }

    /// Whether the transaction keeps one snapshot (REPEATABLE READ, SERIALIZABLE), so that its
    /// statements do not see what was committed since.
    pub fn keeps_snapshot(&self) -> bool {
        // SAFETY: reads a global of this backend.
        unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as c_int }
    }

    /// Runs a query of the engine on what is committed by now, whatever snapshot the transaction
    /// keeps. For noticing what a decision must not miss, as foreign keys do; never for answering.
    pub fn run_latest(
        &self,
        statement: &'static Statement,
        scope: &impl Scope,
        params: &[Param],
    ) -> Result<Rows> {
        self.execute(statement, scope, params, true)
    }

    fn execute(
        &self,
        statement: &'static Statement,
        scope: &impl Scope,
        params: &[Param],
        latest: bool,
    ) -> Result<Rows> {
        scope.check()?;
        let _rights = if scope.is_owned() { rights::owner()? } else { None };
        let plan = plan::get(statement, scope, params, self.is_outermost())?;
        self.execute_plan(plan, params, latest)
    }

    /// Plans and runs SQL text once, with the values known to the planner. For DDL, for queries
    /// whose best plan depends on which filters are given, and for what runs seldom.
    pub fn run_once(&self, sql: &str, params: &[Param]) -> Result<Rows> {
        let prepared = plan::prepare_text(sql, params, false)?;
        let rows = self.execute_plan(prepared.plan, params, false)?;
        prepared.free();
        Ok(rows)
    }

    fn execute_plan(
        &self,
        plan: NonNull<pg_sys::_SPI_plan>,
        params: &[Param],
        latest: bool,
    ) -> Result<Rows> {
        self.doubt_rows();
        let parsers = path::parsers();
        // SAFETY: the parameters live in the call's memory; the closure's frame holds pointers
        // only.
        let outcome = unsafe {
            guarded(|| {
                let values = bind(params);
                if !latest {
                    return SPI_execute_plan_with_paramlist(plan.as_ptr(), values, false, 0);
                }
                // A query that only reads uses the snapshot that is active.
                PushActiveSnapshot(GetLatestSnapshot());
                let code = SPI_execute_plan_with_paramlist(plan.as_ptr(), values, true, 0);
                PopActiveSnapshot();
                code
            })
        };
        path::settle(parsers);
        rows(outcome?)
    }

    /// Copies a value so that it survives the call's end.
    pub fn keep<T: Keep>(&self, value: T) -> T {
        value.keep(self)
    }

    fn transfer(&self, datum: pg_sys::Datum) -> pg_sys::Datum {
        // SAFETY: a varlena, copied into the context that the call came with.
        unsafe { SPI_datumTransfer(datum, false, -1) }
    }

    /// Answers to what interrupts a statement, between the steps of long work.
    ///
    /// # Errors
    /// 57014 when the statement was cancelled.
    pub fn check_for_interrupts(&self) -> Result<()> {
        // SAFETY: a flag of this backend, and the function that it asks for; the frame is plain.
        unsafe {
            if pg_sys::InterruptPending != 0 {
                guarded(|| ProcessInterrupts())?;
            }
        }
        Ok(())
    }

    /// A new UUID of version 7 for the call's time.
    pub fn new_id(&self) -> Result<Uuid> {
        super::uuid::v7(self.now)
    }
}

pub(super) fn blocks() -> i64 {
    // SAFETY: reads a counter of this backend.
    unsafe { pg_sys::pgBufferUsage.shared_blks_hit + pg_sys::pgBufferUsage.shared_blks_read }
}

impl Drop for Session {
    fn drop(&mut self) {
        DEPTH.set(self.depth - 1);
    }
}

/// The values of a statement's parameters; null for none.
///
/// # Safety
/// Runs under `guarded`.
unsafe fn bind(params: &[Param]) -> pg_sys::ParamListInfo {
    if params.is_empty() {
        return std::ptr::null_mut();
    }
    // SAFETY: the list has a place for each.
    unsafe {
        let list = makeParamList(params.len() as c_int);
        let places = (*list).params.as_mut_ptr();
        for (place, param) in params.iter().enumerate() {
            *places.add(place) = pg_sys::ParamExternData {
                value: param.datum.unwrap_or(pg_sys::Datum::null()),
                isnull: param.datum.is_none(),
                pflags: pg_sys::PARAM_FLAG_CONST as u16,
                ptype: param.oid,
            };
        }
        list
    }
}

fn rows(code: c_int) -> Result<Rows> {
    if code < 0 {
        return Err(Error::Corrupt { what: format!("SPI refused a statement with code {code}") });
    }
    // SAFETY: set by the execution that just succeeded.
    unsafe { Ok(Rows::new(pg_sys::SPI_tuptable, pg_sys::SPI_processed)) }
}

/// Values that point into memory which ends with the call.
pub trait Keep {
    #[must_use]
    fn keep(self, session: &Session) -> Self;
}

impl Keep for Jsonb {
    fn keep(self, session: &Session) -> Self {
        Self::from_raw(session.transfer(self.datum()))
    }
}

impl Keep for super::value::WorkflowRunRow {
    fn keep(self, session: &Session) -> Self {
        Self(session.transfer(self.0))
    }
}

impl Keep for super::value::Interval {
    fn keep(self, _: &Session) -> Self {
        // SAFETY: an interval is a fixed 16 bytes by reference.
        unsafe { Self(SPI_datumTransfer(self.0, false, 16)) }
    }
}

impl<T: Keep> Keep for Option<T> {
    fn keep(self, session: &Session) -> Self {
        self.map(|value| value.keep(session))
    }
}

/// Builds a statement's parameter list.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$($crate::pg::value::IntoParam::param($value)),*]
    };
}
