//! What the system tells this process while it holds a terminal. They are heard before its modes are
//! changed, so that none ends the process without putting them back.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals of a session. Ctrl-C is none of them: in raw mode it is a byte.
pub(super) struct Signals {
    leave: [Signal; 3],
    hang_up: Signal,
    resize: Signal,
    resume: Signal,
}

/// What a signal says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// To leave: somebody ends this process.
    Leave,
    /// That its terminal is gone.
    HungUp,
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
                signal(SignalKind::interrupt())?,
                signal(SignalKind::quit())?,
                signal(SignalKind::terminate())?,
            ],
            hang_up: signal(SignalKind::hangup())?,
            resize: signal(SignalKind::window_change())?,
            resume: signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw()))?,
        })
    }

    /// Returns when this process is told to leave.
    pub(super) async fn leave(&mut self) {
        while !matches!(self.next().await, Told::Leave | Told::HungUp) {}
    }

    /// Returns what is told next.
    ///
    /// # Cancel safety
    /// No signal is lost when this is dropped.
    pub(super) async fn next(&mut self) -> Told {
        let [interrupt, quit, terminate] = &mut self.leave;
        tokio::select! {
            _ = interrupt.recv() => Told::Leave,
            _ = quit.recv() => Told::Leave,
            _ = terminate.recv() => Told::Leave,
            _ = self.hang_up.recv() => Told::HungUp,
            _ = self.resize.recv() => Told::Resized,
            _ = self.resume.recv() => Told::Resumed,
        }
    }
}
