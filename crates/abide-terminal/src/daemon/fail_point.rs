//! Places at which a test ends the daemon. They exist in builds with debug assertions only.

/// The variable that names the place.
const VARIABLE: &str = "ABIDE_TEST_FAIL_AT";

/// Ends the process as a crash would, if this place is the one that `ABIDE_TEST_FAIL_AT` names.
pub(super) fn pass(place: &str) {
    if cfg!(debug_assertions) && std::env::var_os(VARIABLE).is_some_and(|named| named == place) {
        tracing::error!(place, "the daemon crashes here, as it was told");
        std::process::abort();
    }
}
