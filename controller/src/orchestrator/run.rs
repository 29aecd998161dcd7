//! One command on one target, whole.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use node::{
    link::{DialError, Link, Pace},
    links::{Found, Unreachable},
    run::{BrokenRun, CancelError, Run, StartRunError, StdinSender, cancel},
};
use proto::{
    id::{NodeName, RunId},
    run::{
        Argv, Audience, Ended, Environment, KnownOfLost, Limits, OnLinkLoss, Outcome, Progress,
        Refusal, RequestError, RunRequest, StdinMode, What, Word,
    },
    shell::Shell,
    text::Text,
};
use serde::{Deserialize, Serialize};

use super::Orchestrator;
use crate::told::Told;

/// How often a cancellation is repeated that seems to have overtaken its run.
const OVERTAKEN_TRIES: u32 = 50;

/// The pause before each time.
const OVERTAKEN_PAUSE: Duration = Duration::from_millis(100);

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A program and its arguments, without a shell.
    Argv(Argv),
    /// A script for a shell.
    Script(Script),
}

/// A script, and for which shell it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// The shell; the target's default one if absent.
    pub shell: Option<Shell>,
    /// The text.
    pub text: String,
}

/// A wish to run one command on one target.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StartRun {
    /// Names the run; the same id never starts anything twice.
    pub id: RunId,
    /// On which agent.
    pub target: NodeName,
    /// What.
    pub command: Command,
    /// In which folder; the agent's own choice if absent.
    pub cwd: Option<Word>,
    /// Variables to add.
    pub environment: Environment,
    /// Whether standard input follows.
    pub stdin: StdinMode,
    /// When the agent ends the run on its own.
    pub limits: Limits,
    /// What becomes of the run when its link is lost.
    pub on_link_loss: OnLinkLoss,
    /// Who asks, for the record.
    pub principal: String,
    /// How long the target is looked for.
    pub window: Duration,
}

/// Why nothing was started. In every case that is proven.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No agent proved to be the target.
    #[error(transparent)]
    Unreachable(Box<Unreachable>),
    /// The request makes no sense to any agent.
    #[error(transparent)]
    Request(RequestError),
    /// The link broke before the target said which platform it is.
    #[error("{target} did not say what it is")]
    Hello {
        /// Which target.
        target: NodeName,
        /// Why not.
        #[source]
        source: DialError,
    },
    /// The request was not sent.
    #[error("{target}: nothing was started")]
    Start {
        /// Which target.
        target: NodeName,
        /// Why not.
        #[source]
        source: StartRunError,
    },
    /// The target does not accept this controller, which it said when the request was under way.
    #[error("{target} does not let this controller in, so nothing was started")]
    NotLetIn {
        /// Which target.
        target: NodeName,
        /// Its reason.
        #[source]
        source: DialError,
    },
    /// The daemon says so.
    #[error(transparent)]
    Told(Box<Told>),
}

/// A run that was asked for. Its end is an [`Outcome`], always.
#[derive(Debug)]
pub struct Running {
    id: RunId,
    found: Found,
    run: Run,
    acknowledged: Option<(Outcome, Ended)>,
}

impl Orchestrator {
    /// Finds the target and asks it to run the command.
    ///
    /// # Errors
    /// Nothing was started, and why.
    pub async fn start(&self, wish: StartRun) -> Result<Running, RunError> {
        let found = self.links.to(&wish.target, wish.window).await;
        let found = found.map_err(|error| RunError::Unreachable(Box::new(error)))?;
        let id = wish.id;
        let target = wish.target.clone();
        let request = self.request(wish, &found).await?;
        request.check().map_err(RunError::Request)?;
        let run = Run::start(&found.link, &request)
            .await
            .map_err(|source| RunError::Start { target, source })?;
        Ok(Running {
            id,
            found,
            run,
            acknowledged: None,
        })
    }

    /// Keeps the address of a run's target, now that it proved itself.
    pub fn remember_target(&self, running: &Running) {
        self.remember(&running.found);
    }

