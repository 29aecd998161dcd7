//! Standard input on its way to a run, over whatever stream the run has at the moment.
//!
//! A link that breaks loses what was under way. The agent counts what the process took, so what may be
//! lost is kept here until it is too far back to be asked for again.
//!
//! **Invariant:** the process takes each byte once and in order, whatever breaks; the end is said only
//! after all of it. Guarded by the tests of this module and the `attach` scenarios.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use proto::{
    codec::{HEADER_LEN, encode, header},
    frame::{Frame, FrameKind, Resize},
};
use quinn::SendStream;
use tokio::sync::mpsc;

/// The most standard input that one frame carries.
const CHUNK: usize = 64 << 10;

/// Pieces between whoever reads the input and the stream.
const QUEUE: usize = 4;

/// How much is kept for another stream: an agent may hold 2 MiB that it has not read, and 256 KiB
/// that it has not written.
const REPLAY: usize = 4 << 20;

/// The way to the standard input of a run's process.
#[derive(Debug)]
pub struct StdinSender {
    pieces: mpsc::Sender<Piece>,
}

#[derive(Debug)]
enum Piece {
    Bytes(Bytes),
    Resize(Resize),
    End,
}

/// The process takes no more standard input, or the run is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the run takes no more standard input")]
pub struct StdinClosed;

impl StdinSender {
    /// Sends bytes, and waits while the process does not read.
    ///
    /// # Errors
    /// Nobody takes them any more.
    pub async fn send(&mut self, mut bytes: Bytes) -> Result<(), StdinClosed> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(CHUNK));
            let sent = self.pieces.send(Piece::Bytes(piece)).await;
            sent.map_err(|_| StdinClosed)?;
        }
        Ok(())
    }

    /// Gives the run's terminal another size.
    ///
    /// # Errors
    /// Nobody takes it any more.
    pub async fn resize(&mut self, size: Resize) -> Result<(), StdinClosed> {
        let sent = self.pieces.send(Piece::Resize(size)).await;
        sent.map_err(|_| StdinClosed)
    }

    /// Says that standard input is complete; a terminal is hung up.
    pub async fn finish(self) {
        // If nobody listens, nobody needs to know.
        drop(self.pieces.send(Piece::End).await);
    }
}

/// The run's end of standard input.
#[derive(Debug)]
pub(super) struct Feed {
    pieces: mpsc::Receiver<Piece>,
    /// What was sent lately, the oldest first.
    replay: VecDeque<Bytes>,
    replay_len: usize,
    /// Bytes of input that came so far.
    came: u64,
    /// The last size of the terminal, which another stream is told first.
    size: Option<Resize>,
    /// Bytes that come next and that the process has.
    skip: u64,
    /// Whether all of it came.
    complete: bool,
    stream: Option<SendStream>,
    /// Written to the stream in this order.
    pending: VecDeque<Bytes>,
    /// Whether the stream was told that the input is complete.
    told: bool,
}

impl Feed {
    /// Opens a way for input over `stream`.
    pub(super) fn open(stream: SendStream) -> (StdinSender, Self) {
        let (sender, pieces) = mpsc::channel(QUEUE);
        let feed = Self {
            pieces,
            replay: VecDeque::new(),
            replay_len: 0,
            came: 0,
            size: None,
            skip: 0,
            complete: false,
            stream: Some(stream),
            pending: VecDeque::new(),
            told: false,
        };
        (StdinSender { pieces: sender }, feed)
    }

