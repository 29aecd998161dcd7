//! The callee's half of a run: what the caller may say, and when.

use bytes::Bytes;

use super::StdinMode;
use crate::frame::{Frame, FrameKind};

/// What may still come from the caller on a run's stream, after its first frame.
///
/// ```text
/// stdin open ─StdinEnd─► stdin closed
/// ```
///
/// When the run is over, the agent stops reading. A cancellation comes on a stream of its own.
#[derive(Debug)]
pub struct CalleeRun {
    stdin: StdinMode,
}

/// What a frame from the caller means to the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Bytes for standard input.
    Stdin(Bytes),
    /// Standard input is complete.
    StdinEnd,
}

/// A frame that an honest caller would not have sent at this point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the controller sent {got:?} out of turn")]
pub struct CalleeViolation {
    /// What it sent.
    pub got: FrameKind,
}

impl CalleeRun {
    /// Begins when the request has arrived, or somebody attached while the process takes such input.
    #[must_use]
    pub const fn reading(stdin: StdinMode) -> Self {
        Self { stdin }
    }

    /// Takes the caller's next frame.
    ///
    /// # Errors
    /// The frame is illegal here; the stream is of no use afterwards.
    pub fn handle_frame(&mut self, frame: Frame) -> Result<Input, CalleeViolation> {
        let got = frame.kind();
        match (self.stdin, frame) {
            (StdinMode::Piped, Frame::Stdin(bytes)) => Ok(Input::Stdin(bytes)),
            (StdinMode::Piped, Frame::StdinEnd) => {
                self.stdin = StdinMode::Closed;
                Ok(Input::StdinEnd)
            }
            (StdinMode::Piped | StdinMode::Closed, _) => Err(CalleeViolation { got }),
        }
    }
}
