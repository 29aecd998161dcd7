//! One connection between the command line and the daemon.
//!
//! Reading and writing need no exclusive hold, so that both halves can be used from one task.

use std::{io, marker::PhantomData, sync::Arc};

use bytes::BytesMut;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::protocol::{Frame, Malformed, decode};

/// How much is read at once.
const READ: usize = 64 << 10;

/// Why nothing more can be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The connection broke.
    #[error("read from the daemon's socket")]
    Broken(#[source] io::Error),
    /// It was cut within a frame.
    #[error("the connection ended within a message")]
    CutShort,
    /// The other end is no program of this version.
    #[error("what came over the daemon's socket makes no sense")]
    Malformed(#[source] Malformed),
}

/// Reads what the other end says.
#[derive(Debug)]
pub(super) struct Reader<M> {
    stream: Arc<UnixStream>,
    input: BytesMut,
    says: PhantomData<fn() -> M>,
}

impl<M: DeserializeOwned> Reader<M> {
    pub(super) fn new(stream: Arc<UnixStream>) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            says: PhantomData,
        }
    }

    /// Returns the next frame, and `None` at the end of the connection.
    ///
    /// # Cancel safety
    /// Nothing that was read is lost when this is dropped.
    pub(super) async fn next(&mut self) -> Result<Option<Frame<M>>, ReadError> {
        loop {
            if let Some(frame) = decode(&mut self.input).map_err(ReadError::Malformed)? {
                return Ok(Some(frame));
            }
            self.input.reserve(READ);
            match self.stream.try_read_buf(&mut self.input) {
                Ok(0) if self.input.is_empty() => return Ok(None),
                Ok(0) => return Err(ReadError::CutShort),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stream.readable().await.map_err(ReadError::Broken)?;
                }
                Err(error) if is_gone(&error) => return Ok(None),
                Err(error) => return Err(ReadError::Broken(error)),
            }
        }
    }
}

/// Tells whether this is only the end of the other process, which may show in several ways.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

/// Writes some of `out`, and takes it from there.
///
/// # Cancel safety
/// What was written is no longer in `out`, whenever this is dropped.
pub(super) async fn write_some(stream: &UnixStream, out: &mut BytesMut) -> io::Result<()> {
    loop {
        match stream.try_write(out) {
            Ok(len) => {
                drop(out.split_to(len));
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
}

/// Writes all of `out`.
pub(super) async fn write_all(stream: &UnixStream, out: &mut BytesMut) -> io::Result<()> {
    while !out.is_empty() {
        write_some(stream, out).await?;
    }
    Ok(())
}
