//! Looks at the file system, which may hang for ever on a dead server.
//!
//! **Invariant:** one place holds at most one thread, however often it is asked about: a look at a
//! place whose last look still hangs is refused. Guarded by `a_place_that_hangs_holds_one_thread`.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use super::found::ProbeError;

/// The places that are being looked at; shared by all probings of a prober.
#[derive(Debug, Clone, Default)]
pub(super) struct Blocking {
    busy: Arc<Mutex<HashSet<String>>>,
}

impl Blocking {
    /// Runs `look`, which looks at `place`, on a thread of its own.
    ///
    /// # Cancel safety
    ///
    /// A caller that gives up leaves the thread behind, and the place refused until it returns.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        place: &str,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ProbeError> {
        let held = self.hold(place).ok_or(ProbeError::StillHanging)?;
        let looking = tokio::task::spawn_blocking(move || {
            let _held = held;
            look()
        });
        looking.await.map_err(|_| ProbeError::Abandoned)
    }

    fn hold(&self, place: &str) -> Option<Held> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.insert(place.to_owned()).then(|| Held {
            busy: Arc::clone(&self.busy),
            place: place.to_owned(),
        })
    }
}

/// Frees its place when the look returns, even by a panic.
struct Held {
    busy: Arc<Mutex<HashSet<String>>>,
    place: String,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.busy
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.place);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc::{Receiver, sync_channel},
        time::Duration,
    };

    use super::*;

    #[tokio::test]
    async fn a_place_that_hangs_holds_one_thread() {
        let blocking = Blocking::default();
        let (release, hang) = sync_channel::<()>(0);

        let given_up = tokio::time::timeout(
            Duration::from_millis(1),
            blocking.look("/dead", move || hang.recv()),
        )
        .await;
        let again = blocking.look("/dead", || ()).await;
        let elsewhere = blocking.look("/alive", || 7).await;

        assert!(given_up.is_err());
        assert!(matches!(again, Err(ProbeError::StillHanging)), "{again:?}");
        assert!(matches!(elsewhere, Ok(7)), "{elsewhere:?}");
        drop(release);
    }

    #[tokio::test]
    async fn a_place_is_free_again_after_its_look() {
        let blocking = Blocking::default();

        blocking.look("/a", || ()).await.unwrap();
        let panicked = blocking
            .look("/a", || -> Receiver<()> { panic!("a probe's bug") })
            .await;

        assert!(matches!(panicked, Err(ProbeError::Abandoned)));
        blocking.look("/a", || ()).await.unwrap();
    }
}
