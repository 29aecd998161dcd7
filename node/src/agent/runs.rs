//! The runs in progress: so that a cancellation finds its run, and their number stays bounded.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use proto::{
    id::{NodeName, RunId},
    run::{Ended, Refusal},
};
use tokio::sync::{mpsc, watch};

use super::router::millis;

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
}

#[derive(Debug, Clone)]
struct Entry {
    peer: NodeName,
    digest: [u8; 32],
    since_ms: u64,
    cancel: mpsc::Sender<CancelRequest>,
    ended: watch::Receiver<Option<Ended>>,
}

/// A run's place among those in progress; leaves it when dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    runs: &'a Runs,
    id: RunId,
    /// Yields the requests to end this run.
    pub(crate) cancel: mpsc::Receiver<CancelRequest>,
    ended: watch::Sender<Option<Ended>>,
}

impl Place<'_> {
    /// Tells all who wait that the run has ended.
    pub(crate) fn ended(&self, ended: &Ended) {
        self.ended.send_replace(Some(ended.clone()));
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.runs.lock().remove(&self.id);
    }
}

/// What a request finds when it enters.
#[derive(Debug)]
pub(crate) enum Entered<'a> {
    /// Nobody else is at this id: the ledger decides whether it is new.
    First(Place<'a>),
    /// The same request is in progress.
    InProgress {
        /// Since when, in milliseconds since 1970.
        accepted_at_ms: u64,
        /// How it will end.
        end: End,
    },
}

impl Runs {
    /// Returns how many runs are in progress.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Takes the place of `id`, or finds who has it.
    ///
    /// # Errors
    /// The id is somebody else's or another request's, or there is no place left.
    pub(crate) fn enter(
        &self,
        id: RunId,
        peer: &NodeName,
        digest: [u8; 32],
    ) -> Result<Entered<'_>, Refusal> {
        let mut by_id = self.lock();
        if let Some(entry) = by_id.get(&id) {
            if entry.peer != *peer {
                return Err(Refusal::OtherController);
            }
            if entry.digest != digest {
                return Err(Refusal::DifferentRequest);
            }
            return Ok(Entered::InProgress {
                accepted_at_ms: entry.since_ms,
                end: End {
                    ended: entry.ended.clone(),
                },
            });
        }
        if by_id.len() >= MAX_RUNS {
            let limit = u32::try_from(MAX_RUNS).unwrap_or(u32::MAX);
            return Err(Refusal::Busy { limit });
        }
        // One request is enough: the second would ask for the same.
        let (cancel, cancel_requests) = mpsc::channel(1);
        let (ended, ended_seen) = watch::channel(None);
        let entry = Entry {
            peer: peer.clone(),
            digest,
            since_ms: millis(SystemTime::now()),
            cancel,
            ended: ended_seen,
        };
        by_id.insert(id, entry);
        Ok(Entered::First(Place {
            runs: self,
            id,
            cancel: cancel_requests,
            ended,
        }))
    }

    /// Asks a run to end; returns what to wait on, or `None` if it is not in progress.
    pub(crate) fn cancel(&self, id: RunId, request: CancelRequest) -> Option<End> {
        let entry = self.lock().get(&id).cloned()?;
        // Full: somebody asked already, and the end is the same.
        let _ = entry.cancel.try_send(request);
        Some(End { ended: entry.ended })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<RunId, Entry>> {
        // A panic elsewhere leaves the map whole: each change is one call.
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of a run that others wait for.
#[derive(Debug)]
pub(crate) struct End {
    ended: watch::Receiver<Option<Ended>>,
}

impl End {
    /// Waits for the end; `None` if the run was dropped without one.
    pub(crate) async fn wait(mut self) -> Option<Ended> {
        let seen = self.ended.wait_for(Option::is_some).await.ok()?;
        seen.clone()
    }
}
