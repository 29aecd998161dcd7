//! The caller's half of a run: what the agent may say, and when.

use super::{Attached, Ended, KnownOfLost, OnLinkLoss, Outcome, Refusal, Started};
use crate::frame::{Frame, FrameKind};

/// The state of a run as its caller sees it, over all the streams on which it hears of it.
///
/// ```text
/// Sent ─Started──────────────► Running ─Ended─► Over
///   ├──Earlier─► Asked ─Attached─►┘  │
///   └──Refused─► Over     ▲          │ the link is lost
///                         └── Away ◄─┘
/// ```
///
/// A run that is kept is `Away` when its link is lost: [`again`](Self::again) tells what to ask on the
/// next one. Whatever may have become of the first request, that can be asked at any time, since an
/// id starts at most one process. A request that is `SentAgain` is answered like the first, but its
/// refusal is an outcome only if it [tells of the first](Refusal::tells_of_the_id), too.
///
/// **Invariant:** an [`Outcome::Finished`] is reported only if every byte of output that the agent
/// counted has arrived, on whatever streams, or is counted by [`left_out`](Self::left_out). Guarded
/// by `truncated_output_is_never_reported_as_finished`.
#[derive(Debug, Clone)]
pub struct CallerRun {
    state: State,
    known: KnownOfLost,
    left_out: u64,
    on_link_loss: OnLinkLoss,
    begun: Begun,
}

/// How this caller came to the run.
#[derive(Debug, Clone, Copy)]
enum Begun {
    WithTheRequest,
    /// It could not repeat the request, which somebody else sent.
    Attaching,
}

#[derive(Debug, Clone)]
enum State {
    /// The request is under way.
    Sent,
    /// The request is under way once more, and nobody knows what became of the first.
    SentAgain,
    /// The run was started before; where its output begins on this stream is not yet said.
    Asked,
    Running,
    Away,
    Over {
        outcome: Outcome,
        ended: Option<Ended>,
    },
}

/// What a frame from the agent means to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A process was started.
    Started(Started),
    /// The id was accepted before; what is kept of the first run follows.
    Earlier(super::Earlier),
    /// The run goes on here.
    Attached {
        /// Where the agent goes on.
        attached: Attached,
        /// Bytes of output between what the caller has and that, which are no longer kept.
        left_out: u64,
    },
    /// Bytes of standard output.
    Stdout(bytes::Bytes),
    /// Bytes of standard error.
    Stderr(bytes::Bytes),
    /// The link was lost, and the run is kept: it can be attached to again.
    Away,
    /// The run is over; see [`CallerRun::outcome`].
    Over,
}

/// What a caller asks on a new stream to go on with its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// The same request: nobody said yet that it was accepted.
    Request,
    /// To attach, having so much of both streams.
    Attach {
        /// Bytes of standard output.
        stdout_from: u64,
        /// Bytes of standard error.
        stderr_from: u64,
    },
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
    /// The agent would repeat output.
    #[error("the agent goes back to byte {from} of the output, of which {received} arrived")]
    Repeats {
        /// Where it would begin, over both streams.
        from: u64,
        /// What arrived, over both streams.
        received: u64,
    },
}

impl CallerRun {
    /// Begins with the request on its way.
    #[must_use]
    pub const fn sent(on_link_loss: OnLinkLoss) -> Self {
        Self::begun(State::Sent, Begun::WithTheRequest, on_link_loss)
    }

    /// Begins with a run that somebody asked for before, of which this caller has nothing.
    ///
    /// An [`Outcome::Refused`] is then the refusal to attach, and no proof that nothing was started.
    #[must_use]
    pub const fn attaching(on_link_loss: OnLinkLoss) -> Self {
        Self::begun(State::Asked, Begun::Attaching, on_link_loss)
    }

