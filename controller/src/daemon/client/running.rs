//! A run that a daemon carries out.
//!
//! **Invariant:** a daemon's death is no news of the run: [`Running::next`] ends then without an
//! [`Outcome`], and whoever asked goes on by itself at the bytes that are [known](Running::known).

use std::{sync::Arc, time::Duration};

use proto::{
    id::{NodeName, RunId},
    run::{Ended, KnownOfLost, Outcome, Progress, Refusal},
};

use tokio::time::{Instant, timeout_at};

use super::{AskError, Connection, PATIENCE, Shared, unexpected};
use crate::{
    daemon::protocol::{CancelAnswer, CancelRun, Data, Frame, Over, Reply, Request},
    orchestrator::RunError,
};

/// A run that was asked for.
#[derive(Debug)]
pub struct Running {
    id: RunId,
    target: NodeName,
    connection: Connection,
    shared: Arc<Shared>,
    /// What is known, were the daemon lost now.
    known: KnownOfLost,
    /// Bytes of output that were no longer kept.
    left_out: u64,
    is_gone: bool,
    over: Option<Over>,
    broken: Option<Broken>,
    acknowledged: Option<(Outcome, Ended)>,
    /// When a daemon that says nothing more of a run that is over counts as gone.
    silent_from: Option<Instant>,
}

/// What broke a run, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(String);

impl Running {
    /// Waits until the daemon has asked the agent; tells it when the run is not wanted any more.
    pub(super) async fn begin(
        id: RunId,
        target: NodeName,
        mut connection: Connection,
        shared: Arc<Shared>,
        unwanted: impl Future<Output = ()>,
    ) -> Result<Self, AskError> {
        let answer = tokio::select! {
            answer = connection.answer() => Some(answer),
            () = unwanted => None,
        };
        let answer = match answer {
            Some(answer) => answer,
            None => {
                connection.close();
                connection.answer().await
            }
        };
        let asked = match answer {
            Ok(Reply::Asked) => true,
            // It may have asked the agent before it died. Where it had not even let us in, this
            // process asks itself: the same id starts nothing twice.
            Err(AskError::Gone) if connection.welcome => false,
            Ok(other) => return Err(unexpected(other)),
            Err(error) => return Err(error),
        };
        let mut running = Self {
            id,
            target,
            connection,
            shared,
            known: KnownOfLost {
                sent: true,
                started: false,
                ended: None,
                stdout_bytes: 0,
                stderr_bytes: 0,
            },
            left_out: 0,
            is_gone: false,
            over: None,
            broken: None,
            acknowledged: None,
            silent_from: None,
        };
        if !asked {
            running.gone("the daemon is gone");
        }
        Ok(running)
    }

    /// Returns the id of the run.
    #[must_use]
    pub const fn id(&self) -> RunId {
        self.id
    }

    /// Returns on which agent it runs.
    #[must_use]
    pub const fn target(&self) -> &NodeName {
        &self.target
    }

    /// Returns what happens next, and `None` after the end.
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped.
    pub async fn next(&mut self) -> Option<Progress> {
        if self.over.is_some() || self.is_gone {
            return None;
        }
        let frame = match self.silent_from {
            Some(silent) => timeout_at(silent, self.connection.reader.next()).await,
            None => Ok(self.connection.reader.next().await),
        };
        let why = match frame {
            Ok(Ok(Some(frame))) => match self.take(frame) {
                Ok(progress) => return Some(progress),
                Err(why) => why,
            },
            Ok(Ok(None)) => "the daemon is gone".into(),
            Ok(Err(error)) => crate::output::chain(&error),
            Err(_) => "the daemon says nothing of a run that is over".into(),
        };
        self.gone(&why);
        Some(Progress::Away)
    }

    fn take(&mut self, frame: Frame<Reply>) -> Result<Progress, String> {
        self.silent_from = self.silent_from.map(|_| Instant::now() + PATIENCE);
        match frame {
            Frame::Message(Reply::Started(started)) => {
                self.known.started = true;
                Ok(Progress::Started(started))
            }
            Frame::Message(Reply::Earlier(earlier)) => {
                self.known.started = true;
                Ok(Progress::Earlier(earlier))
            }
            Frame::Message(Reply::Attached(attached, left_out)) => {
                self.known.started = true;
                self.known.stdout_bytes = attached.stdout_from;
                self.known.stderr_bytes = attached.stderr_from;
                self.left_out = self.left_out.saturating_add(left_out);
                Ok(Progress::Attached { attached, left_out })
            }
            Frame::Message(Reply::Away) => Ok(Progress::Away),
            Frame::Data(Data::Stdout, bytes) => {
                self.known.stdout_bytes += bytes.len() as u64;
                Ok(Progress::Stdout(bytes))
            }
            Frame::Data(Data::Stderr, bytes) => {
                self.known.stderr_bytes += bytes.len() as u64;
                Ok(Progress::Stderr(bytes))
            }
            Frame::Message(Reply::Over(over)) => {
                self.broken = over.broken.clone().map(Broken);
                self.over = Some(*over);
                Ok(Progress::Over)
            }
            Frame::Message(Reply::Stopping) => Err("the daemon was stopped".into()),
            Frame::Message(
                Reply::Welcome
                | Reply::Declined(_)
                | Reply::Asked
                | Reply::Failed(_)
                | Reply::Cancelled(_)
                | Reply::Answers(_)
                | Reply::Capabilities(_)
                | Reply::Status(_)
                | Reply::Done,
            ) => Err("the daemon makes no sense".into()),
        }
    }

