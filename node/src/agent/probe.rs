//! What this host can do: the probes, and the handle through which they are asked.
//!
//! Owns when probing happens: on demand, all probes at once, never two probings at a time, and one
//! answer for everybody who asks within [`ProbeLimits::fresh`]. One file a probe; each owns how its
//! answer is found and knows nothing of the others. Nothing here is trusted by the reader, and
//! nothing here decides anything.
//!
//! **Invariant:** a probing ends within [`ProbeLimits::probe`], whatever a program or a file system
//! does, and leaves no process behind. Guarded by `a_program_that_hangs_costs_only_its_version` and
//! `a_child_that_outlives_its_deadline_is_killed_with_its_children`.

mod architecture;
mod blocking;
mod child;
mod domain;
mod enclosure;
mod file;
mod found;
mod gather;
mod hostname;
mod init;
mod kernel;
mod mounts;
mod os;
mod package_managers;
mod privilege;
mod programs;
mod registry;
mod scope;
mod shells;
mod tools;
mod workspaces;

use std::{sync::Arc, time::Duration};

use proto::capability::Capabilities;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};

use self::{blocking::Blocking, scope::Scope};

/// Questions that wait for the probing in progress; one for each stream that a controller may open
/// for it, with room to spare.
const INBOX: usize = 64;

/// How long probing may take, and how much it may use.
#[derive(Debug, Clone)]
pub struct ProbeLimits {
    /// How long one probe may take, and so, since they run at once, all of them.
    pub probe: Duration,
    /// How long after the start of the probing a child process may live. Shorter than `probe`, so
    /// that a program that hangs costs its version and not the whole list.
    pub child: Duration,
    /// How many child processes may live at once.
    pub children: usize,
    /// How long an answer is given again without probing.
    pub fresh: Duration,
}

impl Default for ProbeLimits {
    fn default() -> Self {
        Self {
            probe: Duration::from_secs(2),
            child: Duration::from_millis(1500),
            children: 4,
            fresh: Duration::from_secs(30),
        }
    }
}

/// The handle through which probing is asked for; cheap to clone.
#[derive(Debug, Clone)]
pub struct Prober {
    inbox: mpsc::Sender<Question>,
}

type Question = oneshot::Sender<Arc<Capabilities>>;

impl Prober {
    /// Starts the task that probes, in `tasks`. It ends when the last handle is dropped.
    ///
    /// A file system that hangs can hold a thread of the runtime's blocking pool: stop the runtime
    /// by `shutdown_background` or `shutdown_timeout`, not by waiting.
    pub fn spawn(limits: ProbeLimits, tasks: &mut JoinSet<()>) -> Self {
        let (inbox, questions) = mpsc::channel(INBOX);
        tasks.spawn(answer(questions, limits));
        Self { inbox }
    }

    /// Returns what this host can do, as of at most [`ProbeLimits::fresh`] ago.
    ///
    /// # Errors
    ///
    /// When too many already wait, or the task has been stopped.
    ///
    /// # Cancel safety
    ///
    /// A caller that gives up costs the others nothing: the probing goes on for them.
    pub async fn capabilities(&self) -> Result<Arc<Capabilities>, AskProberError> {
        let (reply, answer) = oneshot::channel();
        self.inbox
            .try_send(reply)
            .map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(_) => AskProberError::Busy,
                mpsc::error::TrySendError::Closed(_) => AskProberError::Stopped,
            })?;
        answer.await.map_err(|_| AskProberError::Stopped)
    }
}

/// Why there is no answer at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskProberError {
    /// The inbox is full.
    #[error("too many wait for the capabilities already")]
    Busy,
    /// The task has ended.
    #[error("the prober has been stopped")]
    Stopped,
}

/// Answers question by question; those that waited for a probing find its answer fresh.
async fn answer(mut questions: mpsc::Receiver<Question>, limits: ProbeLimits) {
    let blocking = Blocking::default();
    let mut last: Option<(Instant, Arc<Capabilities>)> = None;
    while let Some(question) = questions.recv().await {
        if question.is_closed() {
            continue;
        }
        let fresh = last.take().filter(|(at, _)| at.elapsed() < limits.fresh);
        let (at, document) = match fresh {
            Some(fresh) => fresh,
            None => {
                let scope = Arc::new(Scope::new(&limits, blocking.clone()));
                (Instant::now(), Arc::new(gather::capabilities(scope).await))
            }
        };
        // The one who asked may have gone meanwhile; the answer is kept for the next.
        let _ = question.send(Arc::clone(&document));
        last = Some((at, document));
    }
}

#[cfg(test)]
mod tests;