    /// Begins with a run of which this caller knows as much as another did, who lost it.
    #[must_use]
    pub const fn away(known: KnownOfLost, left_out: u64, on_link_loss: OnLinkLoss) -> Self {
        Self {
            state: State::Away,
            known,
            left_out,
            on_link_loss,
            begun: Begun::WithTheRequest,
        }
    }

    const fn begun(state: State, begun: Begun, on_link_loss: OnLinkLoss) -> Self {
        Self {
            state,
            known: KnownOfLost {
                sent: true,
                started: false,
                ended: None,
                stdout_bytes: 0,
                stderr_bytes: 0,
            },
            left_out: 0,
            on_link_loss,
            begun,
        }
    }

    /// Takes the agent's next frame.
    ///
    /// # Errors
    /// The frame is illegal here; the run is [`Outcome::Lost`] from then on.
    pub fn handle_frame(&mut self, frame: Frame) -> Result<Progress, CallerViolation> {
        let got = frame.kind();
        match (&self.state, frame) {
            (State::Sent | State::SentAgain, Frame::Started(started)) => {
                self.known.started = true;
                self.state = State::Running;
                Ok(Progress::Started(started))
            }
            (State::Sent | State::SentAgain, Frame::Earlier(earlier)) => {
                self.known.started = true;
                self.state = State::Asked;
                Ok(Progress::Earlier(earlier))
            }
            (State::Sent, Frame::Refused(refusal)) => Ok(self.refused(refusal)),
            (State::SentAgain, Frame::Refused(refusal)) if refusal.tells_of_the_id() => {
                Ok(self.refused(refusal))
            }
            (State::Asked, Frame::Refused(refusal)) if !self.known.started => {
                Ok(self.refused(refusal))
            }
            // The first request may have been accepted; or it was, and the agent has forgotten it.
            (State::SentAgain | State::Asked, Frame::Refused(_)) => {
                self.lose();
                Ok(Progress::Over)
            }
            (State::Asked | State::Running, Frame::Attached(attached)) => self.attached(attached),
            (State::Running, Frame::Stdout(bytes)) => {
                count(&mut self.known.stdout_bytes, &bytes);
                Ok(Progress::Stdout(bytes))
            }
            (State::Running, Frame::Stderr(bytes)) => {
                count(&mut self.known.stderr_bytes, &bytes);
                Ok(Progress::Stderr(bytes))
            }
            (State::Running, Frame::Ended(ended)) => self.over(ended),
            (
                State::Sent
                | State::SentAgain
                | State::Asked
                | State::Running
                | State::Away
                | State::Over { .. },
                _,
            ) => {
                self.lose();
                Err(CallerViolation::OutOfTurn { got })
            }
        }
    }

    /// Takes the news that nothing more can come on this stream.
    pub fn handle_lost(&mut self) -> Progress {
        match (&self.state, self.on_link_loss) {
            (State::Over { .. }, _) => Progress::Over,
            (_, OnLinkLoss::Keep { .. } | OnLinkLoss::Detach) => {
                self.state = State::Away;
                Progress::Away
            }
            (_, OnLinkLoss::End) => {
                self.lose();
                Progress::Over
            }
        }
    }

    /// Takes the agent's promise that this id never was and never will be accepted.
    pub fn handle_not_started(&mut self) {
        if !self.known.started && self.outcome().is_none() {
            self.state = State::Over {
                outcome: Outcome::NotStarted,
                ended: None,
            };
        }
    }

    /// Stops hoping: a run without an outcome is lost, with what is known of it.
    pub fn give_up(&mut self) {
        match self.state {
            State::Sent | State::SentAgain | State::Asked | State::Running | State::Away => {
                self.lose();
            }
            State::Over { .. } => {}
        }
    }

    /// Tells whether the run waits for another stream.
    #[must_use]
    pub const fn is_away(&self) -> bool {
        matches!(self.state, State::Away)
    }

