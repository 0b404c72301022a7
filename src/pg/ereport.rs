//! The one place where errors cross between Postgres and Rust, in both directions, whole.
//!
//! pgrx turns a Postgres error into a panic whose SQLSTATE is a closed enum, and raises errors
//! through the same enum: AB001 would reach the client as XX000, and so would a code that a user's
//! trigger raises below one of our statements. So calls that can fail for reasons of the user's run
//! under [`guarded`], which keeps the `ErrorData` itself, and [`raise`] speaks to Postgres
//! directly.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::{CStr, CString, c_char, c_int};
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use cee_scape::{SigJmpBufFields, call_with_sigsetjmp};
use pgrx::pg_sys;

use super::ffi::{
    OidInputFunctionCall, ReThrowError, errcode, errdetail, errfinish, errhint, errmsg, errstart,
};
use crate::error::{Error, Result, fit};

// pgrx keeps these to itself, or offers them only behind its own catch.
/// What an error of ours names as its source file.
static SOURCE: &CStr = c"absurd";

/// An error that Postgres raised and we caught. It must be raised again: the transaction is
/// already doomed, only its subtransaction's owner may clean up.
#[derive(Debug)]
pub struct Caught(NonNull<pg_sys::ErrorData>);

impl Caught {
    /// Whether the error carries this SQLSTATE.
    pub fn is(&self, sqlstate: &str) -> bool {
        // SAFETY: the pointer came from CopyErrorData and is only given away by `raise`.
        unsafe { self.0.as_ref().sqlerrcode == encode(sqlstate) }
    }

    /// The five characters of the error's SQLSTATE.
    pub fn sqlstate(&self) -> String {
        // SAFETY: as above.
        let code = unsafe { self.0.as_ref().sqlerrcode };
        let letter = |place: u32| (((code >> (6 * place)) & 0x3f) + 0x30) as u8;
        (0..5).map(|place| char::from(letter(place))).collect()
    }

