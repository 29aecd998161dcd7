//! The id of a run: what makes a retry safe.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::hex::{ParseHexError, read_hex, write_hex};

/// The id of one run: 128 random bits, chosen by whoever asks for it.
///
/// An agent starts at most one process for an id, ever; see the crate documentation. Shown as 32
/// lower-case hexadecimal digits; a UUID is read as well.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId([u8; 16]);

impl RunId {
    /// Makes an id of 16 random bytes, drawn by the caller.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RunId {
    type Err = ParseRunIdError;

    fn from_str(text: &str) -> Result<Self, ParseRunIdError> {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        Ok(Self(read_hex(&digits).map_err(ParseRunIdError)?))
    }
}

/// A text that is not the id of a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a run id: {0}, or a UUID")]
pub struct ParseRunIdError(ParseHexError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_id_reads_what_it_shows_and_uuids() {
        let id = RunId::from_bytes(*b"0123456789abcdef");

        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("30313233-3435-3637-3839-616263646566".parse(), Ok(id));
        assert!("3031".parse::<RunId>().is_err());
    }
}
