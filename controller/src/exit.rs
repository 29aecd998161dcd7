//! The one table of exit codes. Decided once, never changed: scripts rely on it.
//!
//! A remote exit code is passed on as it is. Where there is none, the code says why, and the last
//! message on standard error, which begins with `controller: ` and may have an indented next step
//! below it, tells it from a remote code.

use std::process::ExitCode;

use proto::run::{Exit, Outcome, Refusal, StartFailure, Unstarted};

/// Where an exit code comes from, as JSON output carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The remote process.
    Process,
    /// The agent, which did not start or did end the process.
    Agent,
    /// This controller, which does not know more.
    Controller,
}

/// The exit codes that are not a remote process's.
pub mod code {
    /// All is well.
    pub const OK: u8 = 0;
    /// A report says that something is wrong.
    pub const FAILURE: u8 = 1;
    /// Of several targets, some failed: a bit.
    pub const SOME_FAILED: u8 = 2;
    /// No target matched.
    pub const NO_TARGET: u8 = 3;
    /// Of several targets, some were unreachable or lost: a bit.
    pub const SOME_UNREACHABLE: u8 = 4;
    /// Of several targets, some were not begun because too many failed: a bit.
    pub const STOPPED: u8 = 8;
    /// The words of the command make no sense (BSD `EX_USAGE`).
    pub const USAGE: u8 = 64;
    /// A limit of the run was reached (as `timeout(1)`).
    pub const TIMED_OUT: u8 = 124;
    /// The agent could not start the program (as `env(1)`).
    pub const NOT_STARTED: u8 = 125;
    /// The program is not executable.
    pub const NOT_EXECUTABLE: u8 = 126;
    /// There is no such program.
    pub const NOT_FOUND: u8 = 127;
    /// Interrupted here.
    pub const INTERRUPTED: u8 = 130;
    /// What was to be shown could not be written here: nobody reads it, or the disk is full
    /// (128 + `SIGPIPE`).
    pub const OUTPUT_CLOSED: u8 = 141;
    /// Denied by policy or approval.
    pub const DENIED: u8 = 254;
    /// Transport, authentication, unreachable, lost.
    pub const UNREACHABLE: u8 = 255;
}

/// Returns the exit code of a command on one target, and where it comes from.
#[must_use]
pub fn of_outcome(outcome: &Outcome) -> (u8, Origin) {
    match outcome {
        Outcome::Finished(Exit::Code(remote)) => (cut(*remote), Origin::Process),
        Outcome::Finished(Exit::Signal(signal)) => {
            (128_u8.saturating_add(cut(*signal)), Origin::Process)
        }
        Outcome::Refused(refusal) => (of_refusal(refusal), Origin::Agent),
        Outcome::TimedOut(_) => (code::TIMED_OUT, Origin::Agent),
        Outcome::Cancelled | Outcome::NotStarted => (code::INTERRUPTED, Origin::Agent),
        Outcome::Lost(_) => (code::UNREACHABLE, Origin::Controller),
    }
}

/// Returns what this process can pass on of a remote code: all of a Unix code; of a Windows code
/// the low byte, but never 0 for a failure.
fn cut(remote: i32) -> u8 {
    match u8::try_from(remote) {
        Ok(code) => code,
        Err(_) => u8::try_from(remote & 0xff)
            .unwrap_or(code::FAILURE)
            .max(code::FAILURE),
    }
}

fn of_refusal(refusal: &Refusal) -> u8 {
    match refusal {
        Refusal::Start(StartFailure::NotFound { .. })
        | Refusal::NotStartedEarlier(Unstarted::NotFound) => code::NOT_FOUND,
        Refusal::Start(StartFailure::NotExecutable { .. })
        | Refusal::NotStartedEarlier(Unstarted::NotExecutable) => code::NOT_EXECUTABLE,
        Refusal::Start(
            StartFailure::Cwd { .. }
            | StartFailure::Environment { .. }
            | StartFailure::Other { .. },
        )
        | Refusal::Request { .. }
        | Refusal::Ledger { .. }
        | Refusal::Busy { .. }
        | Refusal::NotStartedEarlier(Unstarted::Other)
        | Refusal::UnknownRun
        | Refusal::Stopping => code::NOT_STARTED,
        Refusal::Role
        | Refusal::Audience { .. }
        | Refusal::TooOld { .. }
        | Refusal::FromTheFuture { .. }
        | Refusal::OlderThanMemory
        | Refusal::DifferentRequest
        | Refusal::OtherController
        | Refusal::GivenUp => code::UNREACHABLE,
    }
}

/// What went wrong on several targets.
///
/// A selector that is one plain name keeps the codes of one target. A range, a glob, a group, `--all`
/// or more than one name counts as several, also where only one agent matches: a script must not get
/// other codes because a fleet has shrunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Several {
    /// Some failed: their exit code is not 0, a signal or limit ended them, they were refused,
    /// cancelled, or not begun for an interruption.
    pub failed: bool,
    /// Some were not to be reached, or what became of them is not known.
    pub unreachable: bool,
    /// Some were not begun because too many others failed.
    pub stopped: bool,
}

impl Several {
    /// Returns the exit code: 2, 4 and 8, added up.
    #[must_use]
    pub fn code(self) -> u8 {
        u8::from(self.failed) * code::SOME_FAILED
            + u8::from(self.unreachable) * code::SOME_UNREACHABLE
            + u8::from(self.stopped) * code::STOPPED
    }
}

/// Turns a number of the table into this process's exit code.
#[must_use]
pub fn process_code(code: u8) -> ExitCode {
    code.into()
}

#[cfg(test)]
mod tests {
    use proto::run::{KnownOfLost, Limit};

    use super::*;

    #[test]
    fn remote_codes_pass_unchanged() {
        for remote in [0, 1, 2, 124, 127, 130, 254, 255] {
            let (code, origin) = of_outcome(&Outcome::Finished(Exit::Code(remote)));

            assert_eq!((i32::from(code), origin), (remote, Origin::Process));
        }
    }

    #[test]
    fn a_windows_failure_never_becomes_success() {
        for remote in [256, 0x0100_0000, -1_073_741_819, i32::MIN] {
            assert_ne!(
                of_outcome(&Outcome::Finished(Exit::Code(remote))).0,
                0,
                "{remote}"
            );
        }
    }

    #[test]
    fn ends_without_a_remote_code_follow_the_table() {
        let lost = KnownOfLost {
            sent: true,
            started: false,
            ended: None,
            stdout_bytes: 0,
            stderr_bytes: 0,
        };
        let not_found = StartFailure::NotFound {
            program: proto::text::Text::cut("x"),
        };
        let table = [
            (Outcome::Finished(Exit::Signal(9)), 137),
            (Outcome::TimedOut(Limit::Wall), 124),
            (Outcome::Refused(Refusal::Start(not_found)), 127),
            (Outcome::Refused(Refusal::DifferentRequest), 255),
            (Outcome::Cancelled, 130),
            (Outcome::Lost(lost), 255),
        ];

        for (outcome, expected) in table {
            assert_eq!(of_outcome(&outcome).0, expected, "{outcome:?}");
        }
    }
}
