//! Where other nodes were last known to listen: hints that an identity may carry.
//!
//! An address is never trusted: whoever answers there still has to prove who it is.

use std::{collections::BTreeMap, fmt, net::SocketAddr, str::FromStr};

use proto::id::NodeId;

/// Known addresses by node, in the order in which they are to be tried.
pub type Addresses = BTreeMap<NodeId, Vec<Address>>;

/// The longest DNS name in text form (RFC 1035 §2.3.4, without the root's dot).
const MAX_HOST_LEN: usize = 253;

/// Where a node may listen: `192.0.2.7:4433`, `[2001:db8::7]:4433` or `host.example:4433`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(String);

impl Address {
    /// Returns the address as text, fit for a resolver such as `tokio::net::lookup_host`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self(address.to_string())
    }
}

/// A text that is not `HOST:PORT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an address: expected HOST:PORT, such as 192.0.2.7:4433 or [2001:db8::7]:4433")]
pub struct ParseAddressError;

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        let port_given = match text.parse::<SocketAddr>() {
            Ok(address) => address.port() != 0,
            Err(_) => is_named(text),
        };
        port_given
            .then(|| Self(text.to_owned()))
            .ok_or(ParseAddressError)
    }
}

/// Decides whether `text` is a DNS name and a port other than 0.
fn is_named(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let port_fits = port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|port| port != 0);
    let looks_numeric = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    port_fits && host.len() <= MAX_HOST_LEN && !looks_numeric && host.split('.').all(is_label)
}

/// Decides whether `label` may stand between the dots of a host name.
fn is_label(label: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=63).contains(&label.len())
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_three_forms_are_taken() {
        for text in [
            "192.0.2.7:4433",
            "[2001:db8::7]:4433",
            "srv.example:1",
            "localhost:65535",
        ] {
            assert_eq!(
                text.parse::<Address>().map(|a| a.to_string()),
                Ok(text.into())
            );
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "host",
            ":4433",
            "host:",
            "host:0",
            "host:65536",
            "host:+1",
            "1.2.3.4:0",
            "300.1.1.1:44",
            "a b:1",
            "a\u{1b}:1",
            "2001:db8::7:4433",
            "-a:1",
            "a..b:1",
        ] {
            assert_eq!(text.parse::<Address>(), Err(ParseAddressError), "{text:?}");
        }
    }
}
