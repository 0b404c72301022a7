//! The extension's settings.

use std::ffi::CString;

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

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
}

/// The setting `absurd.direct`.
pub fn is_direct() -> bool {
    DIRECT.get()
}

/// The setting `absurd.fake_now`, as it was written.
pub fn fake_now() -> Option<String> {
    FAKE_NOW.get().map(|text| text.to_string_lossy().into_owned())
}
