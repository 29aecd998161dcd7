//! What a run printed, for as long as somebody may still ask for it.
//!
//! A [`Spool`] holds the output of one run as the frames that travel, in the order in which the
//! processes wrote, cut into segments: the newest in memory, older ones in files of the agent's
//! [`Folder`]. Whoever hears the run reads it through a [`Cursor`], now or later.
//!
//! How much is kept:
//! - all of the output, up to [`KEEP`]; of a longer one the end, [`RESUME`] at least;
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
mod segment;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use proto::{
    frame::MAX_FRAME_LEN,
    id::RunId,
    run::{Ended, OnLinkLoss},
};
use tokio::{sync::Notify, task::spawn_blocking, time::Instant};

pub(crate) use self::{
    counts::Counts,
    cursor::{Cursor, Item},
    folder::{Folder, OpenFolderError},
};
use self::{cursor::Place, segment::Segment};

/// How much of a run's output is kept, in bytes as they travel.
pub(crate) const KEEP: u64 = 64 << 20;

/// How much is kept behind a caller's cursor: what was handed to the link and may be lost with it.
///
/// A stream's flow control allows 4 MiB that the caller has not read, and what it has read may still
/// wait in a daemon; a frame may be cut anywhere.
pub(crate) const RESUME: u64 = (8 << 20) + MAX_FRAME_LEN as u64;

/// Segments beyond this much memory go to files.
const MEMORY: u64 = 1 << 20;

/// Memory at which the processes wait for the disk.
const MEMORY_LIMIT: u64 = RESUME + (4 << 20);

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

#[derive(Debug)]
struct Inner {
    /// The oldest first. The last one is open while the run goes on, and in memory.
    segments: VecDeque<Segment>,
    end: Counts,
    /// Bytes of frames so far.
    position: u64,
    on_link_loss: OnLinkLoss,
    caller: Caller,
    ended: Option<Ended>,
    /// The disk failed: nothing more goes to files.
    unkept: bool,
}

/// Who the run is for, at this moment.
#[derive(Debug)]
struct Caller {
    ticket: Ticket,
    /// Since when nobody is there.
    away_since: Option<Instant>,
    /// Up to where its stream was given the output.
    position: u64,
    /// How many wait to be the caller when nobody is. With one of them the run is no orphan.
    waiting: usize,
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

impl Inner {
    fn append(&mut self, frame: Bytes, folder: &Folder, run: RunId) {
        let len = frame.len() as u64;
        if self.segments.back().is_none_or(Segment::is_sealed) {
            let sequence = self.segments.back().map_or(0, |last| last.sequence + 1);
            let begun = Segment::begin(sequence, self.position, self.end);
            self.segments.push_back(begun);
        }
        if let Some(open) = self.segments.back_mut() {
            open.push(frame);
            self.end = open.end;
        }
        self.position += len;
        self.trim(folder, run);
    }

    /// Drops what is too old to be kept.
    fn trim(&mut self, folder: &Folder, run: RunId) {
        let (keep, needed) = (self.keep(), self.needed());
        while self.segments.len() > 1 {
            let Some(oldest) = self.segments.front() else {
                return;
            };
            if self.position - oldest.at <= keep || oldest.at + oldest.len > needed {
                return;
            }
            if oldest.is_in_file() {
                folder.remove(run, oldest.sequence);
            }
            self.segments.pop_front();
        }
    }

    /// How much is kept for later. A long output is not written to files while its caller keeps up:
    /// that would cost a stream of gigabytes a third of its speed.
    const fn keep(&self) -> u64 {
        if self.unkept || self.is_bulk() {
            RESUME
        } else {
            KEEP
        }
    }

    const fn is_bulk(&self) -> bool {
        self.position > KEEP && self.caller.away_since.is_none()
    }

    /// The first byte that may not be dropped.
    const fn needed(&self) -> u64 {
        match (self.on_link_loss, self.caller.away_since) {
            (OnLinkLoss::Detach, Some(_)) => self.position,
            (OnLinkLoss::End | OnLinkLoss::Keep { .. } | OnLinkLoss::Detach, _) => {
                self.caller.position.saturating_sub(RESUME)
            }
        }
    }

    fn has_room(&self) -> bool {
        if self.memory() >= MEMORY_LIMIT {
            return false;
        }
        match (self.on_link_loss, self.caller.away_since) {
            // What is read while the link is full only comes in smaller pieces.
            (_, None) => self.position <= self.caller.position,
            (OnLinkLoss::Detach, Some(_)) => true,
            (OnLinkLoss::End | OnLinkLoss::Keep { .. }, Some(_)) => {
                let oldest = self
                    .segments
                    .front()
                    .map_or(self.position, |first| first.at);
                self.position - oldest < self.keep()
            }
        }
    }

    fn in_memory(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| !segment.is_in_file())
    }

    fn memory(&self) -> u64 {
        // The newest ones; a segment is a mebibyte, so these are few.
        let newest = self.segments.iter().rev();
        let newest = newest.take_while(|segment| !segment.is_in_file());
        newest.map(|segment| segment.len).sum()
    }

    fn to_spill(&self) -> Option<u64> {
        if self.unkept || self.is_bulk() || self.memory() <= MEMORY {
            return None;
        }
        let oldest = self.in_memory().next()?;
        oldest.is_sealed().then_some(oldest.sequence)
    }

    fn copy(&self, sequence: u64) -> Option<Segment> {
        let segment = self.segments.iter().find(|one| one.sequence == sequence)?;
        Some(segment.clone())
    }

    /// Takes note of what became of a segment's file; false if nobody needs it any more.
    fn spilled(&mut self, sequence: u64, written: bool) -> bool {
        if !written {
            self.unkept = true;
            return true;
        }
        let segment = self
            .segments
            .iter_mut()
            .find(|one| one.sequence == sequence);
        let is_there = segment.is_some();
        if let Some(segment) = segment {
            segment.moved_to_file();
        }
        is_there
    }

    fn kept(&self) -> (Range<u64>, u64) {
        match (self.segments.front(), self.segments.back()) {
            (Some(first), Some(last)) => {
                (first.sequence..last.sequence + 1, self.position - first.at)
            }
            (_, _) => (0..0, 0),
        }
    }

    /// How long the run may go on without a caller, and since when it does.
    const fn orphan_limit(&self) -> Option<(Duration, Instant)> {
        let Some(since) = self.caller.away_since else {
            return None;
        };
        if self.caller.waiting > 0 {
            return None;
        }
        match self.on_link_loss {
            OnLinkLoss::End => Some((Duration::ZERO, since)),
            OnLinkLoss::Keep { orphan_ms } => Some((Duration::from_millis(orphan_ms), since)),
            OnLinkLoss::Detach => None,
        }
    }

    fn place(&self, sequence: u64) -> Place<'_> {
        match self.segments.front() {
            Some(first) if sequence < first.sequence => Place::Dropped(first),
            Some(first) => {
                let index = usize::try_from(sequence - first.sequence).unwrap_or(usize::MAX);
                self.segments.get(index).map_or(Place::Ahead, Place::Here)
            }
            None => Place::Ahead,
        }
    }
}
