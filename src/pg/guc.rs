//! The extension's settings.

use std::ffi::CString;

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

static FAKE_NOW: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

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
}

/// The setting `absurd.fake_now`, as it was written.
pub fn fake_now() -> Option<String> {
    FAKE_NOW.get().map(|text| text.to_string_lossy().into_owned())
}
