//! What was copied, as JSON: `controller cp --json`. The keys are a contract.

use std::time::Duration;

use node::{files::CopyError, links::Unreachable};
use proto::id::NodeName;
use serde::Serialize;

use crate::{
    exit::code,
    orchestrator::{Copied, Copy, Way},
    output::chain,
};

/// The outcome of a copy.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    target: NodeName,
    direction: &'static str,
    /// One of `copied`, `failed`, `lost`, `unreachable`, `interrupted`.
    outcome: &'static str,
    pub(super) exit_code: u8,
    files: u64,
    folders: u64,
    links: u64,
    bytes: u64,
    /// Of these, bytes that an earlier, broken copy had brought there.
    resumed_bytes: u64,
    skipped: Vec<Line>,
    failed: Vec<Line>,
    /// Why the rest was given up.
    why: Option<String>,
    duration_ms: u64,
}

#[derive(Debug, Serialize)]
struct Line {
    path: String,
    why: String,
}

impl Report {
    /// Describes what came of `wish`.
    pub(super) fn of(wish: &Copy, copied: &Copied, took: Duration) -> Self {
        let (outcome, exit_code) = match &copied.broken_off {
            None if copied.failed.is_empty() => ("copied", code::OK),
            Some(error) if is_of_link(error) => ("lost", code::UNREACHABLE),
            None | Some(_) => ("failed", code::FAILURE),
        };
        let skipped = copied.skipped.iter().map(|skipped| Line {
            path: skipped.path.clone(),
            why: format!("is {}", skipped.kind),
        });
        let failed = copied.failed.iter().map(|failed| Line {
            path: failed.path.clone(),
            why: why(wish, &failed.error),
        });
        Self {
            files: copied.files,
            folders: copied.folders,
            links: copied.links,
            bytes: copied.bytes,
            resumed_bytes: copied.resumed,
            skipped: skipped.collect(),
            failed: failed.collect(),
            why: copied.broken_off.as_ref().map(|error| why(wish, error)),
            ..Self::empty(wish, outcome, exit_code, took)
        }
    }

    /// Describes a copy whose target was not found.
    pub(super) fn unreachable(wish: &Copy, error: &Unreachable, took: Duration) -> Self {
        Self {
            why: Some(chain(error)),
            ..Self::empty(wish, "unreachable", code::UNREACHABLE, took)
        }
    }

    /// Describes a copy that was given up here.
    pub(super) fn interrupted(wish: &Copy, took: Duration) -> Self {
        Self::empty(wish, "interrupted", code::INTERRUPTED, took)
    }

    fn empty(wish: &Copy, outcome: &'static str, exit_code: u8, took: Duration) -> Self {
        Self {
            target: wish.target.clone(),
            direction: match wish.way {
                Way::Put => "put",
                Way::Get => "get",
            },
            outcome,
            exit_code,
            files: 0,
            folders: 0,
            links: 0,
            bytes: 0,
            resumed_bytes: 0,
            skipped: Vec::new(),
            failed: Vec::new(),
            why: None,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// Returns why something was not copied, with whose word that is.
pub(super) fn why(wish: &Copy, error: &CopyError) -> String {
    match error {
        CopyError::Refused(refusal) => format!("{}:{refusal}", wish.target),
        CopyError::Here { .. } | CopyError::Broken => chain(error),
        CopyError::Link(_) | CopyError::Stream | CopyError::Violation | CopyError::TooLong(_) => {
            format!("{}: {}", wish.target, chain(error))
        }
    }
}

/// Tells whether nobody knows a file at fault: transport, trust, clocks.
fn is_of_link(error: &CopyError) -> bool {
    use proto::file::FileRefusal;
    match error {
        CopyError::Link(_) | CopyError::Stream | CopyError::Violation => true,
        CopyError::Refused(refusal) => matches!(
            refusal.as_ref(),
            FileRefusal::Audience { .. }
                | FileRefusal::TooOld { .. }
                | FileRefusal::FromTheFuture { .. }
        ),
        CopyError::Here { .. } | CopyError::TooLong(_) | CopyError::Broken => false,
    }
}
