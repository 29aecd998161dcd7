//! The caller's half of a run: what the agent may say, and when.

use super::{Ended, KnownOfLost, Outcome, Refusal, Started};
use crate::frame::{Frame, FrameKind};

/// The state of a run as its caller sees it.
///
/// ```text
/// Sent ─Started─► Running ─Ended─► Over
///   ├──Earlier─► Running (somebody else's start)
///   └──Refused─► Over
/// ```
///
/// **Invariant:** an [`Outcome::Finished`] is reported only if every byte of output that the agent
/// counted has arrived, or if it is an earlier run's, of which no output was repeated. Guarded by
/// `truncated_output_is_never_reported_as_finished`.
#[derive(Debug)]
pub struct CallerRun {
    state: State,
    known: KnownOfLost,
}

#[derive(Debug)]
enum State {
    Sent,
    Running {
        replayed: bool,
    },
    Over {
        outcome: Outcome,
        ended: Option<Ended>,
    },
}

/// Whether the output of the run has to come over this stream.
enum Output {
    /// Every byte.
    Due,
    /// Every byte or none.
    MayBeLeftOut,
}

/// What a frame from the agent means to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A process was started.
    Started(Started),
    /// The id was accepted before; its first result follows.
    Earlier(super::Earlier),
    /// Bytes of standard output.
    Stdout(bytes::Bytes),
    /// Bytes of standard error.
    Stderr(bytes::Bytes),
    /// The run is over; see [`CallerRun::outcome`].
    Over,
}

/// A frame that an honest agent would not have sent at this point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallerViolation {
    /// Legal in another state only.
    #[error("the agent sent {got:?} out of turn")]
    OutOfTurn {
        /// What it sent.
        got: FrameKind,
    },
    /// The agent counted other output than arrived.
    #[error("the agent reports {reported} bytes of output where {received} arrived")]
    Truncated {
        /// By its word.
        reported: u64,
        /// By ours.
        received: u64,
    },
}

impl CallerRun {
    /// Begins with the request on its way.
    #[must_use]
    pub const fn sent() -> Self {
        Self {
            state: State::Sent,
            known: KnownOfLost {
                sent: true,
                started: false,
                ended: None,
                stdout_bytes: 0,
                stderr_bytes: 0,
            },
        }
    }

    /// Takes the agent's next frame.
    ///
    /// # Errors
    /// The frame is illegal here; the run is [`Outcome::Lost`] from then on.
    pub fn handle_frame(&mut self, frame: Frame) -> Result<Progress, CallerViolation> {
        let got = frame.kind();
        match (&self.state, frame) {
            (State::Sent, Frame::Started(started)) => {
                self.known.started = true;
                self.state = State::Running { replayed: false };
                Ok(Progress::Started(started))
            }
            (State::Sent, Frame::Earlier(earlier)) => {
                self.known.started = true;
                self.state = State::Running { replayed: true };
                Ok(Progress::Earlier(earlier))
            }
            (State::Sent, Frame::Refused(refusal)) => Ok(self.refused(refusal)),
            (State::Running { .. }, Frame::Stdout(bytes)) => {
                self.known.stdout_bytes += bytes.len() as u64;
                Ok(Progress::Stdout(bytes))
            }
            (State::Running { .. }, Frame::Stderr(bytes)) => {
                self.known.stderr_bytes += bytes.len() as u64;
                Ok(Progress::Stderr(bytes))
            }
            (State::Running { replayed }, Frame::Ended(ended)) => {
                let output = if *replayed {
                    Output::MayBeLeftOut
                } else {
                    Output::Due
                };
                self.over(ended, output)
            }
            (State::Sent | State::Running { .. } | State::Over { .. }, _) => {
                self.lose();
                Err(CallerViolation::OutOfTurn { got })
            }
        }
    }

    /// Takes the news that nothing more can come from the agent.
    pub fn handle_lost(&mut self) {
        match self.state {
            State::Sent | State::Running { .. } => self.lose(),
            State::Over { .. } => {}
        }
    }

    /// Returns how the run ended, once it has.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.state {
            State::Over { outcome, .. } => Some(outcome),
            State::Sent | State::Running { .. } => None,
        }
    }

    /// Returns the agent's own account of the end, if it gave one.
    #[must_use]
    pub fn ended(&self) -> Option<&Ended> {
        match &self.state {
            State::Over { ended, .. } => ended.as_ref(),
            State::Sent | State::Running { .. } => None,
        }
    }

    /// Returns what is known so far, were the run lost now.
    #[must_use]
    pub const fn known(&self) -> KnownOfLost {
        self.known
    }

    fn refused(&mut self, refusal: Refusal) -> Progress {
        self.state = State::Over {
            outcome: Outcome::Refused(refusal),
            ended: None,
        };
        Progress::Over
    }

    fn over(&mut self, ended: Ended, output: Output) -> Result<Progress, CallerViolation> {
        let reported = ended.stdout_bytes.saturating_add(ended.stderr_bytes);
        let received = self.known.stdout_bytes + self.known.stderr_bytes;
        let complete = ended.stdout_bytes == self.known.stdout_bytes
            && ended.stderr_bytes == self.known.stderr_bytes;
        let excused = matches!(output, Output::MayBeLeftOut) && received == 0;
        if !complete && !excused {
            self.lose();
            return Err(CallerViolation::Truncated { reported, received });
        }
        let outcome = ended.result.outcome().unwrap_or_else(|| {
            self.known.ended = Some(ended.result);
            Outcome::Lost(self.known)
        });
        self.state = State::Over {
            outcome,
            ended: Some(ended),
        };
        Ok(Progress::Over)
    }

    fn lose(&mut self) {
        self.state = State::Over {
            outcome: Outcome::Lost(self.known),
            ended: None,
        };
    }
}
