//! Waiting for a condition with a deadline, the only way in which a scenario waits.

use std::{
    thread,
    time::{Duration, Instant},
};

/// The pause between two looks: short against anything that is waited for, long against a look.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until `condition` holds.
///
/// # Panics
/// When it does not hold `within` the given time.
#[track_caller]
pub fn eventually(within: Duration, mut condition: impl FnMut() -> bool) {
    eventually_some(within, || condition().then_some(()));
}

/// Waits until `look` finds something, and returns it.
///
/// # Panics
/// When it finds nothing `within` the given time.
#[track_caller]
pub fn eventually_some<T>(within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "the condition did not hold within {within:?}"
        );
        thread::sleep(PAUSE);
    }
}
