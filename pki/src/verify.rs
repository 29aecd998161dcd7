//! What a peer must prove: one pure decision, used by both ends of every connection.
//!
//! The certificate whose SHA-256 is pinned is looked for in the peer's own chain and only then used
//! as the anchor, so a node needs to know no more than the fingerprint. webpki checks signature,
//! dates and usage below the anchor; the anchor's own dates and CA flag, which webpki leaves alone,
//! are checked here. Intermediate certificates are not considered at all: the CA signs nodes itself.
//!
//! Roles and names, which differ by connection, are compared by [`crate::Expect`] and `handshake`.

mod error;

use proto::id::{Fingerprint, MeshName, NodeId};
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

pub use error::VerifyError;

use crate::{NodeCertificate, Revocation, certificate, certificate::MAX_CERTIFICATE_LEN, date};

/// The longest chain that is looked at. Nodes send two: their own certificate and the CA's.
pub(crate) const MAX_CHAIN_LEN: usize = 4;

/// The content octets of id-kp-serverAuth, 1.3.6.1.5.5.7.3.1 (RFC 5280 §4.2.1.12).
const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
/// The content octets of id-kp-clientAuth, 1.3.6.1.5.5.7.3.2.
const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];

/// What a certificate is used for in a connection: its extended key usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// Its holder dials.
    Client,
    /// Its holder is dialled.
    Server,
}

/// What is known beforehand of the mesh that a peer must belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trust {
    pub(crate) mesh: MeshName,
    pub(crate) fingerprint: Fingerprint,
}

/// Decides who the holder of `chain` is, at `now` and used for `usage`.
///
/// # Errors
///
/// Says what the chain fails to prove.
pub(crate) fn verify_peer(
    chain: &[CertificateDer<'_>],
    trust: &Trust,
    usage: Usage,
    now: UnixTime,
    revocation: &Revocation,
) -> Result<NodeId, VerifyError> {
    let (leaf, others) = check_size(chain)?;
    let is_pinned =
        |der: &CertificateDer<'_>| Fingerprint::of_certificate(der) == trust.fingerprint;
    if is_pinned(leaf) {
        return Err(VerifyError::AuthorityAsNode);
    }
    let anchor = others
        .iter()
        .find(|der| is_pinned(der))
        .ok_or(VerifyError::ForeignAuthority)?;
    check_anchor(anchor, now)?;
    check_leaf(leaf, anchor, usage, now)?;

    let leaf = NodeCertificate::read(leaf).map_err(VerifyError::Certificate)?;
    if leaf.mesh() != &trust.mesh {
        return Err(VerifyError::WrongMesh {
            expected: trust.mesh.clone(),
            presented: leaf.mesh().clone(),
        });
    }
    revocation.check(trust.fingerprint, leaf.serial(), date::from_unix(now))?;
    Ok(leaf.node().clone())
}

/// Bounds what a hostile peer can make us hash and parse.
fn check_size<'c, 'd>(
    chain: &'c [CertificateDer<'d>],
) -> Result<(&'c CertificateDer<'d>, &'c [CertificateDer<'d>]), VerifyError> {
    if chain.len() > MAX_CHAIN_LEN {
        return Err(VerifyError::ChainTooLong {
            certificates: chain.len(),
        });
    }
    if let Some(long) = chain.iter().find(|der| der.len() > MAX_CERTIFICATE_LEN) {
        return Err(VerifyError::CertificateTooLong { bytes: long.len() });
    }
    chain.split_first().ok_or(VerifyError::NoCertificate)
}

/// Checks of the anchor what webpki takes for granted.
fn check_anchor(anchor: &CertificateDer<'_>, now: UnixTime) -> Result<(), VerifyError> {
    let parsed = certificate::parse(anchor).ok_or(VerifyError::NotAnAuthority)?;
    let is_ca = matches!(parsed.basic_constraints(), Ok(Some(constraints)) if constraints.value.ca);
    let may_sign = matches!(parsed.key_usage(), Ok(Some(usage)) if usage.value.key_cert_sign());
    if !is_ca || !may_sign {
        return Err(VerifyError::NotAnAuthority);
    }
    let now = date::from_unix(now);
    let not_before = parsed.validity().not_before.to_datetime();
    let not_after = parsed.validity().not_after.to_datetime();
    if now < not_before {
        return Err(VerifyError::AuthorityNotValidYet { not_before, now });
    }
    if now > not_after {
        return Err(VerifyError::AuthorityExpired { not_after, now });
    }
    Ok(())
}

/// Checks signature, dates and usage of `leaf`.
fn check_leaf(
    leaf: &CertificateDer<'_>,
    anchor: &CertificateDer<'_>,
    usage: Usage,
    now: UnixTime,
) -> Result<(), VerifyError> {
    let refused = |error| VerifyError::from_webpki(error, usage);
    let anchor =
        webpki::anchor_from_trusted_cert(anchor).map_err(|_| VerifyError::NotAnAuthority)?;
    let leaf = EndEntityCert::try_from(leaf).map_err(refused)?;
    // `required`, since `KeyUsage::client_auth()` lets a certificate without any usage pass.
    let required = KeyUsage::required(match usage {
        Usage::Client => CLIENT_AUTH,
        Usage::Server => SERVER_AUTH,
    });
    leaf.verify_for_usage(
        &[webpki::aws_lc_rs::ECDSA_P256_SHA256],
        &[anchor],
        &[],
        now,
        required,
        None,
        None,
    )
    .map(|_path| ())
    .map_err(refused)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::reasons;
