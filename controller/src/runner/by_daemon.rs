//! The daemon that carries wishes out, and this process where it does not.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::OnceCell;

use super::Open;
use crate::{
    daemon::client::{AskError, Client},
    orchestrator::Orchestrator,
    output::{self, chain},
    told::Told,
};

/// The daemon, and what helps where it does not.
pub struct ByDaemon {
    client: Client,
    pub(super) here: Arc<Here>,
    /// Whether it once did not say a word: it is not asked again.
    is_silent: AtomicBool,
}

impl ByDaemon {
    pub(super) fn new(client: Client, open: Open) -> Self {
        let made = OnceCell::new();
        Self {
            client,
            here: Arc::new(Here { made, open }),
            is_silent: AtomicBool::new(false),
        }
    }

    /// Returns the way to the daemon, unless it is silent.
    pub(super) fn client(&self) -> Option<&Client> {
        let is_silent = self.is_silent.load(Ordering::Relaxed);
        (!is_silent).then_some(&self.client)
    }

    /// Takes note that the daemon does not do it, so that this process does.
    pub(super) fn instead(&self, error: &AskError) {
        if let AskError::Silent { .. } = error
            && !self.is_silent.swap(true, Ordering::Relaxed)
        {
            output::say(&format!("{}; going on without it", chain(error)));
        }
        tracing::info!(why = %chain(error), "the daemon does not do it, so this process does");
    }
}

/// An orchestrator of this process, made when it is needed.
pub struct Here {
    made: OnceCell<Orchestrator>,
    open: Open,
}

impl std::fmt::Debug for Here {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Here").finish_non_exhaustive()
    }
}

impl Here {
    pub(super) async fn get(&self) -> Result<&Orchestrator, Told> {
        let opened = async || (self.open)();
        self.made.get_or_try_init(opened).await
    }

    /// Returns it if it was needed.
    pub(super) fn opened(&self) -> Option<&Orchestrator> {
        self.made.get()
    }
}
