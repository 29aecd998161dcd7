//! The runs in progress: so that whoever asks for one finds it, and their number stays bounded.
//!
//! A run belongs to the agent and not to the link on which it was asked for: its task ends when it
//! ends, whatever becomes of those who hear it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use proto::{
    id::{NodeName, RunId},
    run::{Ended, Refusal},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{router::log_panic, run::Live};
use crate::clock::now_ms;

/// How many runs an agent has in progress at most. Each holds two pipes and their buffers.
pub(crate) const MAX_RUNS: usize = 1024;

/// A request to end a run, from any controller of the mesh.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CancelRequest {
    /// Time between asking the processes to end and killing them.
    pub(crate) grace: Duration,
}

/// The runs in progress.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    by_id: Mutex<HashMap<RunId, Entry>>,
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Debug, Clone)]
struct Entry {
    peer: NodeName,
    digest: [u8; 32],
    since_ms: u64,
    cancel: mpsc::Sender<CancelRequest>,
    stage: watch::Receiver<Stage>,
}

/// How far a run is.
#[derive(Debug, Clone, Default)]
enum Stage {
    /// Its process does not run yet.
    #[default]
    Starting,
    Live(Arc<Live>),
    /// Its processes are gone, and the ledger keeps how.
    Ended(Ended),
}

/// A run's place among those in progress; leaves it when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    runs: Arc<Runs>,
    id: RunId,
    /// Yields the requests to end this run.
    pub(crate) cancel: mpsc::Receiver<CancelRequest>,
    stage: watch::Sender<Stage>,
}

impl Place {
    /// Lets others hear the run, now that it runs.
    pub(crate) fn live(&self, live: Arc<Live>) {
        self.stage.send_replace(Stage::Live(live));
    }

    /// Tells all who wait that the run has ended.
    pub(crate) fn ended(&self, ended: &Ended) {
        self.stage.send_replace(Stage::Ended(ended.clone()));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.runs.lock().remove(&self.id);
    }
}

/// What a request finds when it enters.
#[derive(Debug)]
pub(crate) enum Entered {
    /// Nobody else is at this id: the ledger decides whether it is new.
    First(Place),
    /// The same request is in progress.
    InProgress(InProgress),
}

/// A run that is in progress.
#[derive(Debug)]
pub(crate) struct InProgress {
    /// Since when, in milliseconds since 1970.
    pub(crate) accepted_at_ms: u64,
    stage: watch::Receiver<Stage>,
}

impl InProgress {
    /// Waits until its process runs; `None` if it was not started after all, or is over, and then its
    /// place is free.
    pub(crate) async fn live(mut self) -> Option<Arc<Live>> {
        let stage = self
            .stage
            .wait_for(|stage| !matches!(stage, Stage::Starting));
        if let Stage::Live(live) = &*stage.await.ok()? {
            return Some(Arc::clone(live));
        }
        drop(self.stage.wait_for(|_| false).await);
        None
    }

    /// Waits for the end; `None` if the run was dropped without one.
    async fn end(mut self) -> Option<Ended> {
        let stage = self
            .stage
            .wait_for(|stage| matches!(stage, Stage::Ended(_)));
        match &*stage.await.ok()? {
            Stage::Ended(ended) => Some(ended.clone()),
            Stage::Starting | Stage::Live(_) => None,
        }
    }
}

impl Runs {
    /// Returns how many runs are in progress.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Runs the task of a run, which ends when the run has.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks();
        while let Some(ended) = tasks.try_join_next() {
            log_panic(ended);
        }
        tasks.spawn(task);
    }

    /// Waits for the tasks of all runs.
    pub(crate) async fn join(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks());
        while let Some(ended) = tasks.join_next().await {
            log_panic(ended);
        }
    }

    /// Takes the place of `id`, or finds who has it.
    ///
    /// # Errors
    /// The id is somebody else's or another request's, or there is no place left.
    pub(crate) fn enter(
        self: &Arc<Self>,
        id: RunId,
        peer: &NodeName,
        digest: [u8; 32],
    ) -> Result<Entered, Refusal> {
        let mut by_id = self.lock();
        if let Some(entry) = by_id.get(&id) {
            entry.check_owner(peer)?;
            if entry.digest != digest {
                return Err(Refusal::DifferentRequest);
            }
            return Ok(Entered::InProgress(entry.in_progress()));
        }
        if by_id.len() >= MAX_RUNS {
            let limit = u32::try_from(MAX_RUNS).unwrap_or(u32::MAX);
            return Err(Refusal::Busy { limit });
        }
        // One request is enough: the second would ask for the same.
        let (cancel, cancel_requests) = mpsc::channel(1);
        let (stage, stage_seen) = watch::channel(Stage::Starting);
        let entry = Entry {
            peer: peer.clone(),
            digest,
            since_ms: now_ms(),
            cancel,
            stage: stage_seen,
        };
        by_id.insert(id, entry);
        Ok(Entered::First(Place {
            runs: Arc::clone(self),
            id,
            cancel: cancel_requests,
            stage,
        }))
    }

    /// Finds a run in progress for its controller.
    ///
    /// # Errors
    /// It is another controller's.
    pub(crate) fn find(&self, id: RunId, peer: &NodeName) -> Result<Option<InProgress>, Refusal> {
        let by_id = self.lock();
        let Some(entry) = by_id.get(&id) else {
            return Ok(None);
        };
        entry.check_owner(peer)?;
        Ok(Some(entry.in_progress()))
    }

    /// Asks a run to end, and waits until it has; `None` if it is not in progress, or was not started
    /// after all.
    pub(crate) async fn cancel(&self, id: RunId, request: CancelRequest) -> Option<Ended> {
        let entry = self.lock().get(&id).cloned()?;
        // Full: somebody asked already, and the end is the same.
        let _ = entry.cancel.try_send(request);
        entry.in_progress().end().await
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, Entry>> {
        // A panic elsewhere leaves the map whole: each change is one call.
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn check_owner(&self, peer: &NodeName) -> Result<(), Refusal> {
        match self.peer == *peer {
            true => Ok(()),
            false => Err(Refusal::OtherController),
        }
    }

    fn in_progress(&self) -> InProgress {
        InProgress {
            accepted_at_ms: self.since_ms,
            stage: self.stage.clone(),
        }
    }
}
