//! What the executor makes anew of a table's indexes and constraints whenever it opens it for writing,
//! kept: made anew it was a quarter of what a direct completion cost, the reading of the CHECKs from their
//! text alone an eighth.
//!
//! Kept by what never changes: an index by its OID, a CHECK by its text. Expressions that call functions
//! of users are not kept, since what they have been made of may be replaced.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, c_char};
use std::ptr::null_mut;
use std::rc::Rc;

use pgrx::pg_sys;

use super::ffi;
use crate::error::Result;
use crate::pg::ereport::guarded;

/// So many indexes are kept, of some thirty queues; 3 kB each.
const MOST: usize = 256;

unsafe extern "C-unwind" {
    fn RelationGetIndexList(relation: pg_sys::Relation) -> *mut pg_sys::List;
    fn index_open(index: pg_sys::Oid, lock: i32) -> pg_sys::Relation;
    fn BuildIndexInfo(index: pg_sys::Relation) -> *mut pg_sys::IndexInfo;
    fn expression_planner(expression: *mut pg_sys::Expr) -> *mut pg_sys::Expr;
    fn ExecInitExpr(
        expression: *mut pg_sys::Expr,
        parent: *mut pg_sys::PlanState,
    ) -> *mut pg_sys::ExprState;
    fn ExecInitQual(
        conditions: *mut pg_sys::List,
        parent: *mut pg_sys::PlanState,
    ) -> *mut pg_sys::ExprState;
    fn ExecInitExprList(
        expressions: *mut pg_sys::List,
        parent: *mut pg_sys::PlanState,
    ) -> *mut pg_sys::List;
    fn nodeToString(node: *const std::ffi::c_void) -> *mut c_char;
    fn stringToNode(text: *const c_char) -> *mut std::ffi::c_void;
    fn AllocSetContextCreateInternal(
        parent: pg_sys::MemoryContext,
        name: *const c_char,
        minimum: usize,
        initial: usize,
        maximum: usize,
    ) -> pg_sys::MemoryContext;
    fn MemoryContextDelete(context: pg_sys::MemoryContext);
}

#[derive(Default)]
struct Kept {
    /// How often everything has been forgotten.
    round: u64,
    context: Option<pg_sys::MemoryContext>,
    /// Null for what is not kept.
    indexes: HashMap<u32, *mut pg_sys::IndexInfo>,
    /// None for what is not kept.
    checks: HashMap<Box<CStr>, Option<*mut pg_sys::ExprState>>,
}

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::default();
}

/// Forgets everything when it has become much. Nothing may be open that uses it.
pub(super) fn make_room() -> Result<()> {
    let full = KEPT.with_borrow_mut(|kept| {
        if kept.indexes.len().max(kept.checks.len()) < MOST {
            return None;
        }
        let next = Kept { round: kept.round + 1, ..Kept::default() };
        std::mem::replace(kept, next).context
    });
    match full {
        // SAFETY: made by `context`, and no pointer into it is left.
        Some(context) => unsafe { guarded(|| MemoryContextDelete(context)) },
        None => Ok(()),
    }
}

fn context() -> Result<pg_sys::MemoryContext> {
    if let Some(context) = KEPT.with_borrow(|kept| kept.context) {
        return Ok(context);
    }
    // SAFETY: as AllocSetContextCreate with the small sizes.
    let context = unsafe {
        guarded(|| {
            let name = c"absurd expressions".as_ptr();
            AllocSetContextCreateInternal(pg_sys::TopMemoryContext, name, 0, 1024, 8192)
        })?
    };
    KEPT.with_borrow_mut(|kept| kept.context = Some(context));
    Ok(context)
}

/// Opens the indexes of a table that is to be written, as ExecOpenIndices does.
pub(super) fn open_indexes(
    relation: pg_sys::Relation,
    target: *mut pg_sys::ResultRelInfo,
) -> Result<()> {
    // SAFETY: the closures' frames are plain; the arrays have a place for each index.
    unsafe {
        let count = guarded(|| {
            let list = RelationGetIndexList(relation);
            let count = if list.is_null() { 0 } else { (*list).length as usize };
            let size = count.max(1) * size_of::<*mut u8>();
            ((*target).ri_IndexRelationDescs, (*target).ri_IndexRelationInfo) =
                (ffi::palloc0(size).cast(), ffi::palloc0(size).cast());
            for i in 0..count {
                let id = (*(*list).elements.add(i)).oid_value;
                *(*target).ri_IndexRelationDescs.add(i) =
                    index_open(id, pg_sys::RowExclusiveLock as i32);
                (*target).ri_NumIndices = i as i32 + 1;
            }
            count
        })?;
        let (opened, infos) = ((*target).ri_IndexRelationDescs, (*target).ri_IndexRelationInfo);
        for i in 0..count {
            *infos.add(i) = info(*opened.add(i))?;
        }
        // What is written into goes into the call's own copy.
        guarded(|| {
            for i in 0..count {
                let (index, kept) = (*opened.add(i), *infos.add(i));
                *infos.add(i) = match kept.is_null() {
                    true => BuildIndexInfo(index),
                    false => copy(index, kept),
                };
            }
        })
    }
}

/// What the executor wants to know of an index, as it is kept; null when it is not.
fn info(index: pg_sys::Relation) -> Result<*mut pg_sys::IndexInfo> {
    // SAFETY: an open index.
    let id = unsafe { (*index).rd_id.to_u32() };
    if let Some(known) = KEPT.with_borrow(|kept| kept.indexes.get(&id).copied()) {
        return Ok(known);
    }
    let context = context()?;
    // SAFETY: an open index; the closure's frame is plain.
    let made = unsafe { guarded(|| compile_index(context, index))? };
    KEPT.with_borrow_mut(|kept| kept.indexes.insert(id, made));
    Ok(made)
}

