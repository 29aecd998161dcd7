//! Why there is no link, in words: from QUIC's errors and TLS's alerts.

use std::net::SocketAddr;

use quinn::ConnectionError;

use crate::close::CloseCode;

/// Why there is no link.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DialError {
    /// The address cannot be dialled at all.
    #[error("{addr} cannot be dialled")]
    Address {
        /// Where.
        addr: SocketAddr,
        /// quinn's reason.
        #[source]
        source: quinn::ConnectError,
    },
    /// Nobody answered, or answers stopped.
    #[error("no answer from {addr}")]
    NoAnswer {
        /// Where.
        addr: SocketAddr,
    },
    /// Whoever answers is not the node that was asked for.
    #[error("{addr} is not to be trusted: {why}")]
    NotTrusted {
        /// Where.
        addr: SocketAddr,
        /// What it failed to prove.
        why: String,
    },
    /// The peer does not trust this node.
    #[error("{addr} refuses this node's certificate: {why}")]
    Refused {
        /// Where.
        addr: SocketAddr,
        /// The peer's reason, or the meaning of its TLS alert.
        why: String,
    },
    /// The peer speaks another version.
    #[error("{addr} speaks another version of the protocol; update the older end")]
    Version {
        /// Where.
        addr: SocketAddr,
    },
    /// The peer has no certificate that names it.
    #[error("{addr} shows no certificate of a node")]
    NoCertificate {
        /// Where.
        addr: SocketAddr,
    },
    /// The peer did not introduce itself as the protocol asks.
    #[error("{addr} does not follow the protocol")]
    NoHello {
        /// Where.
        addr: SocketAddr,
    },
    /// The peer is shutting down.
    #[error("{addr} is stopping")]
    Stopping {
        /// Where.
        addr: SocketAddr,
    },
    /// The peer does not understand what this node says.
    #[error("{addr} says that this node breaks the protocol; update the older end")]
    Misunderstood {
        /// Where.
        addr: SocketAddr,
    },
    /// The link was closed for another reason.
    #[error("the link to {addr} was closed: {why}")]
    Closed {
        /// Where.
        addr: SocketAddr,
        /// The reason, escaped: some of it may be the peer's words.
        why: String,
    },
}

impl DialError {
    pub(super) fn of(addr: SocketAddr, error: ConnectionError) -> Self {
        match error {
            ConnectionError::TimedOut => Self::NoAnswer { addr },
            ConnectionError::VersionMismatch => Self::Version { addr },
            ConnectionError::TransportError(ref local) => match alert(local.code) {
                Some(NO_APPLICATION_PROTOCOL) => Self::Version { addr },
                Some(_) => Self::NotTrusted {
                    addr,
                    why: explain(&local.reason),
                },
                None => Self::closed(addr, &error),
            },
            ConnectionError::ConnectionClosed(ref remote) => match alert(remote.error_code) {
                Some(NO_APPLICATION_PROTOCOL) => Self::Version { addr },
                Some(alert) => {
                    // The peer's words where they are understood, else its number.
                    let said = String::from_utf8_lossy(&remote.reason);
                    let why = pki::explain_refusal(&said).unwrap_or_else(|| meaning(alert).into());
                    Self::Refused { addr, why }
                }
                None => Self::closed(addr, &error),
            },
            ConnectionError::ApplicationClosed(ref remote)
                if CloseCode::of_number(remote.error_code) == Some(CloseCode::Stopping) =>
            {
                Self::Stopping { addr }
            }
            ConnectionError::ApplicationClosed(ref remote)
                if CloseCode::of_number(remote.error_code)
                    == Some(CloseCode::ProtocolViolation) =>
            {
                Self::Misunderstood { addr }
            }
            ConnectionError::ApplicationClosed(_)
            | ConnectionError::Reset
            | ConnectionError::LocallyClosed
            | ConnectionError::CidsExhausted => Self::closed(addr, &error),
        }
    }

    fn closed(addr: SocketAddr, error: &ConnectionError) -> Self {
        let why = proto::text::escaped(&error.to_string());
        Self::Closed { addr, why }
    }

    /// Tells whether the peer answered that there is no link to be had, so that another try is of no
    /// use.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Refused { .. }
            | Self::Version { .. }
            | Self::NotTrusted { .. }
            | Self::NoCertificate { .. }
            | Self::Misunderstood { .. } => true,
            Self::NoHello { .. }
            | Self::Stopping { .. }
            | Self::Closed { .. }
            | Self::Address { .. }
            | Self::NoAnswer { .. } => false,
        }
    }

    /// Tells how much this error explains: of several dials that failed, the most telling one is
    /// reported.
    #[must_use]
    pub const fn weight(&self) -> u8 {
        match self {
            Self::Refused { .. } | Self::Version { .. } => 3,
            Self::NotTrusted { .. }
            | Self::NoCertificate { .. }
            | Self::Misunderstood { .. }
            | Self::NoHello { .. } => 2,
            Self::Stopping { .. } | Self::Closed { .. } | Self::Address { .. } => 1,
            Self::NoAnswer { .. } => 0,
        }
    }
}

/// Returns why an accepted connection never became a link, in one line for the log.
pub(crate) fn why_not_accepted(error: &ConnectionError) -> String {
    let (code, said) = match error {
        ConnectionError::TransportError(local) => (alert(local.code), explain(&local.reason)),
        ConnectionError::ConnectionClosed(remote) => {
            let said = String::from_utf8_lossy(&remote.reason);
            let refused = format!("the peer refuses this node: {}", explain(&said));
            return refused;
        }
        ConnectionError::VersionMismatch
        | ConnectionError::ApplicationClosed(_)
        | ConnectionError::Reset
        | ConnectionError::TimedOut
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => (None, proto::text::escaped(&error.to_string())),
    };
    match code {
        Some(PROTOCOL_VERSION) => "the peer does not speak TLS 1.3".into(),
        Some(CERTIFICATE_REQUIRED) => "the peer presented no certificate".into(),
        Some(NO_APPLICATION_PROTOCOL) => {
            "the peer speaks another version of the protocol; update the older end".into()
        }
        Some(_) | None => said,
    }
}

/// The TLS alert of a peer that shares no version of TLS (RFC 8446 §6.2).
const PROTOCOL_VERSION: u8 = 70;

/// The TLS alert of a server whose client shows no certificate (RFC 8446 §6.2).
const CERTIFICATE_REQUIRED: u8 = 116;

/// The TLS alert of a peer that shares no application protocol (RFC 7301 §3.2).
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// Returns the TLS alert in a QUIC error code (RFC 9001 §4.8).
fn alert(code: quinn::TransportErrorCode) -> Option<u8> {
    let code = u64::from(code);
    (0x100..0x200)
        .contains(&code)
        .then_some((code & 0xff) as u8)
}

/// Returns why the peer failed to prove itself, from the text that TLS made of it.
fn explain(reason: &str) -> String {
    pki::explain_refusal(reason).unwrap_or_else(|| proto::text::escaped(reason))
}

/// What a peer means by a TLS alert (RFC 8446 §6.2).
const fn meaning(alert: u8) -> &'static str {
    match alert {
        42 | 43 | 46 => "it is not acceptable there",
        44 => "it is revoked",
        45 => "it is expired, or not yet valid by the clock there; compare the clocks",
        48 => "it is of another mesh",
        49 => "its role may not do that",
        CERTIFICATE_REQUIRED => "none was shown",
        _ => "the handshake failed",
    }
}
