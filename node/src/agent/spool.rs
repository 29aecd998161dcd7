//! What a run printed, for as long as somebody may still ask for it.
//!
//! A [`Spool`] holds the output of one run as the frames that travel, in the order in which the
//! processes wrote, cut into segments: the newest in memory, older ones in files of the agent's
//! [`Folder`]. Whoever hears the run reads it through a [`Cursor`], now or later.
//!
//! How much is kept:
//! - all of the output, up to 64 MiB; of a longer one the end, 9 MiB at least;
//! - always what the caller may not have yet, so that it can go on at the very byte that it has. When
//!   there is no room for that, the run's pipes are not read, and the processes wait;
//! - of a run whose caller left on purpose the newest, since nobody is waited for.
//!
//! Disks that are full or broken cost what is kept for later, never what is on its way.
//!
//! **Invariant:** the bytes that a cursor yields, and the gaps that it tells of, are the output from
//! where it began, each byte once. Guarded by the tests of this module and the `attach` scenarios.

mod counts;
mod cursor;
mod folder;
mod kept;
mod segment;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use proto::{
    id::RunId,
    run::{Ended, OnLinkLoss},
};
use tokio::{sync::Notify, task::spawn_blocking, time::Instant};

pub(crate) use self::{
    counts::Counts,
    cursor::{Cursor, Item},
    folder::{Folder, OpenFolderError},
};
use self::{
    kept::{Caller, Inner},
    segment::Segment,
};

/// The output of one run.
#[derive(Debug)]
pub(crate) struct Spool {
    run: RunId,
    folder: Arc<Folder>,
    inner: Mutex<Inner>,
    /// There is more to read. These are three, so that each piece of output wakes nobody in vain.
    added: Notify,
    /// One file at a time.
    writing: Arc<tokio::sync::Mutex<()>>,
    /// There may be room for more.
    given: Notify,
    /// Somebody came or left, or there is something to spill.
    changed: Notify,
}

/// Somebody who waits to be the caller.
struct Waiting<'a>(&'a Spool);

impl<'a> Waiting<'a> {
    fn begin(spool: &'a Spool) -> Self {
        spool.lock().caller.waiting += 1;
        Self(spool)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().caller.waiting -= 1;
        self.0.changed.notify_waiters();
    }
}

/// The right to be a run's caller, until somebody else takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

impl Spool {
    /// Begins with nothing, and with a caller, who is given the first ticket.
    pub(crate) fn new(run: RunId, folder: Arc<Folder>, on_link_loss: OnLinkLoss) -> (Self, Ticket) {
        let ticket = Ticket(0);
        let spool = Self::of(
            run,
            folder,
            on_link_loss,
            VecDeque::new(),
            Counts::default(),
        );
        (spool, ticket)
    }

    /// Stands for a run that has ended and of which nothing is kept.
    pub(crate) fn unkept(run: RunId, folder: Arc<Folder>, ended: Ended) -> Self {
        let total = Counts::of_ended(&ended);
        let spool = Self::of(run, folder, OnLinkLoss::Detach, VecDeque::new(), total);
        spool.lock().ended = Some(ended);
        spool
    }

    /// Opens what is kept of a run that has ended; where that is not whole, it is a gap.
    ///
    /// Blocks for as long as the disk takes.
    pub(crate) fn reopen(run: RunId, folder: Arc<Folder>, ended: Ended) -> Self {
        let total = Counts::of_ended(&ended);
        let mut segments = folder.segments(run);
        let end = segments.back().map_or(total, |last| last.end);
        // A power cut may have taken some of it, and then the numbers do not fit.
        if end != total && ended.result.outcome().is_some() {
            segments.clear();
        }
        let end = if segments.is_empty() { total } else { end };
        let spool = Self::of(run, folder, OnLinkLoss::Detach, segments, end);
        spool.lock().ended = Some(ended);
        spool
    }

    fn of(
        run: RunId,
        folder: Arc<Folder>,
        on_link_loss: OnLinkLoss,
        segments: VecDeque<Segment>,
        end: Counts,
    ) -> Self {
        let position = segments.back().map_or(0, |last| last.at + last.len);
        let caller = Caller {
            ticket: Ticket(0),
            away_since: None,
            position,
            waiting: 0,
        };
        let inner = Inner {
            segments,
            end,
            position,
            on_link_loss,
            caller,
            ended: None,
            unkept: false,
        };
        Self {
            run,
            folder,
            inner: Mutex::new(inner),
            added: Notify::new(),
            writing: Arc::default(),
            given: Notify::new(),
            changed: Notify::new(),
        }
    }

    /// Adds a whole output frame, header and body.
    pub(crate) fn append(&self, frame: Bytes) {
        let may_spill = {
            let mut inner = self.lock();
            inner.append(frame, &self.folder, self.run);
            inner.to_spill().is_some()
        };
        self.added.notify_waiters();
        if may_spill {
            self.changed.notify_waiters();
        }
    }