    async fn request(&self, wish: StartRun, found: &Found) -> Result<RunRequest, RunError> {
        let what = match wish.command {
            Command::Argv(argv) => What::Argv(argv),
            Command::Script(Script {
                shell: Some(shell),
                text,
            }) => What::Script { shell, text },
            Command::Script(Script { shell: None, text }) => {
                let hello = found.link.hello().await.map_err(|source| RunError::Hello {
                    target: wish.target.clone(),
                    source,
                })?;
                What::Script {
                    shell: profiles::default_shell(hello.os),
                    text,
                }
            }
        };
        Ok(RunRequest {
            id: wish.id,
            audience: Audience {
                mesh: self.identity.fingerprint(),
                agent: wish.target,
            },
            issued_at_ms: now_ms(),
            valid_for_ms: RunRequest::DEFAULT_VALID_FOR_MS,
            principal: Text::cut(&wish.principal),
            what,
            cwd: wish.cwd,
            environment: wish.environment,
            stdin: wish.stdin,
            limits: wish.limits,
            on_link_loss: wish.on_link_loss,
        })
    }
}

impl Running {
    /// Returns the id of the run.
    #[must_use]
    pub const fn id(&self) -> RunId {
        self.id
    }

    /// Returns on which agent it runs.
    #[must_use]
    pub fn target(&self) -> &NodeName {
        &self.found.link.peer().name
    }

    /// Sets how much the agent may send before it is read.
    pub fn set_pace(&self, pace: Pace) {
        self.found.link.set_pace(pace);
    }

    /// Takes the way to standard input, if there is one.
    pub fn take_stdin(&mut self) -> Option<StdinSender> {
        self.run.take_stdin()
    }

    /// Returns what happens next, and `None` after the end.
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped.
    pub async fn next(&mut self) -> Option<Progress> {
        self.run.next(&self.found.link).await
    }

    /// Takes the agent's word on how the run ended, from the answer to a cancellation. It counts
    /// where the run's own stream breaks before it says so.
    pub fn acknowledged(&mut self, ended: Ended) {
        self.acknowledged = ended.result.outcome().map(|outcome| (outcome, ended));
    }

    /// Returns how the run ended, once it has.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        match (self.run.outcome()?, &self.acknowledged) {
            (Outcome::Lost(_), Some((outcome, _))) => Some(outcome),
            (outcome, _) => Some(outcome),
        }
    }

    /// Returns the agent's account of the end, if it gave one.
    #[must_use]
    pub fn ended(&self) -> Option<&Ended> {
        let acknowledged = self.acknowledged.as_ref().map(|(_, ended)| ended);
        self.run.ended().or(acknowledged)
    }

    /// Returns what broke the run, if something did.
    #[must_use]
    pub const fn broken(&self) -> Option<&BrokenRun> {
        self.run.broken()
    }

    /// Returns why the target did not let this controller in, if that is how the run ended.
    ///
    /// Requests are sent before the target has judged this controller's certificate. It refuses by
    /// TLS, before it looks at any request.
    #[must_use]
    pub fn not_let_in(&self) -> Option<RunError> {
        let Some(Outcome::Lost(KnownOfLost { started: false, .. })) = self.outcome() else {
            return None;
        };
        let Some(BrokenRun::Link(source @ DialError::Refused { .. })) = self.broken() else {
            return None;
        };
        Some(RunError::NotLetIn {
            target: self.target().clone(),
            source: source.clone(),
        })
    }

    /// Returns the means to cancel the run while its output is being read.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller {
            id: self.id,
            link: Arc::clone(&self.found.link),
        }
    }
}

/// The means to cancel a run.
#[derive(Debug, Clone)]
pub struct Canceller {
    id: RunId,
    link: Arc<Link>,
}

impl Canceller {
    /// Ends the run and all its processes, and waits for the agent's word that they are gone.
    ///
    /// The request may still be on its way, so an agent that knows no such run is asked again for a
    /// while.
    ///
    /// # Errors
    /// The agent did not say so.
    pub async fn cancel(&self, grace: Duration) -> Result<Ended, CancelError> {
        let mut tries = 0;
        loop {
            match cancel(&self.link, self.id, grace).await {
                Err(CancelError::Refused(Refusal::UnknownRun)) if tries < OVERTAKEN_TRIES => {
                    tries += 1;
                    tokio::time::sleep(OVERTAKEN_PAUSE).await;
                }
                done => return done,
            }
        }
    }
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}
