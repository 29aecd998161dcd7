//! An error that happened in another process, as this one shows it.

use serde::{Deserialize, Serialize};

/// An error in words, with what follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{text}")]
pub struct Told {
    /// What failed and why, the whole chain.
    pub text: String,
    /// What to do about it.
    pub next: Option<String>,
    /// The exit code.
    pub code: u8,
    /// Whether nobody proved to be the target.
    pub unreachable: bool,
}
