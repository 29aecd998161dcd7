//! Why a peer was refused: for the local log in full, for the peer as a TLS alert.
//!
//! Owns both directions of that mapping. What rustls can say in its own terms goes out under the
//! alert that fits; the rest travels inside `CertificateError::Other`, whole.

use std::{fmt, sync::Arc};

use proto::id::{MeshName, NodeId, Role};
use rustls::{CertificateError, ExtendedKeyPurpose, OtherError, pki_types::ServerName};
use time::OffsetDateTime;

use crate::{Expect, ReadCertificateError, Usage, date, names, verify::MAX_CHAIN_LEN};

/// Why a peer was refused.
///
/// `Debug` is `Display`, since quinn passes a TLS error on as text that contains the former.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The peer sent no certificate.
    #[error("the peer presented no certificate")]
    NoCertificate,
    /// The peer sent more certificates than a node ever does.
    #[error("the peer presented {certificates} certificates, more than {MAX_CHAIN_LEN}")]
    ChainTooLong {
        /// How many.
        certificates: usize,
    },
    /// The peer sent a certificate longer than any of a mesh.
    #[error("the peer presented a certificate of {bytes} bytes")]
    CertificateTooLong {
        /// How long it is.
        bytes: usize,
    },
    /// The CA whose fingerprint is pinned has not signed the peer's certificate.
    #[error("the peer belongs to another mesh: its certificate is not signed by the pinned CA")]
    ForeignAuthority,
    /// The certificate under the pinned fingerprint may not sign others.
    #[error("the pinned certificate is not that of a CA")]
    NotAnAuthority,
    /// The CA's certificate has ended.
    #[error("the mesh's CA ended on {}, and the clock here says {}: make a new mesh, or set the clock", date::show(*.not_after), date::show(*.now))]
    AuthorityExpired {
        /// Its last second.
        not_after: OffsetDateTime,
        /// The time here.
        now: OffsetDateTime,
    },
    /// The CA's certificate has not begun.
    #[error("the mesh's CA begins on {}, but the clock here says {}: set the clock", date::show(*.not_before), date::show(*.now))]
    AuthorityNotValidYet {
        /// Its first second.
        not_before: OffsetDateTime,
        /// The time here.
        now: OffsetDateTime,
    },
    /// The peer presented a CA's certificate as its own.
    #[error("the peer presented a CA's certificate as its own")]
    AuthorityAsNode,
    /// The peer's certificate has ended.
    #[error("the peer's certificate ended on {}, and the clock here says {}: issue a new one, or set the clock", date::show(*.not_after), date::show(*.now))]
    Expired {
        /// Its last second.
        not_after: OffsetDateTime,
        /// The time here.
        now: OffsetDateTime,
    },
    /// The peer's certificate has not begun.
    #[error("the peer's certificate begins on {}, but the clock here says {}: compare the clocks of both hosts", date::show(*.not_before), date::show(*.now))]
    NotValidYet {
        /// Its first second.
        not_before: OffsetDateTime,
        /// The time here.
        now: OffsetDateTime,
    },
    /// The peer's certificate is on the revocation list in force.
    #[error("the peer's certificate is revoked")]
    Revoked,
    /// The revocation list in force is too old to be believed.
    #[error("the revocation list was to be replaced on {}, and the clock here says {}: fetch a new list", date::show(*.next_update), date::show(*.now))]
    StaleCrl {
        /// When its successor was due.
        next_update: OffsetDateTime,
        /// The time here.
        now: OffsetDateTime,
    },
    /// The revocation list in force is that of another CA.
    #[error("the revocation list in force is that of another mesh")]
    ForeignCrl,
    /// The peer cannot sign with the key in its certificate: it has a copy of the certificate alone.
    #[error("the peer does not hold the key of its certificate")]
    OtherKey,
    /// The certificate does not allow its holder to be at that end of a connection.
    #[error("the peer's certificate is not for {}", match .0 { Usage::Client => "dialling (client authentication)", Usage::Server => "being dialled (server authentication)" })]
    WrongUsage(Usage),
    /// The certificate cannot be read, in webpki's words.
    #[error("the peer's certificate is malformed: {0}")]
    Malformed(webpki::Error),
    /// The certificate is valid but not that of a node.
    #[error("{0}")]
    Certificate(ReadCertificateError),
    /// The certificate names another mesh.
    #[error("the peer's certificate is of mesh {presented}, not of {expected}")]
    WrongMesh {
        /// The mesh here.
        expected: MeshName,
        /// The mesh in the certificate.
        presented: MeshName,
    },
    /// The peer is a node of the mesh, but of a role that is not taken here.
    #[error("the peer is {presented}, but only {} taken here", roles(.accepted))]
    WrongRole {
        /// The roles that are taken.
        accepted: Vec<Role>,
        /// Who the peer is.
        presented: NodeId,
    },
    /// The peer is not the node that was dialled.
    #[error("the peer is {presented}, not {expected}")]
    WrongName {
        /// Who was dialled.
        expected: NodeId,
        /// Who answered.
        presented: NodeId,
    },
    /// The dialler gave a server name that no [`Expect`] makes.
    #[error("the server name to connect with carries no expectation: use Expect::server_name")]
    ServerName,
}