    /// Gives the run up: it is lost to this process, with what is known of it.
    pub fn lose(&mut self, why: &str) {
        self.broken = Some(Broken(why.to_owned()));
        self.over = Some(Over {
            outcome: Outcome::Lost(self.known),
            ended: None,
            broken: None,
            not_let_in: None,
        });
    }

    fn gone(&mut self, why: &str) {
        tracing::info!(why, "the run goes on without the daemon");
        self.is_gone = true;
    }

    /// Tells whether the daemon is gone and the run goes on without it, as far as is known.
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Returns what is known of the run so far.
    #[must_use]
    pub const fn known(&self) -> KnownOfLost {
        self.known
    }

    /// Returns how many bytes of output were no longer kept when they were asked for.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Takes the agent's refusal of a cancellation: the run ended by itself, or was never started.
    pub fn not_cancelled(&mut self, refusal: &Refusal) {
        if *refusal == Refusal::GivenUp && !self.known.started && self.over.is_none() {
            self.over = Some(Over {
                outcome: Outcome::NotStarted,
                ended: None,
                broken: None,
                not_let_in: None,
            });
        }
    }

    /// Takes the agent's word on how the run ended, from the answer to a cancellation.
    pub fn acknowledged(&mut self, ended: Ended) {
        self.silent_from = Some(Instant::now() + PATIENCE);
        self.acknowledged = ended.result.outcome().map(|outcome| (outcome, ended));
    }

    /// Returns how the run ended, once it has.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        match (&self.over.as_ref()?.outcome, &self.acknowledged) {
            (Outcome::Lost(_), Some((outcome, _))) => Some(outcome),
            (outcome, _) => Some(outcome),
        }
    }

    /// Returns the agent's account of the end, if it gave one.
    #[must_use]
    pub fn ended(&self) -> Option<&Ended> {
        let acknowledged = self.acknowledged.as_ref().map(|(_, ended)| ended);
        let ended = self.over.as_ref().and_then(|over| over.ended.as_ref());
        ended.or(acknowledged)
    }

    /// Returns what broke the run, if something did.
    #[must_use]
    pub const fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }

    /// Returns why the target did not let the daemon in, if that is how the run ended.
    #[must_use]
    pub fn not_let_in(&self) -> Option<RunError> {
        let told = self.over.as_ref()?.not_let_in.clone()?;
        Some(RunError::Told(Box::new(told)))
    }

    /// Returns the means to cancel the run while its output is being read.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller {
            id: self.id,
            target: self.target.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

/// The means to cancel a run: over a connection of its own, so that it waits behind nothing.
#[derive(Debug, Clone)]
pub struct Canceller {
    id: RunId,
    target: NodeName,
    shared: Arc<Shared>,
}

/// Why a cancellation is not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    /// The agent knows no such run in progress.
    #[error("{0}")]
    Refused(Refusal),
    /// The agent did not say so to the daemon.
    #[error("{0}")]
    Failed(String),
    /// The daemon did not say so.
    #[error("the daemon does not say")]
    Daemon(#[source] AskError),
}

impl Canceller {
    /// Ends the run and all its processes, and waits for the agent's word that they are gone.
    ///
    /// # Errors
    /// The agent did not say so.
    pub async fn cancel(&self, grace: Duration) -> Result<Ended, CancelError> {
        match self.ask(grace).await.map_err(CancelError::Daemon)? {
            CancelAnswer::Ended(ended) => Ok(ended),
            CancelAnswer::Refused(refusal) => Err(CancelError::Refused(refusal)),
            CancelAnswer::Failed(why) => Err(CancelError::Failed(why)),
        }
    }

    async fn ask(&self, grace: Duration) -> Result<CancelAnswer, AskError> {
        let mut connection = self.shared.connect().await?;
        let cancel = CancelRun {
            run: self.id,
            target: self.target.clone(),
            grace,
        };
        connection.say(&Request::Cancel(cancel)).await?;
        let answer = connection.answer().await?;
        let Reply::Cancelled(answer) = answer else {
            return Err(unexpected(answer));
        };
        Ok(answer)
    }
}
