//! Serial numbers: by which a certificate is listed, recorded and revoked.
//!
//! Drawn at random for each certificate. A number derived from the key, as rcgen makes by default,
//! would be the same after a renewal with the same key, and one revocation would hit both.

use std::{fmt, str::FromStr};

use rustls::crypto::SecureRandom;

/// The longest serial number that RFC 5280 §4.1.2.2 allows.
const MAX_LEN: usize = 20;

/// The serial number of a certificate: positive, shown as lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(Box<[u8]>);

impl Serial {
    /// Draws a new number: 16 bytes, of which two bits are fixed.
    ///
    /// The highest bit is zero, so that the number is positive; the next is one, so that it is
    /// never zero and every serial has 16 bytes in every encoding. 126 random bits remain.
    pub(crate) fn random(
        random: &dyn SecureRandom,
    ) -> Result<Self, rustls::crypto::GetRandomFailed> {
        let mut bytes = [0; 16];
        random.fill(&mut bytes)?;
        bytes[0] = bytes[0] & 0x3f | 0x40;
        Ok(Self(bytes.into()))
    }

    /// Takes the content of a DER integer; `None` unless it is positive and at most 20 bytes long.
    pub(crate) fn from_der_integer(content: &[u8]) -> Option<Self> {
        if content.first().is_none_or(|first| first & 0x80 != 0) {
            return None;
        }
        let zeros = content.iter().take_while(|byte| **byte == 0).count();
        let digits = &content[zeros..];
        (1..=MAX_LEN)
            .contains(&digits.len())
            .then(|| Self(digits.into()))
    }

    /// Returns the number's bytes, most significant first, without leading zeros.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not the hexadecimal form of a serial number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 2 to 40 hexadecimal digits")]
pub struct ParseSerialError;

impl FromStr for Serial {
    type Err = ParseSerialError;

    /// Reads hexadecimal digits of either case; colons between bytes are accepted.
    fn from_str(text: &str) -> Result<Self, ParseSerialError> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
        if digits.is_empty() || !digits.len().is_multiple_of(2) || digits.len() > MAX_LEN * 2 {
            return Err(ParseSerialError);
        }
        let nibble = |digit: u8| char::from(digit).to_digit(16).ok_or(ParseSerialError);
        let mut content = vec![0];
        for pair in digits.chunks_exact(2) {
            let byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
            content.push(u8::try_from(byte).map_err(|_| ParseSerialError)?);
        }
        Self::from_der_integer(&content).ok_or(ParseSerialError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_are_random_positive_and_sixteen_bytes_long() {
        let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;

        let drawn: std::collections::BTreeSet<Serial> =
            (0..64).map(|_| Serial::random(random).unwrap()).collect();

        assert_eq!(drawn.len(), 64);
        assert!(drawn.iter().all(|serial| serial.as_bytes().len() == 16));
        assert!(drawn.iter().all(|serial| serial.as_bytes()[0] & 0x80 == 0));
    }

    #[test]
    fn a_serial_reads_what_it_shows_and_what_openssl_shows() {
        let serial: Serial = "4a:0B:ff".parse().unwrap();

        assert_eq!(serial.to_string(), "4a0bff");
        assert_eq!(serial.to_string().parse(), Ok(serial));
    }

    #[test]
    fn negative_empty_zero_and_endless_serials_are_refused() {
        for content in [&[][..], &[0], &[0x80], &[0xff, 1], &[1; 21]] {
            assert_eq!(Serial::from_der_integer(content), None, "{content:?}");
        }
        for text in ["", "0", "00", "zz", "+1", "é", &"11".repeat(21)] {
            assert_eq!(text.parse::<Serial>(), Err(ParseSerialError), "{text}");
        }
    }
}
