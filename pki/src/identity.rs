//! An identity: the one file that a node needs to speak to its mesh.
//!
//! Owns what is in it and the checks that its parts belong together. Reading and checking against
//! the clock are apart, so that an expired identity can still be shown.
//!
//! **Invariant:** in an [`Identity`] the key is that of the certificate, the certificate is signed by
//! the CA under the fingerprint, and it names the node and the mesh that the file names. Guarded by
//! the tests of `identity`.

mod error;
mod file;

use std::path::Path;

use proto::id::{Fingerprint, MeshName, NodeId};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use zeroize::Zeroizing;

pub use error::{LoadIdentityError, ParseIdentityError, SaveIdentityError};

use crate::{
    Addresses, NodeCertificate, Revocation, Serial, StaleCrl, VerifyError, date,
    key::PrivateKey,
    secret_file,
    verify::{Trust, Usage, verify_peer},
};

/// What to do with a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Leave it alone and fail.
    Refuse,
    /// Put the new one in its place, in one step.
    Replace,
}

/// What one end needs to speak to the mesh: who it is, the proof, and whom to believe.
#[derive(Debug)]
pub struct Identity {
    trust: Trust,
    certificate: NodeCertificate,
    /// The node's certificate and the CA's, as they are presented to peers.
    chain: [CertificateDer<'static>; 2],
    key: PrivateKey,
    addresses: Addresses,
}

/// The parts of an identity, before it is known that they belong together.
pub(crate) struct Parts {
    pub(crate) mesh: MeshName,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) node: NodeId,
    pub(crate) certificate: Vec<u8>,
    pub(crate) authority: Vec<u8>,
    pub(crate) key: PrivateKey,
    pub(crate) addresses: Addresses,
}

impl Identity {
    /// Reads the identity file at `path` and refuses one that is not valid at `now`.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is open to others, does not hold together, or its certificate has
    /// ended or not begun. The message says what to do.
    pub fn load(path: &Path, now: OffsetDateTime) -> Result<Self, LoadIdentityError> {
        let identity = Self::open(path)?;
        identity.check_dates(path, now)?;
        Ok(identity)
    }

    /// Reads the identity file at `path` whatever the date, to show it.
    ///
    /// # Errors
    ///
    /// As [`Identity::load`], but for the dates.
    pub fn open(path: &Path) -> Result<Self, LoadIdentityError> {
        let text = secret_file::read(path).map_err(LoadIdentityError::File)?;
        Self::parse(&text).map_err(|source| LoadIdentityError::Parse {
            path: path.to_owned(),
            source,
        })
    }

    /// Reads the text of an identity file, and checks that its parts belong together.
    ///
    /// # Errors
    ///
    /// Says which part is wrong, and never shows any of the text.
    pub fn parse(text: &str) -> Result<Self, ParseIdentityError> {
        Self::assemble(file::read(text)?)
    }

    /// Writes the identity to `path`: mode 0600 from the first byte, whole or not at all.
    ///
    /// # Errors
    ///
    /// There is a file already, or the system refuses.
    pub fn save(&self, path: &Path, existing: Existing) -> Result<(), SaveIdentityError> {
        secret_file::write(path, &file::write(self), existing).map_err(SaveIdentityError)
    }

    /// Writes new identities into `directory`, each as `NAME.identity`, as [`Identity::save`] does
    /// but without waiting for the disk for each of them.
    ///
    /// # Errors
    ///
    /// There is a file of that name already, or the system refuses.
    pub fn save_all(identities: &[Self], directory: &Path) -> Result<(), SaveIdentityError> {
        let files = identities.iter().map(|identity| {
            let path = directory.join(format!("{}.identity", identity.node().name));
            (path, file::write(identity))
        });
        secret_file::write_new(directory, files).map_err(SaveIdentityError)
    }

    /// Returns the name of the mesh.
    #[must_use]
    pub const fn mesh(&self) -> &MeshName {
        &self.trust.mesh
    }

