//! What a probe returns: an answer with its gaps, or why there is none.

use std::{io, path::PathBuf};

use proto::{
    capability::{FailureReason, List},
    text::Text,
};

use super::child::ChildError;

/// An answer, and what had to be left out of it.
#[derive(Debug)]
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) gaps: Vec<Gap>,
}

/// A part of an answer that is missing.
#[derive(Debug)]
pub(super) struct Gap {
    /// The part; nothing when the answer was merely cut.
    pub(super) part: Option<String>,
    pub(super) reason: FailureReason,
}

impl<T> Found<T> {
    /// Takes an answer without gaps.
    pub(super) const fn whole(value: T) -> Self {
        Self {
            value,
            gaps: Vec::new(),
        }
    }
}

impl<T, const MAX: usize> Found<List<T, MAX>> {
    /// Takes as many of `items` as the document holds, and says how many it does not.
    pub(super) fn listed(items: Vec<T>, mut gaps: Vec<Gap>) -> Self {
        let (value, left_out) = List::cut(items);
        if left_out > 0 {
            gaps.push(Gap {
                part: None,
                reason: FailureReason::LeftOut {
                    count: u32::try_from(left_out).unwrap_or(u32::MAX),
                },
            });
        }
        Self { value, gaps }
    }
}

/// Why a probe, or a part of one, has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProbeError {
    #[error("no answer within {after_ms} ms")]
    TimedOut { after_ms: u32 },
    #[error("not supported on this platform")]
    Unsupported,
    #[error("an earlier look at the same place still hangs")]
    StillHanging,
    #[error("the look was abandoned")]
    Abandoned,
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: {source}", program.display())]
    Child {
        program: PathBuf,
        source: ChildError,
    },
    #[error("{}: no {wanted} in what it says", place.display())]
    Unreadable {
        place: PathBuf,
        wanted: &'static str,
    },
}

impl From<ProbeError> for FailureReason {
    fn from(error: ProbeError) -> Self {
        match error {
            ProbeError::TimedOut { after_ms }
            | ProbeError::Child {
                source: ChildError::TimedOut { after_ms },
                ..
            } => Self::TimedOut { after_ms },
            ProbeError::Unsupported => Self::Unsupported,
            ProbeError::StillHanging
            | ProbeError::Abandoned
            | ProbeError::Read { .. }
            | ProbeError::Child { .. }
            | ProbeError::Unreadable { .. } => Self::Failed {
                why: Text::cut(&error.to_string()),
            },
        }
    }
}
