//! Where a door starts its runs: in this process, or by the daemon.
//!
//! Owns the choice and nothing else; verbs name these types and not the orchestrator's, so that they
//! work the same whoever carries their wishes out. What a daemon turns out not to do, because it
//! stops at this very moment or declines, is done here instead.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use bytes::Bytes;
use node::{
    discovery::Mechanism,
    link::Pace,
    run::{CancelError as HereError, StdinClosed},
};
use proto::{
    capability::Capabilities,
    frame::Hello,
    id::{NodeName, RunId},
    run::{Ended, Outcome, Progress, Refusal},
};
use tokio::sync::OnceCell;

#[cfg(unix)]
use crate::daemon::client::{self, AskError, Client};
use crate::{
    orchestrator::{self, DescribeError, Orchestrator, RunError, StartRun},
    output::{chain, raw_chain},
    told::Told,
};

/// Makes an orchestrator of this process.
pub type Open = Box<dyn Fn() -> Result<Orchestrator, Told> + Send + Sync>;

/// Who carries wishes out.
pub enum Runner {
    /// This process.
    Here(Box<Orchestrator>),
    /// The daemon.
    #[cfg(unix)]
    Daemon(Box<ByDaemon>),
}

/// The daemon, and what helps where it does not.
#[cfg(unix)]
pub struct ByDaemon {
    client: Client,
    here: OnceCell<Orchestrator>,
    open: Open,
}

/// An agent that answered a look-up.
#[derive(Debug)]
pub struct Seen {
    /// Where.
    pub addr: SocketAddr,
    /// Who knew the address.
    pub mechanism: Mechanism,
    /// The round trip.
    pub rtt: Duration,
    /// What it said of itself.
    pub hello: Hello,
}

/// Who answered, and why some mechanism could not look.
pub type Listing = (BTreeMap<NodeName, Seen>, Vec<String>);

impl Runner {
    /// Has `client`'s daemon carry wishes out, and what `open` makes where it does not.
    #[cfg(unix)]
    #[must_use]
    pub fn by_daemon(client: Client, open: Open) -> Self {
        Self::Daemon(Box::new(ByDaemon {
            client,
            here: OnceCell::new(),
            open,
        }))
    }

    /// Returns an orchestrator of this process, for what no daemon does.
    ///
    /// # Errors
    /// It cannot be had.
    pub async fn here(&self) -> Result<&Orchestrator, Told> {
        match self {
            Self::Here(orchestrator) => Ok(orchestrator),
            #[cfg(unix)]
            Self::Daemon(daemon) => daemon.here().await,
        }
    }

    /// Finds the target and asks it to run the command.
    ///
    /// # Errors
    /// Nothing was started, and why.
    pub async fn start(&self, wish: StartRun) -> Result<Running, RunError> {
        let told = |told| RunError::Told(Box::new(told));
        #[cfg(unix)]
        if let Self::Daemon(daemon) = self {
            match daemon.client.start(wish.clone()).await {
                Ok(running) => return Ok(Running::Daemon(Box::new(running))),
                Err(AskError::Told(why)) => return Err(told(why)),
                Err(error) => instead(&error),
            }
        }
        let here = self.here().await.map_err(told)?;
        let running = here.start(wish).await?;
        Ok(Running::Here(Box::new(running)))
    }

    /// Lists the agents that answer within `window`.
    ///
    /// # Errors
    /// Nobody could look.
    pub async fn agents(&self, window: Duration) -> Result<Listing, Told> {
        #[cfg(unix)]
        if let Self::Daemon(daemon) = self {
            match daemon.client.agents(window).await {
                Ok(answers) => return Ok(listing(answers)),
                Err(AskError::Told(why)) => return Err(why),
                Err(error) => instead(&error),
            }
        }
        let (answers, blind) = self.here().await?.agents(window).await;
        let seen = answers.into_iter().map(|(name, answer)| {
            let link = &answer.found.link;
            let seen = Seen {
                addr: link.remote_address(),
                mechanism: answer.found.mechanism,
                rtt: link.rtt(),
                hello: answer.hello,
            };
            (name, seen)
        });
        let blind = blind.iter().map(|error| raw_chain(error)).collect();
        Ok((seen.collect(), blind))
    }

    /// Asks one agent what its host is and has.
    ///
    /// # Errors
    /// It was not found, or did not answer.
    pub async fn describe(
        &self,
        name: &NodeName,
        window: Duration,
    ) -> Result<Capabilities, DescribeError> {
        let told = |told| DescribeError::Told(Box::new(told));
        #[cfg(unix)]
        if let Self::Daemon(daemon) = self {
            match daemon.client.describe(name, window).await {
                Ok(document) => return Ok(document),
                Err(AskError::Told(why)) => return Err(told(why)),
                Err(error) => instead(&error),
            }
        }
        self.here()
            .await
            .map_err(told)?
            .describe(name, window)
            .await
    }

    /// Keeps the address of a run's target, now that it proved itself. A daemon does it itself.
    pub fn remember_target(&self, running: &Running) {
        match running {
            Running::Here(running) => {
                if let Some(here) = self.opened() {
                    here.remember_target(running);
                }
            }
            #[cfg(unix)]
            Running::Daemon(_) => {}
        }
    }

    /// Closes every link of this process, and tells the agents.
    pub async fn shutdown(&self) {
        if let Some(here) = self.opened() {
            here.shutdown().await;
        }
    }

    fn opened(&self) -> Option<&Orchestrator> {
        match self {
            Self::Here(orchestrator) => Some(orchestrator),
            #[cfg(unix)]
            Self::Daemon(daemon) => daemon.here.get(),
        }
    }
}

