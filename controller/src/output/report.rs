//! A run's end as JSON: `controller run --json`, and the last event of `--ndjson`.
//!
//! The keys are a contract: they are added to, never changed.

use base64::Engine as _;
use proto::{
    id::{NodeName, RunId},
    run::{Ended, Exit, Limit, Outcome, Tree, Wire},
};
use serde::Serialize;

use crate::exit::{Origin, code, of_outcome};

/// The most of one stream that a report carries, in bytes; the rest is counted and left out.
pub const MAX_GATHERED: usize = 64 << 20;

/// The outcome of a run, as JSON.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The run's id.
    pub run: String,
    /// On which target.
    pub target: NodeName,
    /// One of `finished`, `refused`, `timed_out`, `cancelled`, `lost`; and where nothing was started
    /// for a reason that lies on this side, `unreachable`, `not_started` or `skipped`.
    pub outcome: &'static str,
    /// Who decided the exit code.
    pub origin: Origin,
    /// The remote exit code, all 32 bits of it (Windows), or this process's own where there is none.
    pub exit_code: u32,
    /// The signal that ended the process.
    pub signal: Option<i32>,
    /// Why, where it did not simply finish.
    pub why: Option<String>,
    /// Processes of the run that still run: numbers on the target.
    pub left: Vec<u32>,
    /// Processes that were to be ended and could not be seen to end.
    pub unconfirmed: Vec<u32>,
    /// Bytes of output that were no longer kept when they were asked for.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out_bytes: u64,
    /// From start to end on the target, in milliseconds.
    pub duration_ms: Option<u64>,
    /// Standard output, if it was gathered.
    #[serde(flatten)]
    pub output: Option<Gathered>,
}

/// Both streams of a run.
#[derive(Debug, Default, Serialize)]
pub struct Gathered {
    /// Standard output.
    pub stdout: Captured,
    /// Standard error.
    pub stderr: Captured,
}

impl Gathered {
    /// Returns how many bytes of both were not kept.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.stdout.left_out() + self.stderr.left_out()
    }
}

/// The bytes of one stream, bounded.
#[derive(Debug, Default)]
pub struct Captured {
    bytes: Vec<u8>,
    left_out: u64,
}

impl Captured {
    /// Adds bytes, up to [`MAX_GATHERED`].
    pub fn push(&mut self, piece: &[u8]) {
        self.push_within(piece, MAX_GATHERED - self.bytes.len());
    }

    /// Adds at most `room` bytes and counts the others; returns how many were added.
    pub fn push_within(&mut self, piece: &[u8], room: usize) -> usize {
        // What follows on something left out is left out, so that no gap hides.
        let room = if self.left_out > 0 { 0 } else { room };
        let take = piece.len().min(room);
        self.bytes.extend_from_slice(&piece[..take]);
        self.left_out += (piece.len() - take) as u64;
        take
    }

    /// Returns what was kept.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns how many bytes were not.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }
}

impl Serialize for Captured {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shape<'a> {
            #[serde(flatten)]
            content: Content<'a>,
            #[serde(skip_serializing_if = "is_zero")]
            left_out_bytes: u64,
        }
        let shape = Shape {
            content: Content::of(&self.bytes),
            left_out_bytes: self.left_out,
        };
        shape.serialize(to)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Bytes in JSON: `text` where they are UTF-8, else `base64`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Content<'a> {
    /// The bytes are UTF-8.
    Text(&'a str),
    /// They are not.
    Base64(String),
}

impl<'a> Content<'a> {
    /// Chooses the form for `bytes`.
    #[must_use]
    pub fn of(bytes: &'a [u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(_) => Self::Base64(base64::engine::general_purpose::STANDARD.encode(bytes)),
        }
    }
}

impl Report {
    /// Describes how `run` ended.
    #[must_use]
    pub fn new(run: RunId, target: NodeName, outcome: &Outcome, ended: Option<&Ended>) -> Self {
        let (_, origin) = of_outcome(outcome);
        let (exit_code, signal) = exit_code(outcome);
        let (left, unconfirmed) = match ended.map(|ended| &ended.tree) {
            Some(Tree::Left { pids }) => (pids.clone(), Vec::new()),
            Some(Tree::Unconfirmed { pids }) => (Vec::new(), pids.clone()),
            Some(Tree::Gone) | None => (Vec::new(), Vec::new()),
        };
        Self {
            run: run.to_string(),
            target,
            outcome: word(outcome),
            origin,
            exit_code,
            signal,
            why: why(outcome),
            left,
            unconfirmed,
            left_out_bytes: 0,
            duration_ms: ended.map(|ended| ended.duration_ms),
            output: None,
        }
    }
}

impl Report {
    /// Describes that `run` is none that its agent knows of this controller: nothing was reached that
    /// could have an end.
    #[must_use]
    pub fn not_known(run: RunId, target: NodeName, outcome: &Outcome) -> Self {
        Self {
            origin: Origin::Controller,
            exit_code: code::UNREACHABLE.into(),
            ..Self::new(run, target, outcome, None)
        }
    }
}

/// Why a controller proved by itself that nothing was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStarted {
    /// No agent proved to be the target.
    Unreachable,
    /// The request was not sent.
    Otherwise,
}

/// How a run was left before all of it was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// It was cancelled, and its end not confirmed.
    Ending,
    /// It was only listened to.
    Alone,
    /// Its end is known, but not all of its output.
    Ended,
}

