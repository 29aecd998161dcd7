//! What a probe could not tell, and why: the part of the document that keeps the rest honest.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::name::Capability;
use crate::text::Text;

/// Something that was asked for and could not be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeFailure {
    /// The probe that failed, wholly or in part.
    pub capability: Capability,
    /// The part that is missing, such as one mount or one program; nothing if all of it is.
    pub part: Option<Text<64>>,
    /// Why.
    pub reason: FailureReason,
}

impl fmt::Display for ProbeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.capability.fmt(f)?;
        if let Some(part) = &self.part {
            write!(f, " ({part})")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// Why a probe failed.
///
/// Travels by position: append only, never reorder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// No answer within so many milliseconds.
    TimedOut {
        /// The limit that was set.
        after_ms: u32,
    },
    /// An answer that says nothing.
    Failed {
        /// What went wrong, in the agent's words.
        why: Text<128>,
    },
    /// More than the document holds.
    LeftOut {
        /// How many items.
        count: u32,
    },
    /// The agent has no such probe on its platform.
    Unsupported,
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut { after_ms } => write!(f, "no answer within {after_ms} ms"),
            Self::Failed { why } => why.fmt(f),
            Self::LeftOut { count } => write!(f, "{count} more left out"),
            Self::Unsupported => f.write_str("not supported on this platform"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_is_missing_and_why() {
        let failure = |part: Option<&str>, reason| {
            ProbeFailure {
                capability: Capability::Mounts,
                part: part.map(Text::cut),
                reason,
            }
            .to_string()
        };

        assert_eq!(
            failure(
                Some("/srv\u{1b}"),
                FailureReason::TimedOut { after_ms: 2000 }
            ),
            "mounts (/srv\\u{1b}): no answer within 2000 ms"
        );
        assert_eq!(
            failure(None, FailureReason::LeftOut { count: 3 }),
            "mounts: 3 more left out"
        );
    }
}
