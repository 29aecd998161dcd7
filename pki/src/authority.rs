//! The CA of a mesh: decides what to sign, and signs nothing else.
//!
//! A certificate is made from a [`NodeId`], whose existence proves that the name is harmless, and
//! from a public key. What a request asks for beyond that has no way in.
//!
//! **Invariant:** whatever leaves this file signed passes the verifiers of this crate. Guarded by
//! reading every certificate and list back before it is handed out.

mod error;
pub(crate) mod template;

use std::{collections::BTreeMap, path::Path, time::Duration};

use proto::id::{Fingerprint, MeshName, NodeId};
use rcgen::{
    CertificateRevocationListParams, Issuer, KeyIdMethod, RevokedCertParams, SerialNumber,
};
use rustls::{crypto::aws_lc_rs, pki_types::CertificateDer};
use time::OffsetDateTime;
use x509_parser::prelude::GeneralName;

pub use error::{
    CreateAuthorityError, IssueError, LoadAuthorityError, SaveAuthorityError, SignCrlError,
};

use crate::{
    Addresses, Crl, Existing, Identity, NodeCertificate, PublicKey, Serial, certificate,
    identity::Parts, key::PrivateKey, names, secret_file,
};

/// How long a node's certificate is valid by default: 90 days.
pub const NODE_VALIDITY: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// How long a CA is valid: ten years of 365 days. A new CA means a new mesh, so it has to last.
const AUTHORITY_VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// How far before its issue a certificate begins: five minutes.
///
/// Hosts' clocks disagree. An agent whose clock is a little behind that of the CA's host would else
/// refuse a certificate that was issued a moment ago.
const BACKDATED: Duration = Duration::from_secs(5 * 60);

const CERTIFICATE_FILE: &str = "ca.pem";
const KEY_FILE: &str = "ca.key";

/// When a certificate is issued, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// The time of issue.
    pub now: OffsetDateTime,
    /// How long from then.
    pub validity: Duration,
}

impl Term {
    /// The default validity, beginning at `now`.
    #[must_use]
    pub const fn starting(now: OffsetDateTime) -> Self {
        Self {
            now,
            validity: NODE_VALIDITY,
        }
    }
}

/// What a revocation list is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextCrl {
    /// Its number; above that of every list before.
    pub number: u64,
    /// When it is made.
    pub this_update: OffsetDateTime,
    /// When the next one is due.
    pub next_update: OffsetDateTime,
    /// What is revoked, and since when.
    pub revoked: BTreeMap<Serial, OffsetDateTime>,
}

/// The CA of a mesh: its key and its certificate.
#[derive(Debug)]
pub struct Authority {
    mesh: MeshName,
    certificate: CertificateDer<'static>,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
    key: PrivateKey,
}

impl Authority {
    /// Makes the CA of a new mesh: a key, and a certificate for ten years.
    ///
    /// # Errors
    ///
    /// There is no randomness, or `now` is beyond what a certificate can say.
    pub fn create(mesh: &MeshName, now: OffsetDateTime) -> Result<Self, CreateAuthorityError> {
        let key = PrivateKey::generate().map_err(CreateAuthorityError::Key)?;
        let serial = random_serial().ok_or(CreateAuthorityError::NoRandomness)?;
        let (not_before, not_after) =
            period(now, AUTHORITY_VALIDITY).ok_or(CreateAuthorityError::Dates)?;
        let params = template::authority(mesh, &serial, not_before, not_after)
            .map_err(CreateAuthorityError::Sign)?;
        let pair = key.pair().map_err(CreateAuthorityError::Key)?;
        let signed = params
            .self_signed(&*pair)
            .map_err(CreateAuthorityError::Sign)?;
        Self::assemble(signed.der().clone(), key).map_err(CreateAuthorityError::Unusable)
    }

    /// Reads the CA from `ca.pem` and `ca.key` in `directory`.
    ///
    /// # Errors
    ///
    /// A file cannot be read, the key is open to others, or the two do not belong together.
    pub fn load(directory: &Path) -> Result<Self, LoadAuthorityError> {
        let path = directory.join(CERTIFICATE_FILE);
        let text = fs_err::read(&path).map_err(LoadAuthorityError::Read)?;
        let block = pem::parse(text).map_err(|_| LoadAuthorityError::Certificate)?;
        let key = secret_file::read(&directory.join(KEY_FILE)).map_err(LoadAuthorityError::File)?;
        let key = PrivateKey::from_pem(&key).map_err(LoadAuthorityError::Key)?;
        Self::assemble(CertificateDer::from(block.into_contents()), key)
    }

    /// Writes the CA to `ca.pem` and `ca.key` (mode 0600) in `directory`, over no existing file.
    ///
    /// # Errors
    ///
    /// There is a CA already, or the system refuses.
    pub fn save(&self, directory: &Path) -> Result<(), SaveAuthorityError> {
        let files = [
            (KEY_FILE, self.key.to_pem()),
            (CERTIFICATE_FILE, self.certificate_pem().into()),
        ];
        for (name, text) in files {
            secret_file::write(&directory.join(name), &text, Existing::Refuse)
                .map_err(SaveAuthorityError)?;
        }
        Ok(())
    }

    /// Returns the name of the mesh.
    #[must_use]
    pub const fn mesh(&self) -> &MeshName {
        &self.mesh
    }

