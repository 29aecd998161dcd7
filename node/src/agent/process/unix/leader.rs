//! The first process of a run: learning that it has exited, and with what.
//!
//! **Invariant:** it is reaped last, when nothing more is asked about its session or group; until then
//! its process id stays its own, also after it has exited.

use std::{io, os::fd::OwnedFd};

use rustix::process::{Pid, WaitId, WaitIdOptions, WaitIdStatus, waitid};
use tokio::{
    io::{Interest, unix::AsyncFd},
    signal::unix::{Signal, SignalKind, signal},
};

use super::start::Started;
use crate::agent::process::Exit;

pub(super) struct Leader {
    pid: Pid,
    news: News,
    exit: Option<Exit>,
}

/// How the kernel tells that the process has exited.
enum News {
    /// By making this descriptor readable, for this process alone.
    Pidfd(AsyncFd<OwnedFd>),
    /// By SIGCHLD, for any child: before Linux 5.3, and on macOS.
    Child(Signal),
}

impl Leader {
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub(super) fn new(started: Started) -> io::Result<Self> {
        let pid = i32::try_from(started.pid).ok().and_then(Pid::from_raw);
        let news = match started.pidfd {
            Some(pidfd) => News::Pidfd(watch(pidfd)?),
            None => News::Child(signal(SignalKind::child())?),
        };
        Ok(Self {
            pid: pid.expect("the kernel gave this id to a child"),
            news,
            exit: None,
        })
    }

    /// Waits until the process has exited.
    ///
    /// # Cancel safety
    /// Can be dropped and called again; the answer is kept.
    pub(super) async fn wait(&mut self) -> io::Result<Exit> {
        loop {
            if let Some(exit) = self.poll()? {
                return Ok(exit);
            }
            match &mut self.news {
                News::Pidfd(pidfd) => pidfd.readable().await?.clear_ready(),
                News::Child(child) => {
                    child.recv().await;
                }
            }
        }
    }

    /// Takes leave of the process; `false` if it has not exited yet.
    pub(super) fn reap(&mut self) -> bool {
        match self.look(WaitIdOptions::empty()) {
            Ok(Some(exit)) => self.exit = Some(exit),
            Ok(None) => return false,
            // It was reaped before, and the answer kept.
            Err(_) => {}
        }
        true
    }

    fn poll(&mut self) -> io::Result<Option<Exit>> {
        if self.exit.is_none() {
            self.exit = self.look(WaitIdOptions::NOWAIT)?;
        }
        Ok(self.exit)
    }

    fn look(&self, options: WaitIdOptions) -> io::Result<Option<Exit>> {
        let options = options | WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        Ok(waitid(WaitId::Pid(self.pid), options)?.and_then(exit))
    }
}

#[allow(
    unsafe_code,
    reason = "tokio asks for the promise that the descriptor stays the same"
)]
fn watch(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` keeps its descriptor open, and the same, until it is dropped.
    Ok(unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }?)
}

fn exit(status: WaitIdStatus) -> Option<Exit> {
    let code = status.exit_status().map(Exit::Code);
    code.or_else(|| status.terminating_signal().map(Exit::Signal))
}
