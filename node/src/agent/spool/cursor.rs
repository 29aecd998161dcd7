//! Reading a spool from a byte on.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use proto::{
    codec::{HEADER_LEN, header},
    run::Ended,
};
use tokio::task::spawn_blocking;

use super::{
    Counts, Inner, Spool, Ticket,
    segment::{Segment, head},
};

/// A reader's place in a spool.
#[derive(Debug)]
pub(crate) struct Cursor {
    sequence: u64,
    /// The next frame within the segment.
    index: usize,
    /// Output before that frame.
    at: Counts,
    /// Output that the reader has.
    have: Counts,
    /// Bytes of frames before the next one.
    position: u64,
    /// The frames of this segment, where they had to be read from its file.
    loaded: Option<(u64, Arc<Vec<Bytes>>)>,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// An output frame, header and body.
    Frame(Bytes),
    /// What lies between what the reader has and this is no longer kept.
    Gap(Counts),
    /// There is no more, and the run ended like this.
    Ended(Box<Ended>),
}

/// What a spool finds at a place.
pub(super) enum Place<'a> {
    Here(&'a Segment),
    /// It was dropped; this is the oldest that is kept.
    Dropped(&'a Segment),
    /// Nothing is there yet.
    Ahead,
}

enum Step {
    Item(Item),
    /// The segment is in a file.
    Load,
    Again,
}

impl Cursor {
    /// Returns how much of both streams the reader has.
    pub(crate) const fn have(&self) -> Counts {
        self.have
    }

    /// Returns how many bytes of frames lie before what comes next.
    pub(crate) const fn position(&self) -> u64 {
        self.position
    }
}

impl Spool {
    /// Places a reader who has so much of the output already. Where that much is not kept, the place is
    /// later: see [`Cursor::have`].
    pub(crate) fn cursor(&self, have: Counts) -> Cursor {
        let inner = self.lock();
        let within = |segment: &&Segment| segment.from.is_within(have);
        let found = inner.segments.iter().rev().find(within);
        let segment = found.or_else(|| inner.segments.front());
        match segment {
            Some(segment) => Cursor {
                sequence: segment.sequence,
                index: 0,
                at: segment.from,
                have: have.max(segment.from),
                position: segment.at,
                loaded: None,
            },
            None => Cursor {
                sequence: 0,
                index: 0,
                at: inner.end,
                have: have.max(inner.end),
                position: inner.position,
                loaded: None,
            },
        }
    }

    /// Returns what comes next, and waits for it.
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped.
    pub(crate) async fn read(&self, cursor: &mut Cursor) -> Item {
        loop {
            match self.when(&self.added, |inner| inner.step(cursor)).await {
                Step::Item(item) => return item,
                Step::Load => self.load(cursor).await,
                Step::Again => {}
            }
        }
    }

    /// Takes note of how far a caller was given the output.
    pub(crate) fn given(&self, ticket: Ticket, position: u64) {
        {
            let caller = &mut self.lock().caller;
            if caller.ticket != ticket {
                return;
            }
            caller.position = position;
        }
        self.given.notify_waiters();
    }

    async fn load(&self, cursor: &mut Cursor) {
        let sequence = cursor.sequence;
        let path = self.folder.path(self.run, sequence);
        let read = spawn_blocking(move || Segment::read(sequence, &path)).await;
        let segment = match read {
            Ok(Ok(Some(segment))) => segment,
            // Taken away or spoilt while the run is on record: what is after it may still be there.
            Ok(Ok(None) | Err(_)) | Err(_) => Segment::begin(sequence, 0, cursor.at),
        };
        let frames = segment.frames().unwrap_or_default().to_vec();
        cursor.loaded = Some((sequence, Arc::new(frames)));
    }
}

impl Inner {
    fn step(&self, cursor: &mut Cursor) -> Option<Step> {
        let segment = match self.place(cursor.sequence) {
            Place::Here(segment) => segment,
            Place::Dropped(first) => return Some(cursor.jump_to(first)),
            Place::Ahead => return self.end_of_output(cursor),
        };
        let frames = match (segment.frames(), &cursor.loaded) {
            (Some(frames), _) => frames,
            (None, Some((sequence, frames))) if *sequence == segment.sequence => frames,
            (None, _) => return Some(Step::Load),
        };
        if let Some(frame) = frames.get(cursor.index) {
            return Some(cursor.pass(frame.clone()));
        }
        let is_last = self
            .segments
            .back()
            .is_some_and(|last| last.sequence == segment.sequence);
        if is_last {
            return self.end_of_output(cursor);
        }
        // A file that was spoilt ends before its segment does.
        let skipped = cursor.at != segment.end;
        cursor.advance(segment);
        let gap = skipped && !segment.end.is_within(cursor.have);
        if gap {
            cursor.have = cursor.have.max(segment.end);
            return Some(Step::Item(Item::Gap(cursor.have)));
        }
        Some(Step::Again)
    }

    fn end_of_output(&self, cursor: &mut Cursor) -> Option<Step> {
        let ended = self.ended.clone()?;
        let total = Counts::of_ended(&ended);
        if ended.result.outcome().is_some() && !total.is_within(cursor.have) {
            cursor.have = cursor.have.max(total);
            return Some(Step::Item(Item::Gap(cursor.have)));
        }
        Some(Step::Item(Item::Ended(Box::new(ended))))
    }
}

impl Cursor {
    /// Moves behind a frame, and returns of it what the reader does not have.
    fn pass(&mut self, frame: Bytes) -> Step {
        self.index += 1;
        self.position += frame.len() as u64;
        let Some((kind, len)) = head(&frame) else {
            return Step::Again;
        };
        let at = self.at.of(kind);
        let from = *at;
        *at += len as u64;
        let end = *at;
        let have = self.have.of(kind);
        if end <= *have {
            return Step::Again;
        }
        let known = usize::try_from(have.saturating_sub(from))
            .unwrap_or(len)
            .min(len);
        *have = end;
        if known == 0 {
            return Step::Item(Item::Frame(frame));
        }
        let rest = frame.slice(HEADER_LEN + known..);
        let mut cut = BytesMut::with_capacity(HEADER_LEN + rest.len());
        cut.put_slice(&header(kind, rest.len()));
        cut.put_slice(&rest);
        Step::Item(Item::Frame(cut.freeze()))
    }

    fn advance(&mut self, passed: &Segment) {
        self.sequence = passed.sequence + 1;
        self.index = 0;
        self.at = passed.end;
        self.position = passed.at + passed.len;
        self.loaded = None;
    }

    fn jump_to(&mut self, first: &Segment) -> Step {
        self.sequence = first.sequence;
        self.index = 0;
        self.at = first.from;
        self.position = first.at;
        self.loaded = None;
        if first.from.is_within(self.have) {
            return Step::Again;
        }
        self.have = self.have.max(first.from);
        Step::Item(Item::Gap(self.have))
    }
}
