//! A run's standard input, from its stream into the process's pipe.
//!
//! **Invariant:** the process reads the end of its input only if the caller said that it is complete.
//! A link that breaks in the middle of a file must not look like the file's end.

use std::convert::Infallible;

use proto::{
    frame::Resize,
    run::{CalleeRun, CalleeViolation, Input as Heard},
};
use tokio::{io::AsyncWriteExt, net::unix::pipe::Sender};

use crate::{
    agent::process::{Terminal, TerminalSize},
    link::{FrameReader, ReadFrameError},
};

/// The standard input of one run.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) frames: FrameReader,
    pub(super) state: CalleeRun,
    pub(super) stdin: Option<Sender>,
    pub(super) terminal: Option<Terminal>,
}

/// What a controller may not send.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    #[error(transparent)]
    Violation(#[from] CalleeViolation),
    #[error(transparent)]
    Decode(ReadFrameError),
}

impl Input {
    /// Feeds the process for as long as this is polled; returns only when the caller breaks the
    /// protocol.
    pub(super) async fn feed(&mut self) -> Result<Infallible, InputError> {
        loop {
            match self.frames.next().await {
                Ok(Some(frame)) => match self.state.handle_frame(frame)? {
                    Heard::Stdin(bytes) => {
                        if let Some(stdin) = &mut self.stdin
                            && stdin.write_all(&bytes).await.is_err()
                        {
                            // The process reads no more. What follows is thrown away, as a shell's
                            // pipe does.
                            self.stdin = None;
                        }
                    }
                    Heard::StdinEnd => {
                        self.stdin = None;
                        if let Some(terminal) = &self.terminal {
                            terminal.hang_up();
                        }
                    }
                    Heard::Resize(size) => self.resize(size),
                },
                // Gone without the word that the input is complete: the process must not take what
                // came for the whole. The link's own end is seen elsewhere.
                Ok(None) | Err(ReadFrameError::Stream { .. }) => {
                    std::future::pending::<()>().await;
                }
                Err(error @ (ReadFrameError::Decode(_) | ReadFrameError::CutShort)) => {
                    return Err(InputError::Decode(error));
                }
            }
        }
    }

    fn resize(&self, Resize { columns, rows }: Resize) {
        let Some(terminal) = &self.terminal else {
            return;
        };
        if let Err(error) = terminal.resize(TerminalSize { columns, rows }) {
            tracing::warn!(%error, "a terminal keeps its size");
        }
    }
}