    /// Returns the fingerprint of the CA's certificate: what the mesh is.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_certificate(&self.certificate)
    }

    /// Returns the CA's certificate.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Returns the CA's certificate as PEM text.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        secret_file::encode_pem(&pem::Pem::new("CERTIFICATE", self.certificate.to_vec()))
    }

    /// Returns the last second at which the CA is valid.
    #[must_use]
    pub const fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// Certifies that `key` is that of `node`.
    ///
    /// # Errors
    ///
    /// The term is empty or outlives the CA, or signing fails.
    pub fn issue(
        &self,
        node: &NodeId,
        key: &PublicKey,
        term: Term,
    ) -> Result<NodeCertificate, IssueError> {
        let serial = random_serial().ok_or(IssueError::NoRandomness)?;
        let (not_before, not_after) = self.node_period(term)?;
        let params = template::node(&self.mesh, node, &serial, not_before, not_after)
            .map_err(IssueError::Sign)?;
        let pair = self.key.pair().map_err(IssueError::Key)?;
        let issuer =
            Issuer::from_ca_cert_der(&self.certificate, &*pair).map_err(IssueError::Sign)?;
        let signed = params
            .signed_by(key.info(), &issuer)
            .map_err(IssueError::Sign)?;
        NodeCertificate::read(signed.der()).map_err(IssueError::Unusable)
    }

    /// Certifies the key of a signing request in DER for `node`. Whatever else the request asks for
    /// is ignored.
    ///
    /// # Errors
    ///
    /// The request proves no key, or as [`Authority::issue`].
    pub fn sign_csr(
        &self,
        csr: &[u8],
        node: &NodeId,
        term: Term,
    ) -> Result<NodeCertificate, IssueError> {
        let key = PublicKey::from_csr(csr).map_err(IssueError::Csr)?;
        self.issue(node, &key, term)
    }

    /// Makes a key for `node`, certifies it, and returns all that the node needs.
    ///
    /// # Errors
    ///
    /// There is no randomness, or as [`Authority::issue`].
    pub fn issue_identity(
        &self,
        node: NodeId,
        addresses: Addresses,
        term: Term,
    ) -> Result<Identity, IssueError> {
        let key = PrivateKey::generate().map_err(IssueError::Key)?;
        let public = key.public().map_err(IssueError::Key)?;
        let certificate = self.issue(&node, &public, term)?;
        Identity::assemble(Parts {
            mesh: self.mesh.clone(),
            fingerprint: self.fingerprint(),
            node,
            certificate: certificate.der().to_vec(),
            authority: self.certificate.to_vec(),
            key,
            addresses,
        })
        .map_err(IssueError::Identity)
    }

    /// Signs a revocation list.
    ///
    /// # Errors
    ///
    /// `next_update` does not follow `this_update`, or signing fails.
    pub fn sign_crl(&self, next: &NextCrl) -> Result<Crl, SignCrlError> {
        let revoked_certs = next
            .revoked
            .iter()
            .map(|(serial, since)| RevokedCertParams {
                serial_number: SerialNumber::from_slice(serial.as_bytes()),
                revocation_time: *since,
                reason_code: None,
                invalidity_date: None,
            });
        let params = CertificateRevocationListParams {
            this_update: next.this_update,
            next_update: next.next_update,
            crl_number: SerialNumber::from(next.number),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let pair = self.key.pair().map_err(SignCrlError::Key)?;
        let issuer =
            Issuer::from_ca_cert_der(&self.certificate, &*pair).map_err(SignCrlError::Sign)?;
        let signed = params.signed_by(&issuer).map_err(SignCrlError::Sign)?;
        Crl::read(signed.der(), &self.certificate).map_err(SignCrlError::Unusable)
    }

    /// Puts a certificate and a key together, if they make a CA of a mesh.
    fn assemble(
        certificate: CertificateDer<'static>,
        key: PrivateKey,
    ) -> Result<Self, LoadAuthorityError> {
        let parsed = certificate::parse(&certificate).ok_or(LoadAuthorityError::Certificate)?;
        let alternative_names =
            certificate::alternative_names(&parsed).map_err(|_| LoadAuthorityError::Certificate)?;
        let mesh = match alternative_names {
            [GeneralName::URI(uri)] => names::read_mesh_uri(uri),
            _ => None,
        };
        let mesh = mesh
            .filter(|_| parsed.is_ca())
            .ok_or(LoadAuthorityError::NotAnAuthority)?;
        let public = key.public().map_err(LoadAuthorityError::Key)?;
        if public.to_der() != parsed.public_key().raw {
            return Err(LoadAuthorityError::OtherKey);
        }
        let not_before = parsed.validity().not_before.to_datetime();
        let not_after = parsed.validity().not_after.to_datetime();
        Ok(Self {
            mesh,
            certificate,
            not_before,
            not_after,
            key,
        })
    }

    /// Returns the dates of a node's certificate, inside those of the CA.
    fn node_period(&self, term: Term) -> Result<(OffsetDateTime, OffsetDateTime), IssueError> {
        let (not_before, not_after) = period(term.now, term.validity).ok_or(IssueError::Dates)?;
        if term.now < self.not_before {
            return Err(IssueError::BeforeAuthority {
                begins: self.not_before,
                now: term.now,
            });
        }
        if not_after > self.not_after {
            return Err(IssueError::OutlivesAuthority {
                not_after,
                authority: self.not_after,
            });
        }
        Ok((not_before.max(self.not_before), not_after))
    }
}

/// Returns the dates of a certificate that is issued at `now`; `None` if there are no such dates.
fn period(now: OffsetDateTime, validity: Duration) -> Option<(OffsetDateTime, OffsetDateTime)> {
    if validity < Duration::from_secs(1) {
        return None;
    }
    let not_before = now.checked_sub(time::Duration::try_from(BACKDATED).ok()?)?;
    let not_after = now.checked_add(time::Duration::try_from(validity).ok()?)?;
    Some((not_before, not_after))
}

fn random_serial() -> Option<Serial> {
    Serial::random(aws_lc_rs::default_provider().secure_random).ok()
}

#[cfg(test)]
mod tests;
