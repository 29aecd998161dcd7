//! A run in progress, as those see it who hear it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use proto::run::{Hold, StdinMode};
use quinn::Connection;
use tokio::{io::AsyncWriteExt as _, net::unix::pipe::Sender, sync::Mutex};

use crate::agent::spool::{Spool, Ticket};

/// What a run shares with the streams on which it is heard.
#[derive(Debug)]
pub(crate) struct Live {
    pub(super) spool: Arc<Spool>,
    /// Locked by the one caller whose input the process reads.
    pub(super) stdin: Mutex<Stdin>,
    /// On which connection the caller is.
    link: AtomicUsize,
}

impl Live {
    pub(super) fn new(spool: Arc<Spool>, stdin: Option<Sender>, link: &Connection) -> Self {
        Self {
            spool,
            stdin: Mutex::new(Stdin::new(stdin)),
            link: AtomicUsize::new(link.stable_id()),
        }
    }

    /// Makes the peer on `link` the run's caller.
    pub(super) fn take(&self, link: &Connection) -> Ticket {
        self.link.store(link.stable_id(), Ordering::Relaxed);
        self.spool.take()
    }

    /// Returns what somebody becomes who repeats the request: the caller, who has lost its link and
    /// comes on another one, or a spectator beside the caller who is there.
    pub(super) fn hold_of_repeated(&self, link: &Connection) -> Hold {
        let same = self.link.load(Ordering::Relaxed) == link.stable_id();
        if same && self.spool.has_caller() {
            Hold::Watch
        } else {
            Hold::Take
        }
    }
}

/// The process's standard input.
#[derive(Debug)]
pub(super) struct Stdin {
    /// Nothing when it is complete, or when the process reads no more.
    pipe: Option<Sender>,
    /// Bytes that the pipe took: where another caller goes on.
    taken: u64,
}

impl Stdin {
    pub(super) const fn new(pipe: Option<Sender>) -> Self {
        Self { pipe, taken: 0 }
    }

    /// Returns what may still come.
    pub(super) const fn mode(&self) -> StdinMode {
        match self.pipe {
            Some(_) => StdinMode::Piped,
            None => StdinMode::Closed,
        }
    }

    /// Returns where input goes on, if the process takes any.
    pub(super) fn from(&self) -> Option<u64> {
        self.pipe.as_ref().map(|_| self.taken)
    }

    /// Writes bytes to the process, as fast as it reads.
    ///
    /// # Cancel safety
    /// What the pipe took is counted.
    pub(super) async fn write(&mut self, mut bytes: &[u8]) {
        while let Some(pipe) = &mut self.pipe
            && !bytes.is_empty()
        {
            match pipe.write(bytes).await {
                Ok(len) => {
                    self.taken += len as u64;
                    bytes = &bytes[len..];
                }
                // The process reads no more. What follows is thrown away, as a shell's pipe does.
                Err(_) => self.pipe = None,
            }
        }
    }

    /// Tells the process that its input is complete.
    pub(super) fn close(&mut self) {
        self.pipe = None;
    }
}
