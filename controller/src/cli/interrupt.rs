//! Ctrl-C, twice: the first asks politely, the second leaves.

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
    }

    /// Starts to listen: from now on a signal does not end the process by itself.
    #[cfg(not(unix))]
    pub(super) fn listen() -> Self {
        Self {}
    }

    /// Returns at the next Ctrl-C.
    #[cfg(not(unix))]
    pub(super) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
