//! The callee's half of a run: what the caller may say, and when.

use bytes::Bytes;

use super::StdinMode;
use crate::frame::{Frame, FrameKind, Resize};

/// What may still come from the caller on a run's stream, after its first frame.
///
/// ```text
/// stdin open ─StdinEnd─► stdin closed
/// ```
///
/// While standard input is an open terminal, its size may come at any time. When the run is over, the
/// agent stops reading. A cancellation comes on a stream of its own.
#[derive(Debug)]
pub struct CalleeRun {
    stdin: Stdin,
}

/// What standard input is at this point.
#[derive(Debug, Clone, Copy)]
enum Stdin {
    Closed,
    Piped,
    Terminal,
}

/// What a frame from the caller means to the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Bytes for standard input.
    Stdin(Bytes),
    /// Standard input is complete; a terminal is hung up.
    StdinEnd,
    /// The terminal has another size.
    Resize(Resize),
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
    pub const fn reading(stdin: &StdinMode) -> Self {
        let stdin = match stdin {
            StdinMode::Closed => Stdin::Closed,
            StdinMode::Piped => Stdin::Piped,
            StdinMode::Terminal { .. } => Stdin::Terminal,
        };
        Self { stdin }
    }

    /// Takes the caller's next frame.
    ///
    /// # Errors
    /// The frame is illegal here; the stream is of no use afterwards.
    pub fn handle_frame(&mut self, frame: Frame) -> Result<Input, CalleeViolation> {
        let got = frame.kind();
        match (self.stdin, frame) {
            (Stdin::Piped | Stdin::Terminal, Frame::Stdin(bytes)) => Ok(Input::Stdin(bytes)),
            (Stdin::Piped | Stdin::Terminal, Frame::StdinEnd) => {
                self.stdin = Stdin::Closed;
                Ok(Input::StdinEnd)
            }
            (Stdin::Terminal, Frame::Resize(size)) => Ok(Input::Resize(size)),
            (Stdin::Piped | Stdin::Closed | Stdin::Terminal, _) => Err(CalleeViolation { got }),
        }
    }
}
