//! What a spool holds, and how much of it: a state and its rules, without files or tasks.

use std::{collections::VecDeque, ops::Range, time::Duration};

use bytes::Bytes;
use proto::{
    frame::MAX_FRAME_LEN,
    id::RunId,
    run::{Ended, OnLinkLoss},
};
use tokio::time::Instant;

use super::{Counts, Folder, Ticket, cursor::Place, segment::Segment};

/// How much of a run's output is kept, in bytes as they travel.
pub(super) const KEEP: u64 = 64 << 20;

/// How much is kept behind a caller's cursor: what was handed to the link and may be lost with it.
///
/// A stream's flow control allows 4 MiB that the caller has not read, and what it has read may still
/// wait in a daemon; a frame may be cut anywhere.
pub(super) const RESUME: u64 = (8 << 20) + MAX_FRAME_LEN as u64;

/// How far the processes may be ahead of a caller that reads: as much as a pipe holds, so that reading
/// and sending do not take turns at each piece. More would only be read in smaller pieces.
const AHEAD: u64 = 64 << 10;

/// Segments beyond this much memory go to files.
pub(super) const MEMORY: u64 = 1 << 20;

/// Memory at which the processes wait for the disk.
pub(super) const MEMORY_LIMIT: u64 = RESUME + (4 << 20);

#[derive(Debug)]
pub(super) struct Inner {
    /// The oldest first. The last one is open while the run goes on, and in memory.
    pub(super) segments: VecDeque<Segment>,
    pub(super) end: Counts,
    /// Bytes of frames so far.
    pub(super) position: u64,
    pub(super) on_link_loss: OnLinkLoss,
    pub(super) caller: Caller,
    pub(super) ended: Option<Ended>,
    /// The disk failed: nothing more goes to files.
    pub(super) unkept: bool,
}

/// Who the run is for, at this moment.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) ticket: Ticket,
    /// Since when nobody is there.
    pub(super) away_since: Option<Instant>,
    /// Up to where its stream was given the output.
    pub(super) position: u64,
    /// How many wait to be the caller when nobody is. With one of them the run is no orphan.
    pub(super) waiting: usize,
}

impl Inner {
    pub(super) fn append(&mut self, frame: Bytes, folder: &Folder, run: RunId) {
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
    pub(super) fn trim(&mut self, folder: &Folder, run: RunId) {
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
    pub(super) const fn keep(&self) -> u64 {
        if self.unkept || self.is_bulk() {
            RESUME
        } else {
            KEEP
        }
    }

    pub(super) const fn is_bulk(&self) -> bool {
        self.position > KEEP && self.caller.away_since.is_none()
    }

    /// The first byte that may not be dropped.
    pub(super) const fn needed(&self) -> u64 {
        match (self.on_link_loss, self.caller.away_since) {
            (OnLinkLoss::Detach, Some(_)) => self.position,
            (OnLinkLoss::End | OnLinkLoss::Keep { .. } | OnLinkLoss::Detach, _) => {
                self.caller.position.saturating_sub(RESUME)
            }
        }
    }

    pub(super) fn has_room(&self) -> bool {
        if self.memory() >= MEMORY_LIMIT {
            return false;
        }
        match (self.on_link_loss, self.caller.away_since) {
            (_, None) => self.position.saturating_sub(self.caller.position) < AHEAD,
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

    pub(super) fn in_memory(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| !segment.is_in_file())
    }

    pub(super) fn memory(&self) -> u64 {
        // The newest ones; a segment is a mebibyte, so these are few.
        let newest = self.segments.iter().rev();
        let newest = newest.take_while(|segment| !segment.is_in_file());
        newest.map(|segment| segment.len).sum()
    }

    pub(super) fn to_spill(&self) -> Option<u64> {
        if self.unkept || self.is_bulk() || self.memory() <= MEMORY {
            return None;
        }
        let oldest = self.in_memory().next()?;
        oldest.is_sealed().then_some(oldest.sequence)
    }

    pub(super) fn copy(&self, sequence: u64) -> Option<Segment> {
        let segment = self.segments.iter().find(|one| one.sequence == sequence)?;
        Some(segment.clone())
    }

    /// Takes note of what became of a segment's file; false if nobody needs it any more.
    pub(super) fn spilled(&mut self, sequence: u64, written: bool) -> bool {
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

    pub(super) fn kept(&self) -> (Range<u64>, u64) {
        match (self.segments.front(), self.segments.back()) {
            (Some(first), Some(last)) => {
                (first.sequence..last.sequence + 1, self.position - first.at)
            }
            (_, _) => (0..0, 0),
        }
    }

    /// How long the run may go on without a caller, and since when it does.
    pub(super) const fn orphan_limit(&self) -> Option<(Duration, Instant)> {
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

    pub(super) fn place(&self, sequence: u64) -> Place<'_> {
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