#[cfg(unix)]
impl ByDaemon {
    async fn here(&self) -> Result<&Orchestrator, Told> {
        let opened = async || (self.open)();
        self.here.get_or_try_init(opened).await
    }
}

#[cfg(unix)]
fn instead(error: &AskError) {
    tracing::info!(why = %chain(error), "the daemon does not do it, so this process does");
}

#[cfg(unix)]
fn listing(answers: crate::daemon::protocol::Answers) -> Listing {
    let seen = answers.agents.into_iter().map(|answer| {
        let mechanism = match answer.by_mdns {
            true => Mechanism::Mdns,
            false => Mechanism::Fixed,
        };
        let seen = Seen {
            addr: answer.addr,
            mechanism,
            rtt: answer.rtt,
            hello: answer.hello,
        };
        (answer.name, seen)
    });
    (seen.collect(), answers.blind)
}

/// Passes a call on to whoever it is.
macro_rules! whoever {
    ($self:ident, $one:ident => $call:expr) => {
        match $self {
            Self::Here($one) => $call,
            #[cfg(unix)]
            Self::Daemon($one) => $call,
        }
    };
}

/// A run that was asked for. Its end is an [`Outcome`], always.
#[derive(Debug)]
pub enum Running {
    /// By this process.
    Here(Box<orchestrator::Running>),
    /// By the daemon.
    #[cfg(unix)]
    Daemon(Box<client::Running>),
}

impl Running {
    /// Returns the id of the run.
    #[must_use]
    pub fn id(&self) -> RunId {
        whoever!(self, one => one.id())
    }

    /// Returns on which agent it runs.
    #[must_use]
    pub fn target(&self) -> &NodeName {
        whoever!(self, one => one.target())
    }

    /// Sets how much the agent may send before it is read. Between a daemon and its client the
    /// socket does that.
    pub fn set_pace(&self, pace: Pace) {
        match self {
            Self::Here(running) => running.set_pace(pace),
            #[cfg(unix)]
            Self::Daemon(_) => {}
        }
    }

    /// Takes the way to standard input, if there is one.
    pub fn take_stdin(&mut self) -> Option<StdinSender> {
        match self {
            Self::Here(running) => running.take_stdin().map(StdinSender::Here),
            #[cfg(unix)]
            Self::Daemon(running) => running.take_stdin().map(StdinSender::Daemon),
        }
    }

    /// Returns what happens next, and `None` after the end.
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped.
    pub async fn next(&mut self) -> Option<Progress> {
        whoever!(self, one => one.next().await)
    }

    /// Takes the agent's word on how the run ended, from the answer to a cancellation. It counts
    /// where the run's own stream breaks before it says so.
    pub fn acknowledged(&mut self, ended: Ended) {
        whoever!(self, one => one.acknowledged(ended));
    }

    /// Returns how the run ended, once it has.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        whoever!(self, one => one.outcome())
    }

    /// Returns the agent's account of the end, if it gave one.
    #[must_use]
    pub fn ended(&self) -> Option<&Ended> {
        whoever!(self, one => one.ended())
    }

    /// Returns what broke the run, if something did.
    #[must_use]
    pub fn broken(&self) -> Option<&(dyn std::error::Error + 'static)> {
        whoever!(self, one => match one.broken() {
            Some(error) => Some(error),
            None => None,
        })
    }

    /// Returns why the target did not let this controller in, if that is how the run ended.
    #[must_use]
    pub fn not_let_in(&self) -> Option<RunError> {
        whoever!(self, one => one.not_let_in())
    }

    /// Returns the means to cancel the run while its output is being read.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        match self {
            Self::Here(running) => Canceller::Here(running.canceller()),
            #[cfg(unix)]
            Self::Daemon(running) => Canceller::Daemon(running.canceller()),
        }
    }
}

/// The way to the standard input of a run's process.
#[derive(Debug)]
pub enum StdinSender {
    /// By this process.
    Here(node::run::StdinSender),
    /// By the daemon.
    #[cfg(unix)]
    Daemon(client::StdinSender),
}

impl StdinSender {
    /// Sends bytes, and waits while the process does not read.
    ///
    /// # Errors
    /// Nobody takes them any more.
    pub async fn send(&mut self, bytes: Bytes) -> Result<(), StdinClosed> {
        whoever!(self, one => one.send(bytes).await)
    }

    /// Says that standard input is complete.
    pub async fn finish(self) {
        whoever!(self, one => one.finish().await);
    }
}

/// The means to cancel a run.
#[derive(Debug, Clone)]
pub enum Canceller {
    /// By this process.
    Here(orchestrator::Canceller),
    /// By the daemon.
    #[cfg(unix)]
    Daemon(client::Canceller),
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

impl Canceller {
    /// Ends the run and all its processes, and waits for the agent's word that they are gone.
    ///
    /// # Errors
    /// The agent did not say so.
    pub async fn cancel(&self, grace: Duration) -> Result<Ended, CancelError> {
        match self {
            Self::Here(one) => one.cancel(grace).await.map_err(|error| match error {
                HereError::Refused(refusal) => CancelError::Refused(refusal),
                HereError::Link(_) | HereError::Violation => CancelError::Unheard(error.into()),
            }),
            #[cfg(unix)]
            Self::Daemon(one) => one.cancel(grace).await.map_err(|error| match error {
                client::CancelError::Refused(refusal) => CancelError::Refused(refusal),
                client::CancelError::Failed(_) | client::CancelError::Daemon(_) => {
                    CancelError::Unheard(error.into())
                }
            }),
        }
    }
}