    /// Returns what to ask on another stream, and expects its answer from then on. A run that is over
    /// stays so.
    pub fn again(&mut self) -> Again {
        let (next, again) = match self.begun {
            Begun::WithTheRequest if !self.known.started => (State::SentAgain, Again::Request),
            Begun::WithTheRequest | Begun::Attaching => {
                let again = Again::Attach {
                    stdout_from: self.known.stdout_bytes,
                    stderr_from: self.known.stderr_bytes,
                };
                (State::Asked, again)
            }
        };
        match self.state {
            State::Sent | State::SentAgain | State::Asked | State::Running | State::Away => {
                self.state = next;
            }
            State::Over { .. } => {}
        }
        again
    }

    /// Returns how the run ended, once it has.
    #[must_use]
    pub const fn outcome(&self) -> Option<&Outcome> {
        match &self.state {
            State::Over { outcome, .. } => Some(outcome),
            State::Sent | State::SentAgain | State::Asked | State::Running | State::Away => None,
        }
    }

    /// Returns the agent's own account of the end, if it gave one.
    #[must_use]
    pub const fn ended(&self) -> Option<&Ended> {
        match &self.state {
            State::Over { ended, .. } => ended.as_ref(),
            State::Sent | State::SentAgain | State::Asked | State::Running | State::Away => None,
        }
    }

    /// Returns what is known so far, were the run lost now. Bytes that were left out count as received.
    #[must_use]
    pub const fn known(&self) -> KnownOfLost {
        self.known
    }

    /// Returns how many bytes of output this caller did not get, because they were no longer kept.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    fn attached(&mut self, attached: Attached) -> Result<Progress, CallerViolation> {
        let have = self.known;
        if attached.stdout_from < have.stdout_bytes || attached.stderr_from < have.stderr_bytes {
            self.lose();
            return Err(CallerViolation::Repeats {
                from: attached.stdout_from.saturating_add(attached.stderr_from),
                received: have.stdout_bytes.saturating_add(have.stderr_bytes),
            });
        }
        let left_out = (attached.stdout_from - have.stdout_bytes)
            .saturating_add(attached.stderr_from - have.stderr_bytes);
        self.left_out = self.left_out.saturating_add(left_out);
        self.known.started = true;
        self.known.stdout_bytes = attached.stdout_from;
        self.known.stderr_bytes = attached.stderr_from;
        self.state = State::Running;
        Ok(Progress::Attached { attached, left_out })
    }

    fn refused(&mut self, refusal: Refusal) -> Progress {
        self.state = State::Over {
            outcome: Outcome::Refused(refusal),
            ended: None,
        };
        Progress::Over
    }

    fn over(&mut self, ended: Ended) -> Result<Progress, CallerViolation> {
        let outcome = match ended.result.outcome() {
            Some(outcome) => {
                self.check_complete(&ended)?;
                outcome
            }
            // An agent that died counts less than it sent.
            None => {
                self.known.ended = Some(ended.result);
                Outcome::Lost(self.known)
            }
        };
        self.state = State::Over {
            outcome,
            ended: Some(ended),
        };
        Ok(Progress::Over)
    }

    fn check_complete(&mut self, ended: &Ended) -> Result<(), CallerViolation> {
        let known = self.known;
        if ended.stdout_bytes == known.stdout_bytes && ended.stderr_bytes == known.stderr_bytes {
            return Ok(());
        }
        self.lose();
        Err(CallerViolation::Truncated {
            reported: ended.stdout_bytes.saturating_add(ended.stderr_bytes),
            received: known.stdout_bytes.saturating_add(known.stderr_bytes),
        })
    }

    fn lose(&mut self) {
        self.state = State::Over {
            outcome: Outcome::Lost(self.known),
            ended: None,
        };
    }
}

/// Adds the length of `bytes`. A peer may have claimed any count before.
fn count(counted: &mut u64, bytes: &[u8]) {
    *counted = counted.saturating_add(bytes.len() as u64);
}
