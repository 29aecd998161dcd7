//! SHA-256 fingerprints, and the hexadecimal text of binary ids.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// SHA-256 over the DER encoding of a mesh's CA certificate: what "this mesh" means.
///
/// Shown as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Returns the fingerprint of the certificate whose DER encoding is `der`.
    #[must_use]
    pub fn of_certificate(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// Returns the 32 bytes of the digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Takes the 32 bytes of a digest that was computed elsewhere.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = ParseHexError;

    /// Reads 64 hexadecimal digits; colons between bytes, as `openssl` prints them, are accepted.
    fn from_str(text: &str) -> Result<Self, ParseHexError> {
        let digits: String = text.chars().filter(|c| *c != ':').collect();
        read_hex(&digits).map(Self)
    }
}

/// A text that is not the hexadecimal form of so many bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {digits} hexadecimal digits")]
pub struct ParseHexError {
    digits: usize,
}

/// Writes `bytes` as lower-case hexadecimal digits.
pub(super) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Reads exactly `N` bytes from hexadecimal digits of either case.
pub(super) fn read_hex<const N: usize>(digits: &str) -> Result<[u8; N], ParseHexError> {
    let wrong = ParseHexError { digits: N * 2 };
    if digits.len() != N * 2 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong);
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| wrong.clone())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong.clone())?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprint_reads_what_it_shows_and_what_openssl_shows() {
        let fingerprint = Fingerprint::of_certificate(b"certificate");

        let shown = fingerprint.to_string();
        let colons: Vec<String> = shown
            .as_bytes()
            .chunks(2)
            .map(|pair| String::from_utf8_lossy(pair).to_uppercase())
            .collect();

        assert_eq!(shown.parse(), Ok(fingerprint));
        assert_eq!(colons.join(":").parse(), Ok(fingerprint));
    }

    #[test]
    fn fingerprint_refuses_other_lengths_and_letters() {
        let short = "ab".repeat(31);
        let wrong_letter = format!("{}g", "a".repeat(63));

        assert!(short.parse::<Fingerprint>().is_err());
        assert!(wrong_letter.parse::<Fingerprint>().is_err());
        assert!("é".repeat(32).parse::<Fingerprint>().is_err());
    }
}
