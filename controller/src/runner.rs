//! Where a door starts its runs: in this process, or by the daemon.
//!
//! Owns the choice and nothing else; verbs name these types and not the orchestrator's, so that they
//! work the same whoever carries their wishes out. What a daemon turns out not to do, because it
//! stops at this very moment or declines, is done here instead.

#[cfg(unix)]
mod by_daemon;
mod canceller;
#[cfg(unix)]
mod way_back;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use node::{discovery::Mechanism, link::Pace, run::StdinSender};
use proto::{
    capability::Capabilities,
    frame::Hello,
    id::{NodeName, RunId},
    run::{Ended, KnownOfLost, Outcome, Progress, Refusal, StdinMode},
};
#[cfg(unix)]
use tokio::sync::watch;

#[cfg(unix)]
pub use self::by_daemon::{ByDaemon, Here};
pub use self::canceller::{CancelError, Canceller};
#[cfg(unix)]
use self::{
    canceller::ByEither,
    way_back::{Look, Step, WayBack},
};
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

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let daemon = self.is_daemon();
        f.debug_struct("Runner")
            .field("daemon", &daemon)
            .finish_non_exhaustive()
    }
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
        Self::Daemon(Box::new(ByDaemon::new(client, open)))
    }

    /// Returns an orchestrator of this process, for what no daemon does.
    ///
    /// # Errors
    /// It cannot be had.
    pub async fn here(&self) -> Result<&Orchestrator, Told> {
        match self {
            Self::Here(orchestrator) => Ok(orchestrator),
            #[cfg(unix)]
            Self::Daemon(daemon) => daemon.here.get().await,
        }
    }

    /// Finds the target and asks it to run the command.
    ///
    /// # Errors
    /// Nothing was started, and why.
    pub async fn start(&self, wish: StartRun) -> Result<Running, RunError> {
        self.start_unless(std::future::pending(), wish).await
    }

    /// The same, unless it is `unwanted` before it was asked for.
    ///
    /// # Errors
    /// Nothing was started, and why.
    pub async fn start_unless(
        &self,
        unwanted: impl Future<Output = ()>,
        wish: StartRun,
    ) -> Result<Running, RunError> {
        let mut unwanted = std::pin::pin!(unwanted);
        let told = |told| RunError::Told(Box::new(told));
        // Input that is on its way when a daemon dies could not be told from input that arrived, so
        // what has some goes without it.
        #[cfg(unix)]
        if let (Self::Daemon(daemon), StdinMode::Closed) = (self, &wish.stdin)
            && let Some(client) = daemon.client()
        {
            let mut taken_back = false;
            let unwanted = async {
                unwanted.as_mut().await;
                taken_back = true;
            };
            match client.start(wish.clone(), unwanted).await {
                Ok(running) => return Ok(Running::by_daemon(running, daemon, wish)),
                Err(AskError::Told(why)) => return Err(told(why)),
                Err(_) if taken_back => return Err(told(not_asked(&wish.target))),
                Err(error) => daemon.instead(&error),
            }
        }
        let here = self.here().await.map_err(told)?;
        tokio::select! {
            biased; // nobody is asked for nothing
            () = unwanted => return Err(told(not_asked(&wish.target))),
            linked = here.link_to(&wish.target, wish.window) => {
                linked.map_err(|error| RunError::Unreachable(Box::new(error)))?;
            }
        }
        let running = here.start(wish).await?;
        Ok(Running::Here(Box::new(running)))
    }

    /// Lists the agents that answer within `window`.
    ///
    /// # Errors
    /// Nobody could look.
    pub async fn agents(&self, window: Duration) -> Result<Listing, Told> {
        #[cfg(unix)]
        if let Self::Daemon(daemon) = self
            && let Some(client) = daemon.client()
        {
            match client.agents(window).await {
                Ok(answers) => return Ok(listing(answers)),
                Err(AskError::Told(why)) => return Err(why),
                Err(error) => daemon.instead(&error),
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
        if let Self::Daemon(daemon) = self
            && let Some(client) = daemon.client()
        {
            match client.describe(name, window).await {
                Ok(document) => return Ok(document),
                Err(AskError::Told(why)) => return Err(told(why)),
                Err(error) => daemon.instead(&error),
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

    /// Notes the address of a run's target; [`Self::shutdown`] writes those of many at once.
    pub fn note_target(&self, running: &Running) {
        if let (Some(here), Running::Here(running)) = (self.opened(), running) {
            here.note_target(running);
        }
    }

    /// Tells whether a daemon carries wishes out.
    #[must_use]
    pub const fn is_daemon(&self) -> bool {
        match self {
            Self::Here(_) => false,
            #[cfg(unix)]
            Self::Daemon(_) => true,
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
            Self::Daemon(daemon) => daemon.here.opened(),
        }
    }
}

fn not_asked(target: &NodeName) -> Told {
    Told {
        text: format!("{target}: interrupted before it was asked for anything"),
        next: None,
        code: crate::exit::code::INTERRUPTED,
        unreachable: false,
    }
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
            Self::Daemon(ByDaemonRun { running: $one, .. }) => $call,
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
    Daemon(ByDaemonRun),
}

/// A run that a daemon carries out, and what it takes to go on without that one.
#[cfg(unix)]
#[derive(Debug)]
pub struct ByDaemonRun {
    running: Box<client::Running>,
    here: Arc<Here>,
    wish: Arc<StartRun>,
    /// How the run is looked for without the daemon.
    way_back: Option<WayBack<orchestrator::Running>>,
    /// Tells those who cancel of the run in this process.
    canceller: watch::Sender<Option<orchestrator::Canceller>>,
}

impl Running {
    #[cfg(unix)]
    fn by_daemon(running: client::Running, daemon: &ByDaemon, wish: StartRun) -> Self {
        Self::Daemon(ByDaemonRun {
            running: Box::new(running),
            here: Arc::clone(&daemon.here),
            wish: Arc::new(wish),
            way_back: None,
            canceller: watch::Sender::new(None),
        })
    }

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
    pub fn set_pace(&mut self, pace: Pace) {
        match self {
            Self::Here(running) => running.set_pace(pace),
            #[cfg(unix)]
            Self::Daemon(_) => {}
        }
    }

    /// Takes the way to standard input, if there is one. A daemon passes none on.
    pub fn take_stdin(&mut self) -> Option<StdinSender> {
        match self {
            Self::Here(running) => running.take_stdin(),
            #[cfg(unix)]
            Self::Daemon(_) => None,
        }
    }

    /// Returns what happens next, and `None` after the end.
    ///
    /// Where the daemon is gone, this process goes on with the run, at the bytes that came.
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped.
    pub async fn next(&mut self) -> Option<Progress> {
        loop {
            match self {
                Self::Here(running) => return running.next().await,
                #[cfg(unix)]
                Self::Daemon(run) if run.running.outcome().is_some() => return None,
                #[cfg(unix)]
                Self::Daemon(run) if run.running.is_gone() => match run.look_here().await {
                    Step::Found(running) => {
                        run.canceller.send_replace(Some(running.canceller()));
                        *self = Self::Here(Box::new(running));
                    }
                    Step::StillAway => return Some(Progress::Away),
                    Step::Lost(why) => {
                        run.running.lose(&why);
                        return Some(Progress::Over);
                    }
                },
                #[cfg(unix)]
                Self::Daemon(run) => match run.running.next().await {
                    None if run.running.is_gone() => {}
                    Some(Progress::Away) if run.running.is_gone() => {}
                    progress => return progress,
                },
            }
        }
    }

    /// Takes the agent's word on how the run ended, from the answer to a cancellation. It counts
    /// where the run's own stream breaks before it says so.
    pub fn acknowledged(&mut self, ended: Ended) {
        whoever!(self, one => one.acknowledged(ended));
    }

    /// Takes the agent's refusal of a cancellation: the run ended by itself, or was never started.
    pub fn not_cancelled(&mut self, refusal: &Refusal) {
        whoever!(self, one => one.not_cancelled(refusal));
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

    /// Returns what is known of the run so far.
    #[must_use]
    pub fn known(&self) -> KnownOfLost {
        whoever!(self, one => one.known())
    }

    /// Returns how many bytes of output were no longer kept when they were asked for.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        whoever!(self, one => one.left_out())
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
            Self::Daemon(run) => Canceller::Daemon(Box::new(ByEither {
                there: run.running.canceller(),
                resumed: run.canceller.subscribe(),
                here: Arc::clone(&run.here),
                id: run.running.id(),
                target: run.running.target().clone(),
                window: run.wish.window,
            })),
        }
    }
}

#[cfg(unix)]
impl ByDaemonRun {
    /// Looks for the run, to go on with it in this process.
    async fn look_here(&mut self) -> Step<orchestrator::Running> {
        let on_link_loss = self.wish.on_link_loss;
        let way_back = self
            .way_back
            .get_or_insert_with(|| WayBack::new(on_link_loss));
        let (known, left_out) = (self.running.known(), self.running.left_out());
        let (here, wish) = (&self.here, &self.wish);
        let look = || -> Look<orchestrator::Running> {
            let (here, wish) = (Arc::clone(here), Arc::clone(wish));
            Box::pin(async move {
                let here = here.get().await.map_err(|told| told.text)?;
                let resumed = here.resume(&wish, known, left_out).await;
                resumed.map_err(|error| chain(&error))
            })
        };
        way_back.next(look).await
    }
}
