//! Attaching to a run that goes on without its first stream.
//!
//! Output is counted in bytes of each stream since the run's start. Whoever attaches says how much of
//! both it has; what follows begins there, or later where the agent no longer keeps that much.

use serde::{Deserialize, Serialize};

use crate::id::RunId;

/// A request to hear a run from a byte on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// Which run.
    pub run: RunId,
    /// Bytes of standard output that the caller has.
    pub stdout_from: u64,
    /// The same for standard error.
    pub stderr_from: u64,
    /// What the caller is to the run.
    pub hold: Hold,
}

/// What somebody who hears a run is to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hold {
    /// Its caller: the run waits for it when it does not read, takes its standard input, and is an
    /// orphan without it. Whoever was that before only
    /// watches, for as long as this one is there.
    Take,
    /// A spectator, whom the run neither waits for nor misses: one who falls behind what is kept hears
    /// of the gap.
    Watch,
}

/// The callee's word on where the output that follows begins.
///
/// May come again on the same stream, when a spectator has fallen behind what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// The first byte of standard output that follows. Beyond what the caller has, the bytes between
    /// are no longer kept.
    pub stdout_from: u64,
    /// The same for standard error.
    pub stderr_from: u64,
    /// How many bytes of standard output there are so far.
    pub stdout_to: u64,
    /// The same for standard error.
    pub stderr_to: u64,
    /// How many bytes of standard input the process has taken; `None` if it takes no more.
    pub stdin_from: Option<u64>,
}
