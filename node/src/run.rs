//! The caller's half of a run: one stream, from the request to the outcome.
//!
//! Owns sending the request and hearing the agent. Which link, policy and display are not its
//! business; the legal order of frames is `proto`'s.
//!
//! **Invariant:** [`Run::next`] ends with an [`Outcome`], whatever happens to the link; and a request
//! that was not sent is an error of [`Run::start`], which proves that nothing was started.

use std::time::Duration;

use bytes::Bytes;
use proto::{
    codec::{EncodeError, HEADER_LEN, header},
    frame::{Cancel, Frame, FrameKind, Resize},
    id::RunId,
    run::{CallerRun, CallerViolation, Ended, Outcome, Progress, Refusal, RunRequest, StdinMode},
};
use quinn::SendStream;

use crate::{
    close::CloseCode,
    link::{DialError, FrameReader, Link, ReadFrameError, SendFrameError, send_frame},
};

/// The most standard input that one frame carries.
const STDIN_CHUNK: usize = 64 << 10;

/// A run that was asked for.
#[derive(Debug)]
pub struct Run {
    frames: FrameReader,
    state: CallerRun,
    /// The way to standard input, until somebody takes it.
    send: Option<SendStream>,
    broken: Option<BrokenRun>,
}

/// Why a request was not sent. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum StartRunError {
    /// The link broke before.
    #[error("the link broke before the request was sent")]
    Link(#[source] DialError),
    /// The request is too long for a frame.
    #[error("the command is too long to be sent")]
    TooLong(#[source] EncodeError),
}

/// What broke the stream of a run.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BrokenRun {
    /// The link was lost.
    #[error("the link was lost")]
    Link(#[source] DialError),
    /// The agent ended the stream without a word.
    #[error("the agent ended the stream before the run's end")]
    Stream,
    /// The agent sent what the protocol does not allow.
    #[error("the agent broke the protocol")]
    Violation(#[source] CallerViolation),
    /// The agent sent what is no frame.
    #[error("the agent broke the protocol: {0}")]
    Garbage(String),
}

impl Run {
    /// Sends the request.
    ///
    /// # Errors
    /// The request was not sent, which proves that nothing was started.
    pub async fn start(link: &Link, request: &RunRequest) -> Result<Self, StartRunError> {
        let (mut send, frames) = link.open().await.map_err(StartRunError::Link)?;
        let frame = Frame::Run(Box::new(request.clone()));
        match send_frame(&mut send, &frame).await {
            Ok(()) => {}
            Err(SendFrameError::Encode(error)) => return Err(StartRunError::TooLong(error)),
            // Part of it may have left, so this is no proof: the stream tells the rest.
            Err(SendFrameError::Stream { .. }) => {}
        }
        let send = match request.stdin {
            StdinMode::Piped | StdinMode::Terminal { .. } => Some(send),
            StdinMode::Closed => {
                // Fails only if the stream is closed, which reading shows.
                drop(send.finish());
                None
            }
        };
        Ok(Self {
            frames,
            state: CallerRun::sent(),
            send,
            broken: None,
        })
    }

    /// Takes the way to the process's standard input, if the request asked for one.
    pub fn take_stdin(&mut self) -> Option<StdinSender> {
        self.send.take().map(|send| StdinSender { send })
    }

    /// Returns what happens next, and `None` after the run is over; see [`Self::outcome`].
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped.
    pub async fn next(&mut self, link: &Link) -> Option<Progress> {
        if self.state.outcome().is_some() {
            return None;
        }
        let broken = match self.frames.next().await {
            Ok(Some(frame)) => match self.state.handle_frame(frame) {
                Ok(progress) => return Some(progress),
                Err(violation) => BrokenRun::Violation(violation),
            },
            Ok(None) | Err(ReadFrameError::Stream { .. }) => match link.closed() {
                Some(error) => BrokenRun::Link(error),
                None => BrokenRun::Stream,
            },
            Err(error @ (ReadFrameError::Decode(_) | ReadFrameError::CutShort)) => {
                BrokenRun::Garbage(error.to_string())
            }
        };
        self.broken = Some(broken);
        self.state.handle_lost();
        Some(Progress::Over)
    }

    /// Returns how the run ended, once it has.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.state.outcome()
    }

    /// Returns the agent's account of the end, if it gave one.
    #[must_use]
    pub fn ended(&self) -> Option<&Ended> {
        self.state.ended()
    }

    /// Returns what broke the run, if it is [`Outcome::Lost`] for want of a link.
    #[must_use]
    pub const fn broken(&self) -> Option<&BrokenRun> {
        self.broken.as_ref()
    }
}

/// The way to the standard input of a run's process.
#[derive(Debug)]
pub struct StdinSender {
    send: SendStream,
}

/// The process, or its link, takes no more standard input.
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
            let piece = bytes.split_to(bytes.len().min(STDIN_CHUNK));
            let header: [u8; HEADER_LEN] = header(FrameKind::Stdin, piece.len());
            let mut both = [Bytes::copy_from_slice(&header), piece];
            self.send
                .write_all_chunks(&mut both)
                .await
                .map_err(|_| StdinClosed)?;
        }
        Ok(())
    }

    /// Says that the process's terminal has another size. In its turn: a process that does not read
    /// what was sent before may hear of it late.
    ///
    /// # Errors
    /// Nobody takes it any more.
    pub async fn resize(&mut self, size: Resize) -> Result<(), StdinClosed> {
        let frame = Frame::Resize(size);
        send_frame(&mut self.send, &frame)
            .await
            .map_err(|_| StdinClosed)
    }

    /// Says that standard input is complete; a terminal is hung up.
    pub async fn finish(mut self) {
        // If nobody listens, nobody needs to know.
        drop(send_frame(&mut self.send, &Frame::StdinEnd).await);
        drop(self.send.finish());
    }
}

/// Why a cancellation is not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    /// The agent knows no such run in progress.
    #[error("{0}")]
    Refused(Refusal),
    /// The link was lost.
    #[error("the link was lost")]
    Link(#[source] DialError),
    /// The agent broke the protocol.
    #[error("the agent does not answer as the protocol asks")]
    Violation,
}

/// Ends a run and all its processes, and waits for the agent's word that they are gone.
///
/// # Errors
/// The agent did not say so.
pub async fn cancel(link: &Link, run: RunId, grace: Duration) -> Result<Ended, CancelError> {
    let lost = |_| match link.closed() {
        Some(error) => CancelError::Link(error),
        None => CancelError::Violation,
    };
    let (mut send, mut frames) = link.open().await.map_err(CancelError::Link)?;
    let grace_ms = u32::try_from(grace.as_millis()).unwrap_or(u32::MAX);
    let frame = Frame::Cancel(Cancel { run, grace_ms });
    send_frame(&mut send, &frame)
        .await
        .map_err(|_| ())
        .map_err(lost)?;
    drop(send.finish());
    match frames.next().await.map_err(|_| ()).map_err(lost)? {
        Some(Frame::Ended(ended)) => Ok(ended),
        Some(Frame::Refused(refusal)) => Err(CancelError::Refused(refusal)),
        Some(_) => {
            link.close(CloseCode::ProtocolViolation);
            Err(CancelError::Violation)
        }
        None => Err(lost(())),
    }
}
