//! From a TLS library's text back to the reason, in words for a person.
//!
//! quinn passes a failed handshake on as text, here and, in its close frame, to the peer. rustls
//! writes some reasons in its own terms, with dates as seconds since 1970; this file reads them back.
//! The text may come from a peer, so nothing in it is believed, and it is shown escaped and cut.

use std::time::Duration;

use rustls::pki_types::UnixTime;
use time::OffsetDateTime;

use crate::{Usage, VerifyError, date, names};

/// How rustls begins to speak of a certificate.
const BEGINS: &str = "invalid peer certificate: ";

/// The longest reason that is shown, in characters. The longest honest one takes some 250.
const MAX_SHOWN: usize = 400;

/// Returns why a certificate was refused, from the text of a failed handshake such as the `reason`
/// of a quinn error; `None` if the text speaks of something else.
///
/// "The peer" in the answer is the peer of whoever wrote the text.
#[must_use]
pub fn explain_refusal(text: &str) -> Option<String> {
    let (_, said) = text.split_once(BEGINS)?;
    if let Some(reason) = read(said) {
        return Some(reason.to_string());
    }
    let inner = said
        .strip_prefix("Other(OtherError(")
        .and_then(|inner| inner.strip_suffix("))"));
    let shown = inner.unwrap_or(said).chars().take(MAX_SHOWN);
    let clean = |c: char| c == ' ' || c.is_ascii_graphic();
    Some(shown.filter(|c| clean(*c)).collect())
}

/// Reads the reasons that rustls puts in its own words.
fn read(said: &str) -> Option<VerifyError> {
    let mut dates = numbers(said);
    let mut next = || dates.next();
    Some(match said {
        "UnknownIssuer" => VerifyError::ForeignAuthority,
        "Revoked" => VerifyError::Revoked,
        "BadSignature" => VerifyError::OtherKey,
        _ if said.starts_with("certificate expired: ") => VerifyError::Expired {
            now: next()?,
            not_after: next()?,
        },
        _ if said.starts_with("certificate not valid yet: ") => VerifyError::NotValidYet {
            now: next()?,
            not_before: next()?,
        },
        _ if said.starts_with("certificate revocation list expired: ") => VerifyError::StaleCrl {
            now: next()?,
            next_update: next()?,
        },
        _ if said.contains("extended key usage for client") => {
            VerifyError::WrongUsage(Usage::Client)
        }
        _ if said.contains("extended key usage for server") => {
            VerifyError::WrongUsage(Usage::Server)
        }
        _ => return read_names(said),
    })
}

fn read_names(said: &str) -> Option<VerifyError> {
    let rest = said.strip_prefix("certificate not valid for name \"")?;
    let (expected, rest) = rest.split_once('"')?;
    let (_, presented) = rest.split_once("is only valid for ")?;
    Some(VerifyError::WrongName {
        expected: names::read_node_dns(expected)?,
        presented: presented.parse().ok()?,
    })
}

/// Returns the numbers in `said` as dates, in their order.
fn numbers(said: &str) -> impl Iterator<Item = OffsetDateTime> {
    said.split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .map(|seconds| date::from_unix(UnixTime::since_unix_epoch(Duration::from_secs(seconds))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::verify::reasons;

    #[test]
    fn every_reason_survives_the_way_through_text() {
        for reason in reasons() {
            let tls = rustls::Error::from(reason.clone());
            let quinn = format!("the cryptographic handshake failed: error 46: {tls}");

            let explained = explain_refusal(&quinn);

            assert_eq!(explained, Some(reason.to_string()), "{tls}");
        }
    }

    #[test]
    fn other_failures_are_not_explained() {
        let tls = rustls::Error::NoApplicationProtocol.to_string();

        assert_eq!(explain_refusal(&tls), None);
        assert_eq!(explain_refusal("timed out"), None);
    }

    proptest! {
        #[test]
        fn a_peers_text_is_shown_harmless(text in "[\\PC\\x00-\\x1f]{0,600}") {
            let shown = explain_refusal(&format!("{BEGINS}{text}")).unwrap();

            prop_assert!(shown.len() <= MAX_SHOWN);
            prop_assert!(shown.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
        }
    }
}