    /// Returns the fingerprint of the mesh's CA: what the mesh is.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.trust.fingerprint
    }

    /// Returns who this is.
    #[must_use]
    pub const fn node(&self) -> &NodeId {
        self.certificate.node()
    }

    /// Returns how many whole days are left when it is time to issue a new identity: two weeks
    /// before the end. One that was issued for less than four weeks is meant to be short.
    #[must_use]
    pub fn days_left_when_due(&self, now: OffsetDateTime) -> Option<i64> {
        const DUE: time::Duration = time::Duration::weeks(2);
        let left = self.certificate.not_after() - now;
        let life = self.certificate.not_after() - self.certificate.not_before();
        (left < DUE && life > 2 * DUE).then(|| left.whole_days())
    }

    /// Returns the node's certificate.
    #[must_use]
    pub const fn certificate(&self) -> &NodeCertificate {
        &self.certificate
    }

    /// Returns the CA's certificate, as [`crate::Crl::read`] wants it.
    #[must_use]
    pub const fn authority(&self) -> &CertificateDer<'static> {
        &self.chain[1]
    }

    /// Returns where other nodes were last known to listen.
    #[must_use]
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Returns the certificate's serial number.
    #[must_use]
    pub const fn serial(&self) -> &Serial {
        self.certificate.serial()
    }

    /// Returns the first second at which the identity is valid.
    #[must_use]
    pub const fn not_before(&self) -> OffsetDateTime {
        self.certificate.not_before()
    }

    /// Returns the last second at which the identity is valid.
    #[must_use]
    pub const fn not_after(&self) -> OffsetDateTime {
        self.certificate.not_after()
    }

    /// Returns a secret of this identity for one purpose: the same whenever it is asked for, and
    /// telling nothing of the key, or of the secret for another purpose.
    #[must_use]
    pub fn secret_for(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        self.key.secret_for(purpose)
    }

    pub(crate) fn trust(&self) -> Trust {
        self.trust.clone()
    }

    pub(crate) const fn chain(&self) -> &[CertificateDer<'static>; 2] {
        &self.chain
    }

    pub(crate) const fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// Puts the parts together, if they belong together. Dates are not looked at.
    pub(crate) fn assemble(parts: Parts) -> Result<Self, ParseIdentityError> {
        let authority = CertificateDer::from(parts.authority);
        let found = Fingerprint::of_certificate(&authority);
        if found != parts.fingerprint {
            return Err(ParseIdentityError::OtherAuthority {
                expected: parts.fingerprint,
                found,
            });
        }
        let certificate = NodeCertificate::read(&parts.certificate)
            .map_err(|source| ParseIdentityError::Unverified(VerifyError::Certificate(source)))?;
        let identity = Self {
            trust: Trust {
                mesh: parts.mesh,
                fingerprint: parts.fingerprint,
            },
            chain: [certificate.der().clone(), authority],
            certificate,
            key: parts.key,
            addresses: parts.addresses,
        };
        // At its first second a certificate is as valid as it ever gets.
        identity
            .verify_at(identity.not_before())
            .map_err(ParseIdentityError::Unverified)?;
        if identity.node() != &parts.node {
            return Err(ParseIdentityError::OtherNode {
                file: parts.node,
                certificate: identity.node().clone(),
            });
        }
        let public = identity.key.public().map_err(ParseIdentityError::Key)?;
        if public.to_der() != identity.certificate.public_key() {
            return Err(ParseIdentityError::OtherKey);
        }
        Ok(identity)
    }

    /// Verifies the own chain as a peer would. Every role may dial, so that usage is asked for.
    fn verify_at(&self, now: OffsetDateTime) -> Result<NodeId, VerifyError> {
        let nothing_revoked = Revocation::none_known(StaleCrl::Refuse);
        let now = date::to_unix(now);
        verify_peer(
            &self.chain,
            &self.trust,
            Usage::Client,
            now,
            &nothing_revoked,
        )
    }

    fn check_dates(&self, path: &Path, now: OffsetDateTime) -> Result<(), LoadIdentityError> {
        let Err(refused) = self.verify_at(now) else {
            return Ok(());
        };
        let (path, node) = (path.to_owned(), self.node().clone());
        Err(if let VerifyError::Expired { not_after, now } = refused {
            LoadIdentityError::Expired {
                path,
                node,
                not_after,
                now,
            }
        } else if let VerifyError::NotValidYet { not_before, now } = refused {
            LoadIdentityError::NotValidYet {
                path,
                node,
                not_before,
                now,
            }
        } else {
            LoadIdentityError::Parse {
                path,
                source: ParseIdentityError::Unverified(refused),
            }
        })
    }
}

#[cfg(test)]
mod tests;
