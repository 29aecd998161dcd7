//! Output that waits for its reader, out of the link's hands.
//!
//! What is left unread in the link is kept there packet by packet, and quinn gives a link up whose
//! stream has more than a thousand of them (`too many gaps in stream buffer`), though nothing is
//! missing: a pager that nobody scrolls would cost the run. So when the reader stalls, the link is
//! read on, into this, and soon its window is shut (see [`Backlog::is_long`]); what was under way
//! before that still comes.

use std::{collections::VecDeque, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, sleep_until};

use super::Stream;

/// How long output waits for its reader before more of it is read from the link: no time in which
/// the link could fill with pieces, and more than a reader that keeps up needs.
const STALL: Duration = Duration::from_millis(5);

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Where the link is asked to hold back. It may go on at half of it, before the reader runs dry.
    long: usize,
    /// Where reading stops altogether: more than a link can have under way.
    full: usize,
}

impl Bounds {
    /// For the only run of this process.
    pub(crate) const ONE: Self = Self {
        long: 4 << 20,
        full: 24 << 20,
    };

    /// For one of many: little, besides what the link had under way, which always has room.
    pub(crate) const MANY: Self = Self {
        long: 256 << 10,
        full: Self::ONE.full,
    };
}

/// Pieces are gathered up to this, so that many small ones cost no more than their bytes.
const GATHERED: usize = 64 << 10;

/// Output in its order, as it came.
#[derive(Debug)]
pub(crate) struct Backlog {
    bounds: Bounds,
    /// The oldest piece: the only one, while its reader keeps up, and so not copied.
    next: Option<(Stream, Bytes)>,
    /// Since when the first of what is here waits.
    since: Option<Instant>,
    /// Whether the reader has stalled.
    reads_on: bool,
    pieces: VecDeque<(Stream, BytesMut)>,
    len: usize,
}

impl Backlog {
    pub(crate) const fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            next: None,
            since: None,
            reads_on: false,
            pieces: VecDeque::new(),
            len: 0,
        }
    }

    /// Adds a piece.
    pub(crate) fn push(&mut self, stream: Stream, piece: Bytes) {
        self.len += piece.len();
        if self.next.is_none() {
            self.since = Some(Instant::now());
            self.next = Some((stream, piece));
            return;
        }
        match self.pieces.back_mut() {
            Some((last, gathered))
                if *last == stream && gathered.len() + piece.len() <= GATHERED =>
            {
                gathered.extend_from_slice(&piece);
            }
            Some(_) | None => self.pieces.push_back((stream, BytesMut::from(&piece[..]))),
        }
    }

    /// Takes the oldest piece.
    pub(crate) fn pop(&mut self) -> Option<(Stream, Bytes)> {
        let taken = self.next.take()?;
        let following = self.pieces.pop_front();
        self.next = following.map(|(stream, piece)| (stream, piece.freeze()));
        self.len -= taken.1.len();
        if self.next.is_none() {
            self.clear();
        }
        Some(taken)
    }

    /// Waits until the reader has stalled; for ever if it keeps up, or is known to have stalled.
    pub(crate) async fn stall(&self) {
        match self.since {
            Some(since) if !self.reads_on => sleep_until(since + STALL).await,
            Some(_) | None => std::future::pending().await,
        }
    }

    /// Takes more from now on, until all of it has gone to its reader.
    pub(crate) const fn read_on(&mut self) {
        self.reads_on = true;
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.bounds);
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.next.is_none()
    }

    /// Tells whether more may be added.
    pub(crate) const fn takes_more(&self) -> bool {
        self.is_empty() || (self.reads_on && self.len < self.bounds.full)
    }

    /// Tells whether the link should hold back, given whether it does so already.
    pub(crate) const fn is_long(&self, holds_back: bool) -> bool {
        let Bounds { long, .. } = self.bounds;
        self.len >= if holds_back { long / 2 } else { long }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: usize = Bounds::ONE.long;
    const SHORT: usize = LONG / 2;

    #[test]
    fn output_leaves_in_the_order_in_which_it_came() {
        let mut backlog = Backlog::new(Bounds::ONE);
        let pushed = [
            (Stream::Stdout, "a"),
            (Stream::Stdout, "b"),
            (Stream::Stdout, "c"),
            (Stream::Stderr, "d"),
            (Stream::Stdout, "e"),
        ];

        for (stream, piece) in pushed {
            backlog.push(stream, piece.into());
        }

        let popped: Vec<_> = std::iter::from_fn(|| backlog.pop()).collect();
        let expected = [
            (Stream::Stdout, "a".into()),
            (Stream::Stdout, "bc".into()),
            (Stream::Stderr, "d".into()),
            (Stream::Stdout, "e".into()),
        ];
        assert_eq!(popped, expected);
        assert!(backlog.is_empty());
    }

    #[test]
    fn many_small_pieces_are_few_large_ones() {
        let mut backlog = Backlog::new(Bounds::ONE);

        (0..LONG).for_each(|_| backlog.push(Stream::Stdout, "x".into()));

        assert!(backlog.pieces.len() <= LONG / GATHERED + 1);
        assert!(backlog.is_long(false));
    }

    #[tokio::test]
    async fn reader_that_keeps_up_is_waited_for_and_one_that_stalls_is_not() {
        let mut backlog = Backlog::new(Bounds::ONE);
        assert!(backlog.takes_more());

        backlog.push(Stream::Stdout, "x".into());
        assert!(!backlog.takes_more());
        backlog.stall().await;
        backlog.read_on();

        assert!(backlog.takes_more());
        assert!(backlog.since.is_some_and(|since| since.elapsed() >= STALL));
        let _ = backlog.pop();
        assert!(!backlog.reads_on);
    }

    #[test]
    fn link_goes_on_before_the_reader_runs_dry() {
        let mut backlog = Backlog::new(Bounds::ONE);
        let piece = Bytes::from(vec![0; GATHERED]);
        (0..LONG / GATHERED).for_each(|_| backlog.push(Stream::Stdout, piece.clone()));
        assert!(backlog.is_long(false));

        let mut popped = 0;
        while backlog.is_long(true) {
            popped += backlog.pop().map_or(0, |(_, piece)| piece.len());
        }

        assert_eq!(popped, LONG - SHORT + GATHERED);
    }
}
