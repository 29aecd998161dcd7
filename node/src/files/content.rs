//! The way of a file's content between a disk and a stream.
//!
//! A disk may be slow or hang, and a node's runtime has one thread: reading, writing and SHA-256 are
//! the business of a blocking thread for each file, a bounded queue away. A full queue is the
//! back-pressure: the disk waits for the network, or the network for the disk.
//!
//! **Invariant:** a frame that was begun is sent whole, or its stream is of no further use.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use proto::{
    codec::{HEADER_LEN, header},
    file::{FileFault, FileRefusal, FileTime, Start, Sum},
    frame::{Frame, FrameKind},
};
use quinn::SendStream;
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
};
use tokio_util::sync::DropGuard;

use super::{
    partial::{Finish, Finished, Partial},
    source::Source,
};
use crate::link::{FrameReader, ReadFrameError, SendFrameError, send_frame};

/// Pieces of up to 256 KiB between a disk and a stream: 2 MiB for each file, which outlasts the
/// pauses of a disk that is written back.
const QUEUE: usize = 8;

/// How far copies have come; shared by all files of one command.
#[derive(Debug, Default)]
pub struct Meter {
    expected: AtomicU64,
    moved: AtomicU64,
}

impl Meter {
    /// Adds to what is to be moved.
    pub fn expect(&self, bytes: u64) {
        self.expected.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns how many bytes are to be moved, as far as is known.
    #[must_use]
    pub fn expected(&self) -> u64 {
        self.expected.load(Ordering::Relaxed)
    }

    /// Returns how many bytes went over the mesh.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) {
        self.moved.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// What a reading thread says.
enum Read {
    Start(Start),
    Piece(Bytes),
    End(Sum),
}

/// Why content was not sent.
#[derive(Debug)]
pub(crate) enum SendContentError {
    /// It cannot be read.
    File(FileFault),
    /// Nobody takes it.
    Stream(SendFrameError),
    /// The thread broke.
    Broken,
}

/// Sends all of `source` behind what the receiver `held`: its start, its bytes and its sum.
pub(crate) async fn send(
    stream: &mut SendStream,
    mut source: Source,
    held: Sum,
    meter: &Meter,
) -> Result<(u64, Sum), SendContentError> {
    let (to, mut from) = mpsc::channel(QUEUE);
    let reading = spawn_blocking(move || {
        let offset = source.skip(held)?;
        let mut goes_on = to.blocking_send(Read::Start(Start { offset })).is_ok();
        while goes_on {
            let Some(piece) = source.next()? else {
                // A receiver that is gone has its own reasons.
                drop(to.blocking_send(Read::End(source.sum())));
                break;
            };
            goes_on = to.blocking_send(Read::Piece(piece)).is_ok();
        }
        Ok(())
    });
    let (mut offset, mut sum) = (0, None);
    while let Some(read) = from.recv().await {
        let sent = match read {
            Read::Start(start) => {
                offset = start.offset;
                send_frame(stream, &Frame::FileStart(start)).await
            }
            Read::Piece(piece) => {
                meter.add(piece.len());
                send_piece(stream, piece).await
            }
            Read::End(end) => {
                sum = Some(end);
                send_frame(stream, &Frame::FileEnd(end)).await
            }
        };
        sent.map_err(SendContentError::Stream)?;
    }
    match (reading.await, sum) {
        (Ok(Ok(())), Some(sum)) => Ok((offset, sum)),
        (Ok(Err(fault)), _) => Err(SendContentError::File(fault)),
        (Ok(Ok(())), None) | (Err(_), _) => Err(SendContentError::Broken),
    }
}

/// Sends one frame of content without copying it.
async fn send_piece(stream: &mut SendStream, piece: Bytes) -> Result<(), SendFrameError> {
    const { assert!(super::source::PIECE + HEADER_LEN <= proto::frame::MAX_FRAME_LEN as usize) };
    let kind = FrameKind::FileBytes;
    let header = Bytes::copy_from_slice(&header(kind, piece.len()));
    stream
        .write_all_chunks(&mut [header, piece])
        .await
        .map_err(|source| SendFrameError::Stream { kind, source })
}

/// What came of receiving a file.
#[derive(Debug)]
pub(crate) enum Received {
    /// All of it, under its final name; the first part was here already.
    Whole {
        /// How much was here.
        offset: u64,
        /// What it is.
        sum: Sum,
    },
    /// It cannot be written.
    File(FileFault),
    /// The sender gave up, and said why.
    Refused(Box<FileRefusal>),
    /// The sender does not follow the protocol.
    Violation,
    /// The stream ended; what came is kept.
    Lost(Option<ReadFrameError>),
    /// The thread broke.
    Broken,
}

/// What a writing thread is told.
enum Write {
    Start(u64),
    Piece(Bytes),
    End(Finish),
    /// None of it is to be believed.
    Spoilt,
}

/// What is known of a file before its content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Last {
    /// Its permission bits.
    pub(crate) mode: u16,
    /// Its time, if it is set.
    pub(crate) modified: Option<FileTime>,
    /// How long it may be: who says a length must not fill a disk beyond it.
    pub(crate) most: u64,
}

/// Receives a file into `partial`. `released` is dropped when `partial` is closed, whatever becomes
/// of the caller.
///
/// # Cancel safety
/// Dropped, it leaves what came as a broken copy does.
pub(crate) async fn receive(
    frames: &mut FrameReader,
    partial: Partial,
    last: Last,
    meter: &Meter,
    released: Option<DropGuard>,
) -> Received {
    let held = partial.held().bytes;
    let (to, from) = mpsc::channel(QUEUE);
    let (to_result, written) = oneshot::channel();
    spawn_blocking(move || {
        let written = write(partial, from);
        drop(released);
        let (written, replaced) = match written {
            Ok(Some(Finished { sum, replaced })) => (Ok(Some(sum)), replaced),
            Ok(None) => (Ok(None), None),
            Err(fault) => (Err(fault), None),
        };
        // Nobody may wait for it any more.
        drop(to_result.send(written));
        drop(replaced);
    });
    let (mut offset, mut len, mut has_started) = (0, 0, false);
    loop {
        let write = match frames.next().await {
            Ok(Some(Frame::FileStart(start)))
                if !has_started && (start.offset == 0 || start.offset == held) =>
            {
                (offset, len, has_started) = (start.offset, start.offset, true);
                Write::Start(offset)
            }
            Ok(Some(Frame::FileBytes(piece))) if has_started => {
                meter.add(piece.len());
                len += piece.len() as u64;
                match len > last.most {
                    true => Write::Spoilt,
                    false => Write::Piece(piece),
                }
            }
            Ok(Some(Frame::FileEnd(sum))) if has_started => Write::End(Finish {
                sum,
                mode: last.mode,
                modified: last.modified,
            }),
            Ok(Some(Frame::FileRefused(refusal))) => return Received::Refused(refusal),
            Ok(Some(_)) => Write::Spoilt,
            Ok(None) => return Received::Lost(None),
            Err(error) => return Received::Lost(Some(error)),
        };
        let is_end = matches!(write, Write::End(_) | Write::Spoilt);
        // A writer that is gone says why below.
        if to.send(write).await.is_err() || is_end {
            break;
        }
    }
    match written.await {
        Ok(Ok(Some(sum))) => Received::Whole { offset, sum },
        Ok(Ok(None)) => Received::Violation,
        Err(_) => Received::Broken,
        Ok(Err(fault)) => Received::File(fault),
    }
}

/// Writes what comes; `None` if its end does not come, or its sender breaks the protocol.
fn write(
    mut partial: Partial,
    mut from: mpsc::Receiver<Write>,
) -> Result<Option<Finished>, FileFault> {
    while let Some(next) = from.blocking_recv() {
        match next {
            Write::Piece(piece) => partial.write(&piece)?,
            Write::Start(offset) => partial.start_at(offset)?,
            Write::End(finish) => return partial.finish(finish).map(Some),
            Write::Spoilt => {
                partial.spoil();
                return Ok(None);
            }
        }
    }
    Ok(None)
}
