//! One stream in the hands of a test: raw bytes or frames out, frames in.

use bytes::{Bytes, BytesMut};
use proto::{
    codec::{DecodeError, Decoder, encode},
    frame::Frame,
};
use quinn::{ConnectionError, ReadError, RecvStream, SendStream, WriteError};
use tokio::runtime::Handle;

use super::wait;

/// A bidirectional stream of a [`Peer`](super::Peer).
#[derive(Debug)]
pub struct Wire {
    handle: Handle,
    send: SendStream,
    reader: Reader,
}

/// What ended a stream before its end.
#[derive(Debug)]
pub enum Broken {
    /// The link is closed.
    Link(ConnectionError),
    /// The agent reset the stream.
    Reset(u64),
    /// The agent sent what is no frame.
    Decode(DecodeError),
}

impl Wire {
    pub(super) fn new(handle: Handle, send: SendStream, recv: RecvStream) -> Self {
        Self {
            handle,
            send,
            reader: Reader::new(recv),
        }
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The agent takes no more.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        wait(&self.handle, self.send.write_all(bytes))
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The agent takes no more.
    #[track_caller]
    pub fn send_frame(&mut self, frame: &Frame) -> Result<(), WriteError> {
        self.send(&bytes_of(frame))
    }

    /// Ends this half.
    pub fn finish(&mut self) {
        // An error says that the agent has stopped reading, which ends this half as well.
        drop(self.send.finish());
    }

    /// Returns the next frame, and `None` at the end of the stream.
    ///
    /// # Errors
    /// The stream broke.
    #[track_caller]
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator could not say how the stream broke and go on"
    )]
    pub fn next(&mut self) -> Result<Option<Frame>, Broken> {
        wait(&self.handle, self.reader.next())
    }

    /// Returns all frames up to the end of the stream.
    ///
    /// # Errors
    /// The stream broke.
    #[track_caller]
    pub fn rest(&mut self) -> Result<Vec<Frame>, Broken> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next()? {
            frames.push(frame);
        }
        Ok(frames)
    }
}

/// Returns the bytes of a frame.
///
/// # Panics
/// When it is longer than its kind allows.
#[must_use]
#[track_caller]
fn bytes_of(frame: &Frame) -> Bytes {
    let mut bytes = BytesMut::new();
    match encode(frame, &mut bytes) {
        Ok(()) => bytes.freeze(),
        Err(error) => panic!("{error}"),
    }
}

/// Turns what arrives into frames.
#[derive(Debug)]
pub(super) struct Reader {
    recv: RecvStream,
    decoder: Decoder,
    input: Bytes,
}

impl Reader {
    pub(super) fn new(recv: RecvStream) -> Self {
        Self {
            recv,
            decoder: Decoder::default(),
            input: Bytes::new(),
        }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Frame>, Broken> {
        loop {
            if let Some(frame) = self.decoder.next(&mut self.input)? {
                return Ok(Some(frame));
            }
            match self.recv.read_chunk(64 << 10, true).await? {
                Some(chunk) => self.input = chunk.bytes,
                None => return Ok(None),
            }
        }
    }
}

impl From<ConnectionError> for Broken {
    fn from(error: ConnectionError) -> Self {
        Self::Link(error)
    }
}

impl From<DecodeError> for Broken {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl From<ReadError> for Broken {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::ConnectionLost(error) => Self::Link(error),
            ReadError::Reset(code) => Self::Reset(code.into_inner()),
            ReadError::ClosedStream
            | ReadError::IllegalOrderedRead
            | ReadError::ZeroRttRejected => {
                unreachable!("streams are read in order, and not after their end: {error}")
            }
        }
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Link(error) => write!(f, "the link is closed: {error}"),
            Self::Reset(code) => write!(f, "the stream was reset: {code}"),
            Self::Decode(error) => write!(f, "no frame: {error}"),
        }
    }
}
