//! A run's standard input, from its caller's stream into the process's pipe.
//!
//! **Invariant:** the process reads the end of its input only if the caller said that it is complete.
//! A link that breaks in the middle of a file must not look like the file's end.

use std::convert::Infallible;

use proto::run::{CalleeRun, CalleeViolation, Input as Heard};

use super::live::Stdin;
use crate::link::{FrameReader, ReadFrameError};

/// What a controller may not send.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    #[error(transparent)]
    Violation(#[from] CalleeViolation),
    #[error(transparent)]
    Decode(ReadFrameError),
}

/// Feeds the process for as long as this is polled; returns only when the caller breaks the protocol.
pub(super) async fn feed(
    frames: &mut FrameReader,
    state: &mut CalleeRun,
    stdin: &mut Stdin,
) -> Result<Infallible, InputError> {
    loop {
        match frames.next().await {
            Ok(Some(frame)) => match state.handle_frame(frame)? {
                Heard::Stdin(bytes) => stdin.write(&bytes).await,
                Heard::StdinEnd => stdin.close(),
                Heard::Resize(size) => stdin.resize(size),
            },
            // Gone without the word that the input is complete: the process must not take what came
            // for the whole. The link's own end is seen elsewhere.
            Ok(None) | Err(ReadFrameError::Stream { .. }) => {
                std::future::pending::<()>().await;
            }
            Err(error @ (ReadFrameError::Decode(_) | ReadFrameError::CutShort)) => {
                return Err(InputError::Decode(error));
            }
        }
    }
}
