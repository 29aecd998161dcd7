//! How far a copy is, on a terminal: bytes, their rate, and the time that is left.

use std::{sync::Arc, time::Duration};

use node::files::Meter;
use tokio::time::Instant;

use crate::output::status::Status;

/// Over how long the rate is taken.
const WINDOW: Duration = Duration::from_secs(5);

/// A copy's progress.
pub(super) struct Progress {
    meter: Arc<Meter>,
    status: Status,
    /// Where the window of the rate began.
    since: (Instant, u64),
    rate: f64,
}

impl Progress {
    pub(super) fn new(meter: Arc<Meter>) -> Self {
        Self {
            meter,
            status: Status::new(),
            since: (Instant::now(), 0),
            rate: 0.0,
        }
    }

    /// Shows how far it is.
    pub(super) fn show(&mut self) {
        let moved = self.meter.moved();
        if moved == 0 || !self.status.is_seen() {
            return;
        }
        let (began, before) = self.since;
        let passed = began.elapsed();
        #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
        if passed > Duration::ZERO {
            self.rate = moved.saturating_sub(before) as f64 / passed.as_secs_f64();
        }
        if passed > WINDOW {
            self.since = (Instant::now(), moved);
        }
        let text = line(moved, self.meter.expected(), self.rate);
        self.status.show(&text);
    }

    /// Takes the line away.
    pub(super) fn clear(&mut self) {
        self.status.clear();
    }
}

fn line(moved: u64, expected: u64, rate: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate of bytes is far from both ends"
    )]
    let speed = shown(rate as u64);
    let left = expected.saturating_sub(moved);
    #[expect(clippy::cast_precision_loss, reason = "shown in whole seconds")]
    let seconds = (rate > 0.0).then(|| left as f64 / rate);
    let eta = seconds
        .filter(|seconds| *seconds < 1e6)
        .map(|seconds| format!(", {seconds:.0} s left"))
        .unwrap_or_default();
    format!("{} of {}, {speed}/s{eta}", shown(moved), shown(expected))
}

/// Returns a number of bytes for people.
#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub(super) fn shown(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_shown_in_bytes_rate_and_time_left() {
        assert_eq!(
            line(512 << 20, 1 << 30, f64::from(256 << 20)),
            "512.0 MiB of 1.0 GiB, 256.0 MiB/s, 2 s left"
        );
        assert_eq!(line(1, 10, 0.0), "1 B of 10 B, 0 B/s");
        assert_eq!(shown(5 << 50), "5120.0 TiB");
    }
}