unsafe fn copy(index: pg_sys::Relation, kept: *const pg_sys::IndexInfo) -> *mut pg_sys::IndexInfo {
    // SAFETY: runs under `guarded`; what is kept lives until nothing is open.
    unsafe {
        let copy: *mut pg_sys::IndexInfo = ffi::palloc(size_of::<pg_sys::IndexInfo>()).cast();
        *copy = *kept;
        (*copy).ii_ReadyForInserts = (*(*index).rd_index).indisready;
        (*copy).ii_Context = pg_sys::CurrentMemoryContext;
        copy
    }
}

/// Null when it must not be kept.
unsafe fn compile_index(
    context: pg_sys::MemoryContext,
    index: pg_sys::Relation,
) -> *mut pg_sys::IndexInfo {
    // SAFETY: runs under `guarded`.
    unsafe {
        let before = pg_sys::MemoryContextSwitchTo(context);
        let info = BuildIndexInfo(index);
        let built_in = [(*info).ii_Expressions, (*info).ii_Predicate]
            .iter()
            .all(|list| list.is_null() || is_built_in(nodeToString((*list).cast())));
        if built_in {
            if !(*info).ii_Predicate.is_null() {
                let planned = expression_planner((*info).ii_Predicate.cast());
                (*info).ii_PredicateState = ExecInitQual(planned.cast(), null_mut());
            }
            if !(*info).ii_Expressions.is_null() {
                let planned = expression_planner((*info).ii_Expressions.cast());
                (*info).ii_ExpressionsState = ExecInitExprList(planned.cast(), null_mut());
            }
        }
        pg_sys::MemoryContextSwitchTo(before);
        if built_in { info } else { null_mut() }
    }
}

/// The CHECKs of a table, in the order of its descriptor.
#[derive(Clone)]
pub(super) struct Checks {
    /// Empty when one of them is not kept.
    compiled: Rc<[*mut pg_sys::ExprState]>,
    round: u64,
}

/// Gives the executor the table's CHECKs, unless one of them cannot be kept: then it makes them itself.
/// `known` holds what was given before.
pub(super) fn give_checks(
    relation: pg_sys::Relation,
    target: *mut pg_sys::ResultRelInfo,
    known: &RefCell<Option<Checks>>,
) -> Result<()> {
    let round = KEPT.with_borrow(|kept| kept.round);
    let before = known.borrow().as_ref().filter(|checks| checks.round == round).cloned();
    let checks = match before {
        Some(checks) => checks,
        None => {
            let checks = Checks { compiled: checks(relation)?.into(), round };
            known.replace(Some(checks.clone()));
            checks
        }
    };
    if !checks.compiled.is_empty() {
        // SAFETY: the executor only reads them; what is known of a table lives as long as it is open.
        unsafe { (*target).ri_ConstraintExprs = checks.compiled.as_ptr().cast_mut() };
    }
    Ok(())
}

/// None when there are none, or one of them cannot be kept.
fn checks(relation: pg_sys::Relation) -> Result<Vec<*mut pg_sys::ExprState>> {
    // SAFETY: an open relation's descriptor.
    unsafe {
        let constraints = (*(*relation).rd_att).constr;
        let count = if constraints.is_null() { 0 } else { (*constraints).num_check as usize };
        let mut checks = Vec::with_capacity(count);
        for i in 0..count {
            match check((*(*constraints).check.add(i)).ccbin)? {
                Some(compiled) => checks.push(compiled),
                None => return Ok(Vec::new()),
            }
        }
        Ok(checks)
    }
}

/// A CHECK by its text.
unsafe fn check(text: *const c_char) -> Result<Option<*mut pg_sys::ExprState>> {
    // SAFETY: a C string of the relation's descriptor.
    let key = unsafe { CStr::from_ptr(text) };
    if let Some(known) = KEPT.with_borrow(|kept| kept.checks.get(key).copied()) {
        return Ok(known);
    }
    let context = context()?;
    // SAFETY: the closure's frame is plain.
    let made = unsafe {
        guarded(|| {
            if !is_built_in(text) {
                return null_mut();
            }
            let before = pg_sys::MemoryContextSwitchTo(context);
            let planned = expression_planner(stringToNode(text).cast());
            let compiled = ExecInitExpr(planned, null_mut());
            pg_sys::MemoryContextSwitchTo(before);
            compiled
        })?
    };
    let made = (!made.is_null()).then_some(made);
    KEPT.with_borrow_mut(|kept| kept.checks.insert(key.into(), made));
    Ok(made)
}

/// Whether an expression, as Postgres stores it, is made of what Postgres brings along.
unsafe fn is_built_in(text: *const c_char) -> bool {
    // SAFETY: a C string.
    let text = unsafe { CStr::from_ptr(text) }.to_bytes();
    let is_own = |number: &[u8]| {
        let digits = number.iter().take_while(|byte| byte.is_ascii_digit());
        let value = digits.fold(0_u64, |value, digit| value * 10 + u64::from(digit - b'0'));
        value < u64::from(pg_sys::FirstNormalObjectId)
    };
    let all_own = |tag: &[u8]| {
        let mut places = text.windows(tag.len()).enumerate().filter(|(_, window)| *window == tag);
        places.all(|(place, _)| is_own(&text[place + tag.len()..]))
    };
    let has = |word: &[u8]| text.windows(word.len()).any(|window| window == word);
    !has(b"{COERCETODOMAIN")
        && [&b":funcid "[..], b":opfuncid ", b":opno "].into_iter().all(all_own)
}
