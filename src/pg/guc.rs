//! The extension's settings.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

use super::ffi::{MarkGUCPrefixReserved, set_config_option};

static FAKE_NOW: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

static DIRECT: GucSetting<bool> = GucSetting::<bool>::new(true);

/// Defines the settings; called once when the library is loaded.
///
/// A value that an unprivileged session gave `absurd.fake_now` before the library was loaded is
/// dropped by Postgres at this point, with a warning: such a session cannot bend the clock.
pub fn define() {
    GucRegistry::define_string_guc(
        c"absurd.fake_now",
        c"Time that the engine takes for the current one.",
        c"A timestamp with time zone, for tests; empty means the wall clock. Only roles that may set it can.",
        &FAKE_NOW,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"absurd.direct",
        c"Lets the hottest functions read and write plain tables without the executor.",
        c"Off, every row goes through a statement. The results are the same.",
        &DIRECT,
        GucContext::Userset,
        GucFlags::default(),
    );
    reserve(c"absurd");
}

/// Has settings of the prefix that do not exist refused (42602) from now on, and those that were
/// set before dropped with a warning. Before PostgreSQL 15: the warning alone.
fn reserve(prefix: &CStr) {
    // SAFETY: reads a C string.
    unsafe { MarkGUCPrefixReserved(prefix.as_ptr()) }
}

/// The setting `absurd.direct`.
pub fn is_direct() -> bool {
    DIRECT.get()
}

/// The setting `absurd.fake_now`, as it was written.
pub fn fake_now() -> Option<String> {
    FAKE_NOW.get().map(|text| text.to_string_lossy().into_owned())
}

/// Sets a setting of Postgres until the end of the innermost nest level of settings, as a
/// function's SET clause does.
///
/// # Safety
/// Runs under `guarded`, or where an error may pass; within a nest level of the caller's.
pub(super) unsafe fn set_locally(name: &CStr, value: &CStr) {
    // SAFETY: both texts outlive the call, which copies them.
    unsafe {
        set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
    }
}