    /// The detail and the hint.
    pub fn detail_and_hint(&self) -> (Option<String>, Option<String>) {
        // SAFETY: as above; both are null or C strings in the same memory context.
        unsafe {
            let text = |text: *const c_char| {
                (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
            };
            (text(self.0.as_ref().detail), text(self.0.as_ref().hint))
        }
    }

    /// The primary message, for an error that is reported in our own words.
    pub fn message(&self) -> String {
        // SAFETY: as above; `message` is null or a C string in the same memory context.
        unsafe {
            let message = self.0.as_ref().message;
            if message.is_null() {
                String::new()
            } else {
                CStr::from_ptr(message).to_string_lossy().into_owned()
            }
        }
    }
}

/// Runs `f`, which calls into Postgres without pgrx's own guard, and catches what it raises.
///
/// # Safety
/// `f` must hold no value with a destructor while Postgres runs: an error jumps over its frame.
pub unsafe fn guarded<T: Copy>(f: impl FnOnce() -> T) -> Result<T> {
    // SAFETY: this is PG_TRY/PG_CATCH: the exception stack is put back on both paths, and the
    // closure's frame is plain by the caller's promise.
    unsafe {
        let context = pg_sys::CurrentMemoryContext;
        let exception_stack = pg_sys::PG_exception_stack;
        let context_stack = pg_sys::error_context_stack;
        let mut value = MaybeUninit::<T>::uninit();
        let jumped = call_with_sigsetjmp(false, |buffer| {
            pg_sys::PG_exception_stack = ptr::from_ref::<SigJmpBufFields>(buffer).cast_mut().cast();
            value.write(f());
            0
        });
        pg_sys::PG_exception_stack = exception_stack;
        pg_sys::error_context_stack = context_stack;
        if jumped == 0 {
            return Ok(value.assume_init());
        }
        pg_sys::MemoryContextSwitchTo(context);
        let copy = NonNull::new_unchecked(pg_sys::CopyErrorData());
        pg_sys::FlushErrorState();
        Err(Error::Postgres(Caught(copy)))
    }
}

/// Reads text with a type's input function, named by its OID.
///
/// # Safety
/// `function` is an input function; what the datum then is, is the caller's to know.
///
/// # Errors
/// What the function says of text that it cannot read.
pub unsafe fn input(function: u32, text: &CStr) -> Result<pg_sys::Datum> {
    let text = text.as_ptr().cast_mut();
    let function = pg_sys::Oid::from(function);
    // SAFETY: the caller's promise; the closure's frame holds plain data.
    unsafe { guarded(|| OidInputFunctionCall(function, text, pg_sys::InvalidOid, -1)) }
}

/// Raises `error` as a Postgres ERROR. Nothing of Rust that needs dropping is alive when it jumps.
pub fn raise(error: Error) -> ! {
    if let Error::Postgres(caught) = error {
        // SAFETY: the error data is whole, and `caught` has no destructor.
        unsafe {
            let data = caught.0.as_ptr();
            // An error of ours that came up through one of our own statements, the guard's for
            // one: the caller has no use for the engine's SQL as its context.
            let file = (*data).filename;
            if !file.is_null() && CStr::from_ptr(file) == SOURCE {
                (*data).context = ptr::null_mut();
            }
            ReThrowError(data)
        }
    }
    let report = Report::new(&error);
    drop(error);
    // SAFETY: `report` is plain data in Postgres memory.
    unsafe { report.throw() }
}

/// Reports an error that the call survives as a WARNING.
pub fn warn(error: Error) -> Result<()> {
    let mut report = Report::new(&error);
    if let Error::Postgres(caught) = &error {
        // SAFETY: as in `Caught::is`.
        report.sqlstate = unsafe { caught.0.as_ref().sqlerrcode };
        report.message = palloc_text(&caught.message());
    }
    drop(error);
    // SAFETY: `report` is plain data in Postgres memory; a WARNING comes back.
    unsafe { guarded(|| report.say(pgrx::PgLogLevel::WARNING)) }
}

/// Says something that is no error, as a NOTICE.
pub fn notice(text: &str) -> Result<()> {
    let (message, none) = (palloc_text(text), ptr::null());
    let report = Report { sqlstate: 0, message, detail: none, hint: none };
    // SAFETY: as above.
    unsafe { guarded(|| report.say(pgrx::PgLogLevel::NOTICE)) }
}

/// Texts that a session is told once are remembered up to this many; no more are said then.
const SAID: usize = 1000;

thread_local! {
    static ALREADY_SAID: RefCell<HashSet<String>> = RefCell::default();
}

/// Says a text as a WARNING (01000), once a session.
///
/// # Errors
/// What Postgres raises while it sends it.
pub fn warn_once(text: &str) -> Result<()> {
    let is_new = ALREADY_SAID.with_borrow_mut(|said| {
        said.len() < SAID && !said.contains(text) && said.insert(text.to_owned())
    });
    if is_new { warn_of(text) } else { Ok(()) }
}

/// Says a text as a WARNING (01000).
///
/// # Errors
/// As [`warn_once`].
pub fn warn_of(text: &str) -> Result<()> {
    let report = Report {
        sqlstate: encode("01000"),
        message: palloc_text(text),
        detail: ptr::null(),
        hint: ptr::null(),
    };
    // SAFETY: as in `warn`.
    unsafe { guarded(|| report.say(pgrx::PgLogLevel::WARNING)) }
}

/// An error in Postgres memory, ready to be thrown.
#[derive(Clone, Copy)]
struct Report {
    sqlstate: c_int,
    message: *const c_char,
    detail: *const c_char,
    hint: *const c_char,
}

impl Report {
    fn new(error: &Error) -> Self {
        Self {
            sqlstate: encode(error.sqlstate()),
            message: palloc_text(&error.to_string()),
            detail: error.detail().map_or(ptr::null(), |text| palloc_text(&text)),
            hint: error.hint().map_or(ptr::null(), |text| palloc_text(&text)),
        }
    }

    unsafe fn throw(self) -> ! {
        // SAFETY: as the caller's.
        unsafe { self.say(pgrx::PgLogLevel::ERROR) };
        unreachable!("errfinish does not return from ERROR")
    }

    unsafe fn say(self, level: pgrx::PgLogLevel) {
        const TEXT: *const c_char = c"%s".as_ptr();
        // SAFETY: the sequence that ereport() expands to.
        unsafe {
            if !errstart(level as c_int, ptr::null()) {
                return;
            }
            errcode(self.sqlstate);
            errmsg(TEXT, self.message);
            if !self.detail.is_null() {
                errdetail(TEXT, self.detail);
            }
            if !self.hint.is_null() {
                errhint(TEXT, self.hint);
            }
            errfinish(SOURCE.as_ptr(), 0, SOURCE.as_ptr());
        }
    }
}

fn palloc_text(text: &str) -> *const c_char {
    // A NUL byte cannot be in text that came from Postgres; cut there rather than fail twice.
    let text = fit(text);
    let upto = text.bytes().position(|b| b == 0).unwrap_or(text.len());
    let text = CString::new(&text.as_bytes()[..upto]).unwrap_or_default();
    // SAFETY: pstrdup copies a C string into the current memory context.
    unsafe { pg_sys::pstrdup(text.as_ptr()) }
}

/// A SQLSTATE as Postgres packs it: six bits a character.
fn encode(sqlstate: &str) -> c_int {
    sqlstate
        .bytes()
        .take(5)
        .enumerate()
        .fold(0, |code, (i, byte)| code | ((c_int::from(byte) - 0x30) & 0x3f) << (6 * i))
}