    /// Returns how much output there is so far.
    pub(crate) fn end(&self) -> Counts {
        self.lock().end
    }

    /// Waits until more output may be added. Tells whether it had to wait.
    pub(crate) async fn room(&self) -> Waited {
        let mut waited = Waited::No;
        self.when(&self.given, |inner| match inner.has_room() {
            true => Some(()),
            false => {
                waited = Waited::Yes;
                None
            }
        })
        .await;
        waited
    }

    /// Makes whoever asks the run's caller, in the place of whoever was.
    pub(crate) fn take(&self) -> Ticket {
        let ticket = {
            let caller = &mut self.lock().caller;
            caller.ticket = Ticket(caller.ticket.0 + 1);
            caller.away_since = None;
            caller.ticket
        };
        self.changed.notify_waiters();
        self.given.notify_waiters();
        ticket
    }

    /// Waits until the run has no caller, and becomes it.
    pub(crate) async fn take_vacant(&self) -> Ticket {
        let _waiting = Waiting::begin(self);
        self.when(&self.changed, |inner| inner.caller.away_since)
            .await;
        self.take()
    }

    /// Takes the news that a caller is gone; it may have been replaced before.
    pub(crate) fn left(&self, ticket: Ticket) {
        {
            let caller = &mut self.lock().caller;
            if caller.ticket != ticket {
                return;
            }
            caller.away_since = Some(Instant::now());
        }
        self.changed.notify_waiters();
        self.given.notify_waiters();
    }

    /// Tells whether somebody is the run's caller now.
    #[cfg(test)]
    fn has_caller(&self) -> bool {
        self.lock().caller.away_since.is_none()
    }

    /// Waits until somebody else is the caller.
    pub(crate) async fn superseded(&self, ticket: Ticket) {
        self.when(&self.changed, |inner| {
            (inner.caller.ticket != ticket).then_some(())
        })
        .await;
    }

    /// Waits until the run has been without a caller for as long as it may.
    pub(crate) async fn orphaned(&self) {
        loop {
            let (limit, since) = self.when(&self.changed, Inner::orphan_limit).await;
            let due = since + limit;
            let back = self.when(&self.changed, |inner| {
                (inner.caller.away_since != Some(since)).then_some(())
            });
            if tokio::time::timeout_at(due, back).await.is_err() {
                return;
            }
        }
    }

    /// Ends the output, and lets those who hear it know how the run ended.
    pub(crate) fn finish(&self, ended: Ended) {
        self.lock().ended = Some(ended);
        self.added.notify_waiters();
    }

    /// Moves segments to files while the run goes on.
    pub(crate) async fn keep_spilling(&self) -> Infallible {
        loop {
            let sequence = self.when(&self.changed, Inner::to_spill).await;
            self.spill(sequence).await;
        }
    }

    /// Moves all of the output to files, so that it outlives this process.
    pub(crate) async fn flush(&self) {
        loop {
            let next = {
                let inner = self.lock();
                inner.in_memory().map(|segment| segment.sequence).next()
            };
            let Some(sequence) = next else {
                break;
            };
            if self.lock().unkept {
                break; // what was written before counts all the same
            }
            self.spill(sequence).await;
        }
        let (sequences, bytes) = self.lock().kept();
        self.folder.account(self.run, sequences, bytes);
    }

    async fn spill(&self, sequence: u64) {
        // Held until the file is written, also where nobody waits for that any more.
        let writing = Arc::clone(&self.writing).lock_owned().await;
        let Some(copy) = self.lock().copy(sequence) else {
            return;
        };
        let (folder, run) = (Arc::clone(&self.folder), self.run);
        let written = spawn_blocking(move || {
            let written = folder.write(run, &copy);
            drop(writing);
            written
        });
        let written = written
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)));
        let is_kept = self.lock().spilled(sequence, written.is_ok());
        if !is_kept {
            self.folder.remove(self.run, sequence);
        }
        if let Err(error) = written {
            let error = &error as &dyn std::error::Error;
            tracing::error!(run = %self.run, error, "output could not be kept for later");
        }
        self.given.notify_waiters();
    }

    /// Waits until `look` finds something; `told` tells when to look again.
    async fn when<T>(&self, told: &Notify, mut look: impl FnMut(&Inner) -> Option<T>) -> T {
        loop {
            if let Some(found) = look(&self.lock()) {
                return found;
            }
            let mut again = std::pin::pin!(told.notified());
            // From here on no change is missed.
            again.as_mut().enable();
            if let Some(found) = look(&self.lock()) {
                return found;
            }
            again.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each change leaves it whole, whatever panics elsewhere.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the processes were held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    /// By nothing.
    No,
    /// By a caller or a disk.
    Yes,
}