impl fmt::Debug for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn roles(accepted: &[Role]) -> String {
    match accepted {
        [] => "nobody is".to_owned(),
        [role] => format!("the role {role} is"),
        several => {
            let words: Vec<&str> = several.iter().map(|role| role.as_str()).collect();
            format!("the roles {} are", words.join(" and "))
        }
    }
}

impl VerifyError {
    /// Returns the reason why a handshake failed, if it was the peer's certificate.
    ///
    /// The inverse of what the verifiers of this crate hand to rustls.
    #[must_use]
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "rustls may add variants, and none but those that this file writes come from here"
    )]
    pub fn from_tls(error: &rustls::Error) -> Option<Self> {
        let rustls::Error::InvalidCertificate(error) = error else {
            return None;
        };
        if let CertificateError::Other(OtherError(inner)) = error {
            return inner.downcast_ref().cloned();
        }
        let dated = |time| date::from_unix(time);
        Some(match error.clone() {
            CertificateError::UnknownIssuer => Self::ForeignAuthority,
            CertificateError::Revoked => Self::Revoked,
            CertificateError::BadSignature => Self::OtherKey,
            CertificateError::ExpiredContext { time, not_after } => Self::Expired {
                not_after: dated(not_after),
                now: dated(time),
            },
            CertificateError::NotValidYetContext { time, not_before } => Self::NotValidYet {
                not_before: dated(not_before),
                now: dated(time),
            },
            CertificateError::ExpiredRevocationListContext { time, next_update } => {
                Self::StaleCrl {
                    next_update: dated(next_update),
                    now: dated(time),
                }
            }
            CertificateError::NotValidForNameContext {
                expected,
                presented,
            } => Self::WrongName {
                expected: names::read_node_dns(&expected.to_str())?,
                presented: presented.first()?.parse().ok()?,
            },
            CertificateError::InvalidPurposeContext { required, .. } => {
                Self::WrongUsage(match required {
                    ExtendedKeyPurpose::ClientAuth => Usage::Client,
                    ExtendedKeyPurpose::ServerAuth => Usage::Server,
                    ExtendedKeyPurpose::Other(_) => return None,
                })
            }
            _ => return None,
        })
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "webpki may add variants, and all that say more than a garbled certificate are named"
    )]
    pub(super) fn from_webpki(error: webpki::Error, usage: Usage) -> Self {
        use webpki::Error as E;

        match error {
            E::CertExpired { time, not_after } => Self::Expired {
                not_after: date::from_unix(not_after),
                now: date::from_unix(time),
            },
            E::CertNotValidYet { time, not_before } => Self::NotValidYet {
                not_before: date::from_unix(not_before),
                now: date::from_unix(time),
            },
            // The pinned CA signs with one algorithm, so whatever fails here it has not signed.
            E::UnknownIssuer
            | E::InvalidSignatureForPublicKey
            | E::UnsupportedSignatureAlgorithmContext(_)
            | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Self::ForeignAuthority,
            E::CaUsedAsEndEntity => Self::AuthorityAsNode,
            E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => Self::WrongUsage(usage),
            malformed => Self::Malformed(malformed),
        }
    }
}

impl From<VerifyError> for rustls::Error {
    fn from(error: VerifyError) -> Self {
        use CertificateError as C;

        let unix = date::to_unix;
        Self::InvalidCertificate(match error {
            VerifyError::ForeignAuthority => C::UnknownIssuer,
            VerifyError::Revoked => C::Revoked,
            VerifyError::OtherKey => C::BadSignature,
            VerifyError::Expired { not_after, now } => C::ExpiredContext {
                time: unix(now),
                not_after: unix(not_after),
            },
            VerifyError::NotValidYet { not_before, now } => C::NotValidYetContext {
                time: unix(now),
                not_before: unix(not_before),
            },
            VerifyError::StaleCrl { next_update, now } => C::ExpiredRevocationListContext {
                time: unix(now),
                next_update: unix(next_update),
            },
            VerifyError::WrongUsage(usage) => C::InvalidPurposeContext {
                required: match usage {
                    Usage::Client => ExtendedKeyPurpose::ClientAuth,
                    Usage::Server => ExtendedKeyPurpose::ServerAuth,
                },
                presented: Vec::new(),
            },
            VerifyError::WrongName {
                expected,
                presented,
            } => wrong_name(expected, presented),
            other @ (VerifyError::NoCertificate
            | VerifyError::ChainTooLong { .. }
            | VerifyError::CertificateTooLong { .. }
            | VerifyError::NotAnAuthority
            | VerifyError::AuthorityExpired { .. }
            | VerifyError::AuthorityNotValidYet { .. }
            | VerifyError::AuthorityAsNode
            | VerifyError::ForeignCrl
            | VerifyError::Malformed(_)
            | VerifyError::Certificate(_)
            | VerifyError::WrongMesh { .. }
            | VerifyError::WrongRole { .. }
            | VerifyError::ServerName) => C::Other(OtherError(Arc::new(other))),
        })
    }
}

/// Says in rustls' terms that `presented` answered instead of `expected`.
fn wrong_name(expected: NodeId, presented: NodeId) -> CertificateError {
    let name = Expect::Node(expected.clone()).server_name();
    match ServerName::try_from(name) {
        Ok(name) => CertificateError::NotValidForNameContext {
            expected: name,
            presented: vec![presented.to_string()],
        },
        Err(_) => CertificateError::Other(OtherError(Arc::new(VerifyError::WrongName {
            expected,
            presented,
        }))),
    }
}
