//! What the system tells this process while it holds a terminal. They are heard before its modes are
//! changed, so that none ends the process without putting them back.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals of a session. Ctrl-C is none of them: in raw mode it is a byte.
pub(super) struct Signals {
    leave: [Signal; 4],
    resize: Signal,
    resume: Signal,
}

/// What a signal says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// To leave: somebody ends this process, or its terminal is gone.
    Leave,
    /// The terminal has another size.
    Resized,
    /// This process goes on after a stop.
    Resumed,
}

impl Signals {
    /// Starts to listen: from now on they do not end the process by themselves.
    ///
    /// # Errors
    /// One cannot be heard, which would leave the terminal raw.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            leave: [
                signal(SignalKind::hangup())?,
                signal(SignalKind::interrupt())?,
                signal(SignalKind::quit())?,
                signal(SignalKind::terminate())?,
            ],
            resize: signal(SignalKind::window_change())?,
            resume: signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw()))?,
        })
    }

    /// Returns when this process is told to leave.
    pub(super) async fn leave(&mut self) {
        while self.next().await != Told::Leave {}
    }

    /// Returns what is told next.
    ///
    /// # Cancel safety
    /// No signal is lost when this is dropped.
    pub(super) async fn next(&mut self) -> Told {
        let [hangup, interrupt, quit, terminate] = &mut self.leave;
        tokio::select! {
            _ = hangup.recv() => Told::Leave,
            _ = interrupt.recv() => Told::Leave,
            _ = quit.recv() => Told::Leave,
            _ = terminate.recv() => Told::Leave,
            _ = self.resize.recv() => Told::Resized,
            _ = self.resume.recv() => Told::Resumed,
        }
    }
}
