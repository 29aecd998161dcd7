//! How both binaries log: one line a record, to standard error.
//!
//! **Invariant:** a record stays one line, and carries no control characters, whatever a peer wrote
//! into it. Guarded by `a_record_with_newlines_and_escapes_stays_one_harmless_line`.

use std::io::{self, IsTerminal, Write};

use proto::text::escaped;
use tracing::Level;
use tracing_subscriber::{
    filter::Targets, fmt::MakeWriter, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// The variable that overrides what is logged, as `tracing`'s directives: `debug`,
/// `node::links=trace,warn`.
pub const LOG_VARIABLE: &str = "MESOSYNC_LOG";

/// Starts logging for this process. Only the first call has an effect.
pub fn init(level: Level) {
    // The libraries are quieter: what they tell matters only together with a fault of ours.
    let quiet = Targets::new()
        .with_default(Level::WARN)
        .with_targets(["node", "controller", "pki"].map(|ours| (ours, level)))
        .with_target("libp2p_mdns", Level::ERROR);
    let wished = std::env::var(LOG_VARIABLE).ok();
    let filter = wished
        .and_then(|wished| wished.parse().ok())
        .unwrap_or(quiet);
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_target(false)
        .with_writer(OneLine);
    let result = tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .try_init();
    // Fails only if a log is set already, which is what is wanted.
    drop(result);
}

/// Tells whether colour may be used on standard error.
#[must_use]
pub fn colour_on_stderr() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[derive(Debug, Clone, Copy)]
struct OneLine;

impl<'a> MakeWriter<'a> for OneLine {
    type Writer = Record;

    fn make_writer(&'a self) -> Record {
        Record(Vec::new())
    }
}

/// Gathers one record, and writes it when it is complete.
#[derive(Debug)]
struct Record(Vec<u8>);

impl Write for Record {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let line = one_line(&self.0);
        // A log that cannot be written has nowhere to say so.
        drop(io::stderr().lock().write_all(line.as_bytes()));
    }
}

fn one_line(record: &[u8]) -> String {
    let text = String::from_utf8_lossy(record);
    let mut line = escaped(text.trim_end_matches('\n'));
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_with_newlines_and_escapes_stays_one_harmless_line() {
        let line = one_line(b"peer said\n2026-01-01 ERROR forged \x1b[2J\n");

        assert_eq!(line.matches('\n').count(), 1);
        assert!(!line.contains('\x1b'), "{line:?}");
    }
}