impl Report {
    /// Describes a run that was not started, which this controller knows by itself.
    #[must_use]
    pub fn not_started(
        run: RunId,
        target: NodeName,
        outcome: NotStarted,
        exit_code: u8,
        why: String,
    ) -> Self {
        let outcome = match outcome {
            NotStarted::Unreachable => "unreachable",
            NotStarted::Otherwise => "not_started",
        };
        Self::of_controller(run, target, outcome, exit_code, why)
    }

    /// Describes a target whose turn did not come.
    #[must_use]
    pub fn skipped(run: RunId, target: NodeName, why: String) -> Self {
        Self::of_controller(run, target, "skipped", code::NOT_STARTED, why)
    }

    /// Describes a run whose end this controller did not wait for.
    #[must_use]
    pub fn left(run: RunId, target: NodeName, left: Left) -> Self {
        let why = match left {
            Left::Ending => "left without confirmation; it may still be ending there",
            Left::Alone => "left as it is; it may still be running there",
            Left::Ended => "it has ended there; left before all its output was here",
        };
        Self::of_controller(run, target, "lost", code::INTERRUPTED, why.into())
    }

    fn of_controller(
        run: RunId,
        target: NodeName,
        outcome: &'static str,
        exit_code: u8,
        why: String,
    ) -> Self {
        Self {
            run: run.to_string(),
            target,
            outcome,
            origin: Origin::Controller,
            exit_code: exit_code.into(),
            signal: None,
            why: Some(why),
            left: Vec::new(),
            unconfirmed: Vec::new(),
            left_out_bytes: 0,
            duration_ms: None,
            output: None,
        }
    }
}

/// Returns the exit code of a report, with all its bits, and the signal that ended the process.
#[must_use]
pub fn exit_code(outcome: &Outcome) -> (u32, Option<i32>) {
    let (code, _) = of_outcome(outcome);
    match outcome {
        Outcome::Finished(Exit::Code(remote)) => (remote.cast_unsigned(), None),
        Outcome::Finished(Exit::Signal(signal)) => (code.into(), Some(*signal)),
        Outcome::Refused(_)
        | Outcome::TimedOut(_)
        | Outcome::Cancelled
        | Outcome::NotStarted
        | Outcome::Lost(_) => (code.into(), None),
    }
}

/// Returns the word for an outcome.
#[must_use]
pub const fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Finished(_) => "finished",
        Outcome::Refused(_) => "refused",
        Outcome::TimedOut(_) => "timed_out",
        Outcome::Cancelled => "cancelled",
        Outcome::NotStarted => "not_started",
        Outcome::Lost(_) => "lost",
    }
}

/// Returns why a run has no exit code of its own, in words.
#[must_use]
pub fn why(outcome: &Outcome) -> Option<String> {
    Some(match outcome {
        Outcome::Finished(_) => return None,
        Outcome::Refused(refusal) => refusal.to_string(),
        Outcome::TimedOut(Limit::Wall) => "ended: it took longer than its time limit".into(),
        Outcome::TimedOut(Limit::Idle) => {
            "ended: it was silent for longer than its idle limit".into()
        }
        Outcome::TimedOut(Limit::Output) => "ended: it wrote more than its output limit".into(),
        Outcome::Cancelled => "cancelled".into(),
        Outcome::NotStarted => "cancelled before it was started, which it now never will be".into(),
        Outcome::Lost(known) => {
            let fate = match (known.ended, known.started) {
                (Some(Wire::LinkLost), _) => {
                    "it was started, and the agent ended it because its caller was gone"
                }
                (Some(_), _) => "it was started, and its agent stopped under it",
                (None, true) => "it was started; whether it still runs is not known",
                (None, false) => "the request was sent; whether it was started is not known",
            };
            format!(
                "lost: {fate}; {} bytes of stdout and {} of stderr had arrived",
                known.stdout_bytes, known.stderr_bytes
            )
        }
    })
}

/// Returns how a run ended, in words.
#[must_use]
pub fn ended(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Finished(Exit::Code(code)) => format!("it ended with exit code {code}"),
        Outcome::Finished(Exit::Signal(signal)) => format!("it was ended by signal {signal}"),
        Outcome::Refused(_)
        | Outcome::TimedOut(_)
        | Outcome::Cancelled
        | Outcome::NotStarted
        | Outcome::Lost(_) => why(outcome).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_windows_code_keeps_all_its_bits() {
        let outcome = Outcome::Finished(Exit::Code(0xC000_0005_u32.cast_signed()));
        let report = Report::new(
            RunId::from_bytes([1; 16]),
            "win".parse().unwrap(),
            &outcome,
            None,
        );

        let json = serde_json::to_value(&report).expect("plain data");

        assert_eq!(json["exit_code"], 0xC000_0005_u32);
        assert_eq!(json["origin"], "process");
    }

    #[test]
    fn bytes_that_are_no_text_travel_as_base64() {
        let mut gathered = Gathered::default();
        gathered.stdout.push(b"plain");
        gathered.stderr.push(&[0xff, 0xfe]);

        let json = serde_json::to_value(&gathered).expect("plain data");

        assert_eq!(json["stdout"]["text"], "plain");
        assert_eq!(json["stderr"]["base64"], "//4=");
    }
}
