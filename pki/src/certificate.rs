//! What a node's certificate says: the mesh, one role, one name, its serial number and its dates.
//!
//! Reading proves form, never truth: who signed a certificate and whether it is valid now,
//! [`crate::verify`] decides.
//!
//! **Invariant:** a [`NodeCertificate`] names exactly one node, twice, and the two names agree.
//! Guarded by `two_role_uris_are_refused` and its neighbours in `verify`.

use proto::id::{MeshName, NodeId};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::{Serial, names};

/// The longest certificate that is read, in bytes. Those of a mesh take some 600.
pub(crate) const MAX_CERTIFICATE_LEN: usize = 8 * 1024;

/// A certificate of the form that a mesh gives to its nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeCertificate {
    der: CertificateDer<'static>,
    mesh: MeshName,
    node: NodeId,
    serial: Serial,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
    public_key: Box<[u8]>,
}

/// Why bytes are not the certificate of a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadCertificateError {
    /// There are more bytes than a certificate of a mesh ever has.
    #[error("the certificate has {bytes} bytes, more than {MAX_CERTIFICATE_LEN}")]
    TooLong {
        /// How many there are.
        bytes: usize,
    },
    /// The bytes are not an X.509 certificate.
    #[error("not an X.509 certificate")]
    Malformed,
    /// The serial number is negative, zero or too long.
    #[error("the serial number is not a positive number of at most 20 bytes")]
    Serial,
    /// There are other names than one URI and one DNS name.
    #[error(
        "the certificate bears {uris} URIs, {dns} DNS names and {others} other names, not one URI and one DNS name"
    )]
    Names {
        /// How many URIs there are.
        uris: usize,
        /// How many DNS names there are.
        dns: usize,
        /// How many names of other kinds there are.
        others: usize,
    },
    /// The URI is not `spiffe://<mesh>/<role>/<name>`.
    #[error("the certificate's URI \"{shown}\" names no mesh, role and node")]
    Uri {
        /// The URI, escaped and cut.
        shown: String,
    },
    /// The DNS name is not that of the node in the URI.
    #[error("the certificate's DNS name \"{shown}\" is not that of {node}")]
    Dns {
        /// The DNS name, escaped and cut.
        shown: String,
        /// The node that the URI names.
        node: NodeId,
    },
}

impl NodeCertificate {
    /// Reads a certificate's DER encoding.
    ///
    /// # Errors
    ///
    /// Says what keeps the bytes from being the certificate of a node.
    pub fn read(der: &[u8]) -> Result<Self, ReadCertificateError> {
        if der.len() > MAX_CERTIFICATE_LEN {
            return Err(ReadCertificateError::TooLong { bytes: der.len() });
        }
        let parsed = parse(der).ok_or(ReadCertificateError::Malformed)?;
        let (mesh, node) = read_names(&parsed)?;
        let serial =
            Serial::from_der_integer(parsed.raw_serial()).ok_or(ReadCertificateError::Serial)?;
        Ok(Self {
            mesh,
            node,
            serial,
            not_before: parsed.validity().not_before.to_datetime(),
            not_after: parsed.validity().not_after.to_datetime(),
            public_key: parsed.public_key().raw.into(),
            der: CertificateDer::from(der.to_vec()),
        })
    }

    /// Returns the DER encoding.
    #[must_use]
    pub const fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// Returns the name of the mesh.
    #[must_use]
    pub const fn mesh(&self) -> &MeshName {
        &self.mesh
    }

    /// Returns the node that the certificate names.
    #[must_use]
    pub const fn node(&self) -> &NodeId {
        &self.node
    }

    /// Returns the serial number.
    #[must_use]
    pub const fn serial(&self) -> &Serial {
        &self.serial
    }

    /// Returns the first second at which the certificate is valid.
    #[must_use]
    pub const fn not_before(&self) -> OffsetDateTime {
        self.not_before
    }

    /// Returns the last second at which the certificate is valid.
    #[must_use]
    pub const fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// Returns the public key as `SubjectPublicKeyInfo` in DER.
    pub(crate) fn public_key(&self) -> &[u8] {
        &self.public_key
    }
}

/// Why a chain names no peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerIdError {
    /// The peer sent no certificate.
    #[error("the peer presented no certificate")]
    NoCertificate,
    /// The peer's certificate is not that of a node.
    #[error("read the peer's certificate")]
    Certificate(#[source] ReadCertificateError),
}

/// Returns who the peer is, from the chain that the handshake has verified.
///
/// Verifies nothing by itself: only a chain that a connection made with [`crate::client_config`] or
/// [`crate::server_config`] hands out after its handshake says the truth.
///
/// # Errors
///
/// There is no certificate, or it is not that of a node; neither passes the handshake.
pub fn peer_id(chain: &[CertificateDer<'_>]) -> Result<NodeId, PeerIdError> {
    let leaf = chain.first().ok_or(PeerIdError::NoCertificate)?;
    let certificate = NodeCertificate::read(leaf).map_err(PeerIdError::Certificate)?;
    Ok(certificate.node)
}

/// Parses `der` if it is one certificate and nothing else.
pub(crate) fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Some(certificate),
        Ok(_) | Err(_) => None,
    }
}

/// Returns the alternative names of `certificate`, none if it bears none.
pub(crate) fn alternative_names<'c, 'a>(
    certificate: &'c X509Certificate<'a>,
) -> Result<&'c [GeneralName<'a>], ReadCertificateError> {
    let extension = certificate
        .subject_alternative_name()
        .map_err(|_| ReadCertificateError::Malformed)?;
    Ok(extension.map_or(&[], |names| &names.value.general_names))
}

fn read_names(
    certificate: &X509Certificate<'_>,
) -> Result<(MeshName, NodeId), ReadCertificateError> {
    let (mut uris, mut dns, mut others) = (Vec::new(), Vec::new(), 0);
    for name in alternative_names(certificate)? {
        if let GeneralName::URI(uri) = name {
            uris.push(*uri);
        } else if let GeneralName::DNSName(name) = name {
            dns.push(*name);
        } else {
            others += 1;
        }
    }
    let (&[uri], &[dns], 0) = (&uris[..], &dns[..], others) else {
        let (uris, dns) = (uris.len(), dns.len());
        return Err(ReadCertificateError::Names { uris, dns, others });
    };
    let (mesh, node) =
        names::read_node_uri(uri).ok_or_else(|| ReadCertificateError::Uri { shown: shown(uri) })?;
    if dns != names::node_dns(&node) {
        let shown = shown(dns);
        return Err(ReadCertificateError::Dns { shown, node });
    }
    Ok((mesh, node))
}

/// Returns `name` fit for a terminal: escaped, and cut at the length of the longest honest one.
fn shown(name: &str) -> String {
    let cut: String = name.chars().take(160).collect();
    cut.escape_default().to_string()
}
