//! How a run is ended: by whoever carries it out, or over a link of its own where that one cannot.
//!
//! **Invariant:** a daemon that does not answer, or does not want to, keeps no run from being ended.

#[cfg(unix)]
use std::sync::Arc;
use std::time::Duration;

use node::run::CancelError as HereError;
#[cfg(unix)]
use proto::id::{NodeName, RunId};
use proto::run::{Ended, Refusal};
#[cfg(unix)]
use tokio::{sync::watch, time::timeout};

#[cfg(unix)]
use super::Here;
use crate::orchestrator;
#[cfg(unix)]
use crate::{
    daemon::{
        client::{self, AskError},
        protocol::Declined,
    },
    orchestrator::EndRunError,
};

/// How long a daemon may take to have a run ended, besides the grace.
#[cfg(unix)]
const PATIENCE: Duration = Duration::from_secs(5);

/// The means to cancel a run.
#[derive(Debug, Clone)]
pub enum Canceller {
    /// By this process.
    Here(orchestrator::Canceller),
    /// By the daemon, or without it.
    #[cfg(unix)]
    Daemon(Box<ByEither>),
}

/// The ways to cancel a run that a daemon carries out.
#[cfg(unix)]
#[derive(Debug, Clone)]
pub struct ByEither {
    pub(super) there: client::Canceller,
    /// By the run in this process, once that goes on here.
    pub(super) resumed: watch::Receiver<Option<orchestrator::Canceller>>,
    pub(super) here: Arc<Here>,
    pub(super) id: RunId,
    pub(super) target: NodeName,
    pub(super) window: Duration,
}

/// Why a cancellation is not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    /// The agent knows no such run in progress.
    #[error("{0}")]
    Refused(Refusal),
    /// Its word did not come.
    #[error(transparent)]
    Unheard(Box<dyn std::error::Error + Send + Sync>),
}

impl From<HereError> for CancelError {
    fn from(error: HereError) -> Self {
        match error {
            HereError::Refused(refusal) => Self::Refused(refusal),
            HereError::Link(_) | HereError::Violation => Self::Unheard(error.into()),
        }
    }
}

#[cfg(unix)]
impl From<EndRunError> for CancelError {
    fn from(error: EndRunError) -> Self {
        match error {
            EndRunError::Cancel { source, .. } => source.into(),
            EndRunError::Unreachable(_) => Self::Unheard(error.into()),
        }
    }
}

impl Canceller {
    /// Ends the run and all its processes, and waits for the agent's word that they are gone.
    ///
    /// # Errors
    /// The agent did not say so.
    pub async fn cancel(&self, grace: Duration) -> Result<Ended, CancelError> {
        match self {
            Self::Here(one) => Ok(one.cancel(grace).await?),
            #[cfg(unix)]
            Self::Daemon(either) => either.cancel(grace).await,
        }
    }
}

#[cfg(unix)]
impl ByEither {
    async fn cancel(&self, grace: Duration) -> Result<Ended, CancelError> {
        let mut there = Box::pin(self.there.cancel(grace));
        let answer = match timeout(grace + PATIENCE, &mut there).await {
            Ok(answer) => answer,
            // One that let us in and then does not answer may still do it, and so may this process.
            Err(_) => tokio::select! {
                answer = there => answer,
                ended = self.directly(grace) => return ended,
            },
        };
        let is_gone = match answer {
            Ok(ended) => return Ok(ended),
            // Another daemon may serve there by now, which never knew it; the agent knows.
            Err(client::CancelError::Refused(Refusal::UnknownRun)) => false,
            Err(client::CancelError::Refused(refusal)) => {
                return Err(CancelError::Refused(refusal));
            }
            Err(error @ client::CancelError::Failed(_)) => {
                return Err(CancelError::Unheard(error.into()));
            }
            Err(client::CancelError::Daemon(error)) => is_gone(&error),
        };
        let mut resumed = Box::pin(self.resumed(grace));
        let directly = tokio::select! {
            ended = &mut resumed => return ended,
            ended = self.directly(grace) => ended,
        };
        match directly {
            // The run itself looks for the way back, for as long as that has sense.
            Err(CancelError::Unheard(_)) if is_gone => resumed.await,
            answered => answered,
        }
    }

    /// Waits until the run goes on in this process, and cancels that.
    async fn resumed(&self, grace: Duration) -> Result<Ended, CancelError> {
        let mut resumed = self.resumed.clone();
        let one = resumed.wait_for(Option::is_some).await;
        match one.ok().and_then(|one| one.clone()) {
            Some(one) => Ok(one.cancel(grace).await?),
            // Nobody hears the run any more.
            None => std::future::pending().await,
        }
    }

    async fn directly(&self, grace: Duration) -> Result<Ended, CancelError> {
        let here = self.here.get().await;
        let here = here.map_err(|told| CancelError::Unheard(told.into()))?;
        let ended = here.cancel(self.id, &self.target, grace, self.window);
        Ok(ended.await?)
    }
}

/// Tells whether the daemon that carried the run out is no more: what runs there goes on here then.
#[cfg(unix)]
const fn is_gone(error: &AskError) -> bool {
    match error {
        AskError::Gone | AskError::Declined(Declined::Stopping) => true,
        AskError::Connect(_)
        | AskError::Silent { .. }
        | AskError::Declined(
            Declined::User
            | Declined::Version { .. }
            | Declined::Busy(_)
            | Declined::Home(_)
            | Declined::Identity
            | Declined::Mdns
            | Declined::Unreadable(_)
            | Declined::Ended,
        )
        | AskError::Read(_)
        | AskError::Encode(_)
        | AskError::Told(_) => false,
    }
}
