//! A run that a daemon carries out.
//!
//! **Invariant:** [`Running::next`] ends with an [`Outcome`], whatever becomes of the daemon; a
//! daemon's death is no news of the run.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use node::run::StdinClosed;
use proto::{
    id::{NodeName, RunId},
    run::{Ended, KnownOfLost, Outcome, Progress, Refusal},
};
use tokio::net::UnixStream;

use super::{AskError, Connection, Shared, unexpected};
use crate::{
    daemon::{
        protocol::{
            CHUNK, CancelAnswer, CancelRun, Data, Frame, Over, Reply, Request, encode, encode_data,
        },
        stream::write_all,
    },
    orchestrator::RunError,
};

/// A run that was asked for.
#[derive(Debug)]
pub struct Running {
    id: RunId,
    target: NodeName,
    connection: Connection,
    shared: Arc<Shared>,
    stdin_taken: bool,
    /// What is known, were the daemon lost now.
    known: KnownOfLost,
    over: Option<Over>,
    broken: Option<Broken>,
    acknowledged: Option<(Outcome, Ended)>,
}

/// What broke a run, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(String);

impl Running {
    /// Waits until the daemon has asked the agent.
    pub(super) async fn begin(
        id: RunId,
        target: NodeName,
        mut connection: Connection,
        shared: Arc<Shared>,
    ) -> Result<Self, AskError> {
        let asked = match connection.answer().await {
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
            stdin_taken: false,
            known: KnownOfLost {
                sent: true,
                started: false,
                ended: None,
                stdout_bytes: 0,
                stderr_bytes: 0,
            },
            over: None,
            broken: None,
            acknowledged: None,
        };
        if !asked {
            running.lose("the daemon is gone");
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

    /// Takes the way to standard input.
    pub fn take_stdin(&mut self) -> Option<StdinSender> {
        let is_first = !std::mem::replace(&mut self.stdin_taken, true);
        is_first.then(|| StdinSender {
            stream: Arc::clone(&self.connection.stream),
        })
    }

    /// Returns what happens next, and `None` after the end.
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped.
    pub async fn next(&mut self) -> Option<Progress> {
        if self.over.is_some() {
            return None;
        }
        let why = match self.connection.reader.next().await {
            Ok(Some(frame)) => match self.take(frame) {
                Ok(progress) => return Some(progress),
                Err(why) => why,
            },
            Ok(None) => "the daemon is gone".into(),
            Err(error) => crate::output::chain(&error),
        };
        self.resume_here(why).await
    }

    fn take(&mut self, frame: Frame<Reply>) -> Result<Progress, String> {
        match frame {
            Frame::Message(Reply::Started(started)) => {
                self.known.started = true;
                Ok(Progress::Started(started))
            }
            Frame::Message(Reply::Earlier(earlier)) => {
                self.known.started = true;
                Ok(Progress::Earlier(earlier))
            }
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
            )
            | Frame::Data(Data::Stdin, _) => Err("the daemon makes no sense".into()),
        }
    }

    /// Goes on without the daemon: here an orchestrator of this process would attach to the run by
    /// its id, at the bytes that [`KnownOfLost`] counts. Until then the run is lost to this process,
    /// and goes on at its agent.
    async fn resume_here(&mut self, why: String) -> Option<Progress> {
        self.lose(&why);
        std::future::ready(Some(Progress::Over)).await
    }

    fn lose(&mut self, why: &str) {
        self.broken = Some(Broken(why.to_owned()));
        self.over = Some(Over {
            outcome: Outcome::Lost(self.known),
            ended: None,
            broken: None,
            not_let_in: None,
        });
    }

    /// Takes the agent's word on how the run ended, from the answer to a cancellation.
    pub fn acknowledged(&mut self, ended: Ended) {
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

/// The way to the standard input of a run's process.
#[derive(Debug)]
pub struct StdinSender {
    stream: Arc<UnixStream>,
}

impl StdinSender {
    /// Sends bytes, and waits while the process does not read.
    ///
    /// # Errors
    /// Nobody takes them any more.
    pub async fn send(&mut self, bytes: Bytes) -> Result<(), StdinClosed> {
        for piece in bytes.chunks(CHUNK) {
            let mut out = BytesMut::new();
            encode_data(Data::Stdin, piece, &mut out);
            let sent = write_all(&self.stream, &mut out).await;
            sent.map_err(|_| StdinClosed)?;
        }
        Ok(())
    }

    /// Says that standard input is complete.
    pub async fn finish(self) {
        let mut out = BytesMut::new();
        if encode(&Request::StdinEnd, &mut out).is_ok() {
            // If nobody listens, nobody needs to know.
            drop(write_all(&self.stream, &mut out).await);
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
