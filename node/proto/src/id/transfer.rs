//! The id of a copy of one file: what makes it possible to continue a broken one.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::hex::write_hex;

/// Names the copy of one file to one place: the same source and destination have the same id, so
/// that whoever repeats a broken copy continues it.
///
/// Shown as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TransferId([u8; 16]);

impl TransferId {
    /// Makes an id of 16 bytes, chosen by the caller.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
