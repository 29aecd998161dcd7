//! Bytes of both output streams.

use proto::{frame::FrameKind, run::Ended};

/// How many bytes of each stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) stdout: u64,
    pub(crate) stderr: u64,
}

impl Counts {
    pub(crate) const fn of_ended(ended: &Ended) -> Self {
        Self {
            stdout: ended.stdout_bytes,
            stderr: ended.stderr_bytes,
        }
    }

    /// Returns the count of the stream whose output travels in frames of this kind.
    pub(crate) fn of(&mut self, kind: FrameKind) -> &mut u64 {
        if kind == FrameKind::Stderr {
            &mut self.stderr
        } else {
            &mut self.stdout
        }
    }

    /// Returns both together.
    pub(crate) const fn total(self) -> u64 {
        self.stdout.saturating_add(self.stderr)
    }

    /// Returns the larger count of each stream.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            stdout: self.stdout.max(other.stdout),
            stderr: self.stderr.max(other.stderr),
        }
    }

    /// Tells whether nothing of either stream is beyond `other`.
    pub(crate) const fn is_within(self, other: Self) -> bool {
        self.stdout <= other.stdout && self.stderr <= other.stderr
    }
}
