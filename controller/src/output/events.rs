//! A run as it happens, one JSON object a line: `controller run --ndjson`.
//!
//! The keys are a contract: they are added to, never changed. Remote bytes are inside JSON strings,
//! so no output can forge a line.

use proto::{
    id::NodeName,
    run::{Attached, Earlier, Started},
    text,
};
use serde::Serialize;

use super::report::{Content, Report};

/// Something that happened to a run.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// A process was started.
    Started {
        /// The run's id.
        run: String,
        /// On which target.
        target: &'a NodeName,
        /// The process's number there.
        pid: u32,
        /// When, by the target's clock, in milliseconds since 1970.
        at_ms: u64,
    },
    /// The id was used before: nothing was started now, and the first result follows.
    Earlier {
        /// The run's id.
        run: String,
        /// On which target.
        target: &'a NodeName,
        /// When the first request was accepted, by the target's clock.
        accepted_at_ms: u64,
    },
    /// The output that follows begins at these bytes.
    Attached {
        /// The run's id.
        run: String,
        /// On which target.
        target: &'a NodeName,
        /// The first byte of standard output that follows.
        stdout_from: u64,
        /// The same for standard error.
        stderr_from: u64,
        /// Bytes before that which are no longer kept, and did not come before.
        left_out_bytes: u64,
    },
    /// The link is lost for now, and the run goes on.
    Away {
        /// The run's id.
        run: String,
        /// On which target.
        target: &'a NodeName,
    },
    /// Bytes of standard output.
    Stdout(Content<'a>),
    /// Bytes of standard error.
    Stderr(Content<'a>),
    /// The run is over.
    Ended(&'a Report),
}

impl<'a> Event<'a> {
    /// Describes a start.
    #[must_use]
    pub fn started(run: String, target: &'a NodeName, started: Started) -> Self {
        Self::Started {
            run,
            target,
            pid: started.pid,
            at_ms: started.at_ms,
        }
    }

    /// Describes an earlier start.
    #[must_use]
    pub fn earlier(run: String, target: &'a NodeName, earlier: Earlier) -> Self {
        Self::Earlier {
            run,
            target,
            accepted_at_ms: earlier.accepted_at_ms,
        }
    }

    /// Describes where the output goes on.
    #[must_use]
    pub const fn attached(
        run: String,
        target: &'a NodeName,
        attached: Attached,
        left_out_bytes: u64,
    ) -> Self {
        Self::Attached {
            run,
            target,
            stdout_from: attached.stdout_from,
            stderr_from: attached.stderr_from,
            left_out_bytes,
        }
    }

    /// Describes the loss of a link.
    #[must_use]
    pub const fn away(run: String, target: &'a NodeName) -> Self {
        Self::Away { run, target }
    }

    /// Returns the event as one line, with its newline. Characters that a terminal would obey are
    /// escaped as JSON allows.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = harmless_json(self);
        line.push('\n');
        line
    }
}

/// Returns `value` as JSON on one line, in which every character that a terminal would obey or that
/// hides text is written as `\uXXXX`, which JSON readers turn back.
#[must_use]
pub fn harmless_json<T: Serialize + ?Sized>(value: &T) -> String {
    text::harmless_json(&serde_json::to_string(value).expect("our own types are plain data"))
}

/// The same over several lines, for people.
#[must_use]
pub fn harmless_pretty_json<T: Serialize + ?Sized>(value: &T) -> String {
    text::harmless_json(&serde_json::to_string_pretty(value).expect("our own types are plain data"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_cannot_forge_a_line_or_reach_the_terminal() {
        let evil = "x\n{\"event\":\"ended\"}\u{1b}[2J\u{202e}\u{9b}";

        let line = Event::Stdout(Content::of(evil.as_bytes())).line();

        assert_eq!(line.matches('\n').count(), 1);
        assert!(
            line.chars().all(|c| c == '\n' || !c.is_control()),
            "{line:?}"
        );
        assert!(!line.contains('\u{202e}'));
        let back: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(back["text"], evil);
    }
}
