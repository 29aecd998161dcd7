//! One command on one target, whole.

mod eagerness;
mod running;
mod silence;

use std::{sync::Arc, time::Duration};

use node::{
    clock::now_ms,
    link::DialError,
    links::{Found, Unreachable},
    run::{CancelError, Run, StartRunError},
};
use proto::{
    id::{NodeName, RunId},
    run::{
        Argv, Audience, Ended, Environment, Hold, KnownOfLost, Limits, OnLinkLoss, RequestError,
        RunRequest, StdinMode, What, Word,
    },
    shell::Shell,
    text::Text,
};
use serde::{Deserialize, Serialize};

pub use self::running::{Canceller, Running};
use super::Orchestrator;
use crate::told::Told;

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A program and its arguments, without a shell.
    Argv(Argv),
    /// A script for a shell.
    Script(Script),
    /// An interactive shell, which needs a terminal; the account's own if absent.
    LoginShell(Option<Shell>),
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
    /// The target was not asked to let this controller hear the run.
    #[error("attach to the run on {target}")]
    Attach {
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

/// A wish to hear a run that was asked for before.
#[derive(Debug, Clone)]
pub struct AttachRun {
    /// Which run.
    pub id: RunId,
    /// On which agent.
    pub target: NodeName,
    /// What this caller is to the run.
    pub hold: Hold,
    /// How long the target is looked for.
    pub window: Duration,
}

/// Why a run was not seen to end.
#[derive(Debug, thiserror::Error)]
pub enum EndRunError {
    /// No agent proved to be the target.
    #[error(transparent)]
    Unreachable(Box<Unreachable>),
    /// The target did not say that it ended it.
    #[error("cancel the run on {target}")]
    Cancel {
        /// Which target.
        target: NodeName,
        /// Why not.
        #[source]
        source: CancelError,
    },
}

impl Orchestrator {
    /// Finds the target and asks it to run the command.
    ///
    /// # Errors
    /// Nothing was started, and why.
    pub async fn start(&self, wish: StartRun) -> Result<Running, RunError> {
        let found = self.linked(&wish.target, wish.window).await;
        let found = found.map_err(|error| RunError::Unreachable(Box::new(error)))?;
        let id = wish.id;
        let target = wish.target.clone();
        let request = self.request(wish, &found).await?;
        request.check().map_err(RunError::Request)?;
        let run = Run::start(&found.link, &request)
            .await
            .map_err(|source| RunError::Start { target, source })?;
        Ok(Running::new(run, id, found, Arc::clone(&self.links)).of_request(request))
    }

    /// Finds the target and attaches to a run that was asked for before.
    ///
    /// # Errors
    /// The target was not found, or not asked.
    pub async fn attach(&self, wish: AttachRun) -> Result<Running, RunError> {
        let found = self.links.to(&wish.target, wish.window).await;
        let found = found.map_err(|error| RunError::Unreachable(Box::new(error)))?;
        let run = Run::attach(&found.link, wish.id, wish.hold).await;
        let run = run.map_err(|source| RunError::Attach {
            target: wish.target,
            source,
        })?;
        Ok(Running::new(run, wish.id, found, Arc::clone(&self.links)))
    }

    /// Goes on with a run that somebody else asked for and lost, who knows this much of it.
    ///
    /// # Errors
    /// The target was not found.
    pub async fn resume(
        &self,
        wish: &StartRun,
        known: KnownOfLost,
        left_out: u64,
    ) -> Result<Running, RunError> {
        let found = self.links.to(&wish.target, wish.window).await;
        let found = found.map_err(|error| RunError::Unreachable(Box::new(error)))?;
        let request = self.request(wish.clone(), &found).await?;
        let run = Run::away(wish.id, known, left_out, Hold::Take);
        let running = Running::new(run, wish.id, found, Arc::clone(&self.links));
        Ok(running.of_request(request))
    }

    /// Ends a run that was asked for before, with all its processes, and waits for the target's word.
    ///
    /// # Errors
    /// The target was not found, or did not say so.
    pub async fn cancel(
        &self,
        id: RunId,
        target: &NodeName,
        grace: Duration,
        window: Duration,
    ) -> Result<Ended, EndRunError> {
        let found = self.links.to(target, window).await;
        let found = found.map_err(|error| EndRunError::Unreachable(Box::new(error)))?;
        let ended = node::run::cancel(&found.link, id, grace).await;
        let ended = ended.map_err(|source| EndRunError::Cancel {
            target: target.clone(),
            source,
        })?;
        self.remember(&found);
        Ok(ended)
    }

    /// Keeps the address of a run's target, now that it proved itself.
    pub fn remember_target(&self, running: &Running) {
        self.remember(running.found());
    }

    /// Notes the address of a run's target, now that it proved itself. [`Self::keep_addresses`]
    /// and [`Self::shutdown`] write those of many at once.
    pub fn note_target(&self, running: &Running) {
        self.note(running.found());
    }

    async fn request(&self, wish: StartRun, found: &Found) -> Result<RunRequest, RunError> {
        let what = match wish.command {
            Command::Argv(argv) => What::Argv(argv),
            Command::LoginShell(shell) => What::LoginShell { shell },
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
