//! Which copies are arriving, so that a later one takes over from an earlier one of the same id.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use proto::id::TransferId;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long the earlier copy may take to close its file. Where its disk hangs, the later one writes
/// to a file of its own.
const RELEASE_LIMIT: Duration = Duration::from_secs(10);

/// The copies in progress.
#[derive(Debug, Default)]
pub(super) struct Transfers(Mutex<HashMap<TransferId, Current>>);

#[derive(Debug, Clone)]
struct Current {
    superseded: CancellationToken,
    released: CancellationToken,
}

/// A copy's turn.
#[derive(Debug)]
pub(super) struct Turn {
    /// Cancelled when a later request takes over.
    pub(super) superseded: CancellationToken,
    /// To be dropped when the file is closed.
    pub(super) released: DropGuard,
}

impl Transfers {
    /// Takes over from the copy of this id that is in progress, if there is one, and waits until its
    /// file is closed.
    pub(super) async fn enter(&self, id: TransferId) -> Turn {
        let current = Current {
            superseded: CancellationToken::new(),
            released: CancellationToken::new(),
        };
        let turn = Turn {
            superseded: current.superseded.clone(),
            released: current.released.clone().drop_guard(),
        };
        if let Some(earlier) = self.replace(id, current) {
            earlier.superseded.cancel();
            let released = tokio::time::timeout(RELEASE_LIMIT, earlier.released.cancelled());
            if released.await.is_err() {
                tracing::warn!(transfer = %id, "an earlier copy of a file does not let go of it");
            }
        }
        turn
    }

    fn replace(&self, id: TransferId, current: Current) -> Option<Current> {
        // A panic elsewhere leaves the map as it was: each change is one step.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, one| !one.released.is_cancelled());
        all.insert(id, current)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: TransferId = TransferId::from_bytes([1; 16]);

    #[tokio::test]
    async fn a_later_copy_waits_until_the_earlier_one_lets_go() {
        let transfers = Transfers::default();
        let earlier = transfers.enter(ID).await;

        let later = tokio::select! {
            biased; // polled in this order: the later one asks, the earlier one hears
            later = transfers.enter(ID) => later,
            () = async {
                earlier.superseded.cancelled().await;
                drop(earlier.released);
                std::future::pending().await
            } => unreachable!("it pends"),
        };

        assert!(!later.superseded.is_cancelled());
    }

    #[tokio::test]
    async fn copies_that_are_over_are_forgotten() {
        let transfers = Transfers::default();
        for n in 0..100 {
            drop(transfers.enter(TransferId::from_bytes([n; 16])).await);
        }

        assert!(transfers.0.lock().unwrap().len() <= 1);
    }
}
