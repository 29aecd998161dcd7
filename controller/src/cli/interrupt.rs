//! Ctrl-C, twice: the first asks politely, the second leaves.
//!
//! **Invariant:** whoever listens writes no message by itself, since it would not hear a signal meanwhile.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use crate::output::messages;

use super::setup;

/// How long those are waited for who are to read the last words, when somebody has had enough.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(1);

/// Somebody had enough.
#[derive(Debug, thiserror::Error)]
#[error("interrupted before all output was written")]
pub(super) struct Interrupted;

/// Whether a signal was heard.
static HEARD: AtomicBool = AtomicBool::new(false);

/// Waits until this process's messages are written: for a reader that is slow until the next Ctrl-C, and
/// for a short time only if there was one.
pub(super) fn messages_are_told() {
    if messages::told_within(LAST_WORDS) || HEARD.load(Ordering::Relaxed) {
        return;
    }
    let told = setup::block_on(async {
        let mut interrupts = Interrupts::listen();
        let telling = tokio::task::spawn_blocking(|| while !messages::told_within(LAST_WORDS) {});
        tokio::select! {
            _ = telling => {}
            () = interrupts.next() => {}
        }
        Ok(())
    });
    // Without a runtime nobody could say that it is enough.
    drop(told);
}

/// Hears this process's interruptions.
pub(super) struct Interrupts {
    #[cfg(unix)]
    signals: [Option<tokio::signal::unix::Signal>; 2],
}

impl Interrupts {
    /// Starts to listen: from now on a signal does not end the process by itself. One that cannot
    /// be heard does.
    #[cfg(unix)]
    pub(super) fn listen() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        messages::never_wait();
        let hear = |kind| match signal(kind) {
            Ok(signal) => Some(signal),
            Err(error) => {
                tracing::warn!(%error, "a signal cannot be heard; it would end the run's link");
                None
            }
        };
        Self {
            signals: [SignalKind::interrupt(), SignalKind::terminate()].map(hear),
        }
    }

    /// Returns at the next Ctrl-C or request to terminate.
    ///
    /// # Cancel safety
    /// No signal is lost when this is dropped.
    #[cfg(unix)]
    pub(super) async fn next(&mut self) {
        async fn heard(signal: &mut Option<tokio::signal::unix::Signal>) {
            match signal {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        }
        let [interrupt, terminate] = &mut self.signals;
        tokio::select! {
            () = heard(interrupt) => {}
            () = heard(terminate) => {}
        }
        HEARD.store(true, Ordering::Relaxed);
    }

    /// Starts to listen: from now on a signal does not end the process by itself.
    #[cfg(not(unix))]
    pub(super) fn listen() -> Self {
        messages::never_wait();
        Self {}
    }

    /// Returns at the next Ctrl-C.
    #[cfg(not(unix))]
    pub(super) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
        HEARD.store(true, Ordering::Relaxed);
    }
}
