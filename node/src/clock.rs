//! The wall clock as the wire tells it.

use std::time::SystemTime;

/// Returns milliseconds since 1970; 0 for a clock before that.
#[must_use]
pub fn millis(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

/// Returns this machine's clock, in milliseconds since 1970.
#[must_use]
pub fn now_ms() -> u64 {
    millis(SystemTime::now())
}