    /// Goes on over another stream, where the process took `from` bytes so far; `None` if it takes no
    /// more.
    ///
    /// # Errors
    /// The agent asks for bytes that are too far back.
    pub(super) fn resume(&mut self, stream: SendStream, from: Option<u64>) -> Result<(), InputGap> {
        self.pending.clear();
        self.told = false;
        let Some(from) = from else {
            self.close();
            return Ok(());
        };
        let gap = InputGap {
            from,
            came: self.came,
        };
        let oldest = self.came - self.replay_len as u64;
        let mut skip = from.checked_sub(oldest).ok_or(gap)?;
        // Another caller of the same request gave so much of the same input before.
        self.skip = from.saturating_sub(self.came);
        if let Some(size) = self.size {
            self.pending.push_back(resize(size));
        }
        for piece in &self.replay {
            let len = piece.len() as u64;
            if skip >= len {
                skip -= len;
                continue;
            }
            let rest = piece.slice(usize::try_from(skip).unwrap_or_default()..);
            skip = 0;
            self.pending.push_back(head(rest.len()));
            self.pending.push_back(rest);
        }
        self.stream = Some(stream);
        Ok(())
    }

    /// Takes no more input.
    pub(super) fn close(&mut self) {
        self.pieces.close();
        self.stream = None;
        self.pending.clear();
    }

    /// Takes the news that the stream is gone; another may come.
    pub(super) fn lost(&mut self) {
        self.stream = None;
    }

    /// Sends input for as long as it is polled.
    ///
    /// # Cancel safety
    /// Nothing is lost or sent twice when this is dropped.
    pub(super) async fn pump(&mut self) {
        loop {
            if !self.write_pending().await {
                self.stream = None;
            }
            if self.stream.is_none() {
                return std::future::pending().await;
            }
            if self.complete {
                if !self.told {
                    self.told = true;
                    let end = header(FrameKind::StdinEnd, 0);
                    self.pending.push_back(Bytes::copy_from_slice(&end));
                    continue;
                }
                if let Some(mut stream) = self.stream.take() {
                    // Fails only if the stream is closed, which reading shows.
                    drop(stream.finish());
                }
                continue;
            }
            match self.pieces.recv().await {
                Some(Piece::Bytes(piece)) => self.take(piece),
                Some(Piece::Resize(size)) => {
                    self.size = Some(size);
                    self.pending.push_back(resize(size));
                }
                Some(Piece::End) => self.complete = true,
                // Broken off: whoever does that cancels the run.
                None => return std::future::pending().await,
            }
        }
    }

    fn take(&mut self, piece: Bytes) {
        self.came += piece.len() as u64;
        self.replay_len += piece.len();
        self.replay.push_back(piece.clone());
        while let Some(oldest) = self.replay.front()
            && self.replay_len - oldest.len() >= REPLAY
        {
            self.replay_len -= oldest.len();
            self.replay.pop_front();
        }
        let known = usize::try_from(self.skip)
            .unwrap_or(usize::MAX)
            .min(piece.len());
        self.skip -= known as u64;
        let rest = piece.slice(known..);
        if !rest.is_empty() {
            self.pending.push_back(head(rest.len()));
            self.pending.push_back(rest);
        }
    }

    /// Writes what is pending; false if the stream takes no more.
    async fn write_pending(&mut self) -> bool {
        while let (Some(piece), Some(stream)) = (self.pending.front_mut(), &mut self.stream) {
            match stream.write(piece).await {
                Ok(len) if len == piece.len() => drop(self.pending.pop_front()),
                Ok(len) => drop(piece.split_to(len)),
                Err(_) => return false,
            }
        }
        true
    }
}

fn resize(size: Resize) -> Bytes {
    let mut bytes = BytesMut::new();
    let fits = encode(&Frame::Resize(size), &mut bytes);
    fits.expect("two numbers are shorter than any limit");
    bytes.freeze()
}

fn head(len: usize) -> Bytes {
    let head: [u8; HEADER_LEN] = header(FrameKind::Stdin, len);
    Bytes::copy_from_slice(&head)
}

/// The agent asks for input that this caller cannot give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the agent asks for standard input from byte {from}, of {came} that came")]
pub struct InputGap {
    /// From where it asks.
    pub from: u64,
    /// How much there was.
    pub came: u64,
}
