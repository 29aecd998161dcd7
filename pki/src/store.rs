//! The CA's files under `MESOSYNC_HOME`, and the record of everything that it ever issued.
//!
//! ```text
//! controller.identity          this controller's own identity
//! pki/ca.pem, pki/ca.key       the CA
//! pki/crl.pem                  the newest revocation list, once there is one
//! pki/issued/<serial>.pem      each certificate that was issued, a renewal beside what it renews
//! ```
//!
//! **Invariant:** a certificate is on record, synced, before anybody gets it, so whatever is out
//! there can be listed and revoked. Guarded by `nothing_is_issued_that_cannot_be_recorded`.

mod error;

use std::{
    io,
    path::{Path, PathBuf},
};

use proto::id::{MeshName, NodeId, NodeName, Role};
use time::OffsetDateTime;

pub use error::{
    CreateStoreError, ListError, OpenStoreError, PublishCrlError, ReadStoreCrlError,
    StoreIssueError,
};

use crate::{
    Addresses, Authority, Crl, Existing, Identity, NodeCertificate, OlderCrl, Serial, Term,
    certificate::MAX_CERTIFICATE_LEN, crl::MAX_CRL_LEN, secret_file,
};

const DIRECTORY: &str = "pki";
const ISSUED: &str = "issued";
const CRL_FILE: &str = "crl.pem";
const CONTROLLER_FILE: &str = "controller.identity";

/// What a new store begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMesh {
    /// What the mesh is to be called.
    pub name: MeshName,
    /// What this controller is to be called.
    pub controller: NodeName,
    /// The time.
    pub now: OffsetDateTime,
}

/// A certificate on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// For whom it was issued.
    pub node: NodeId,
    /// Its serial number.
    pub serial: Serial,
    /// Its first second.
    pub not_before: OffsetDateTime,
    /// Its last second.
    pub not_after: OffsetDateTime,
    /// Since when it is revoked, if it is.
    pub revoked: Option<OffsetDateTime>,
}

/// The CA of a mesh with its records, on the host of an operator.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    authority: Authority,
}

impl Store {
    /// Makes a mesh: its CA, and this controller's own identity.
    ///
    /// Everything but the identity appears in one step, so that a failure leaves no half of a CA.
    ///
    /// # Errors
    ///
    /// There is a CA or an identity already, or the system refuses.
    pub fn create(home: &Path, mesh: NewMesh) -> Result<Self, CreateStoreError> {
        let directory = home.join(DIRECTORY);
        let own = Self::controller_identity(home);
        for path in [&directory, &own] {
            if path.symlink_metadata().is_ok() {
                return Err(CreateStoreError::Exists { path: path.clone() });
            }
        }
        let failed = |source| CreateStoreError::Directory {
            path: directory.clone(),
            source,
        };
        create_private_directory(home).map_err(failed)?;
        let draft = private_draft(home).map_err(failed)?;
        create_private_directory(&draft.path().join(ISSUED)).map_err(failed)?;

        let authority =
            Authority::create(&mesh.name, mesh.now).map_err(CreateStoreError::Create)?;
        authority
            .save(draft.path())
            .map_err(CreateStoreError::Save)?;
        let mut store = Self {
            directory: draft.path().to_owned(),
            authority,
        };
        let controller = NodeId {
            role: Role::Controller,
            name: mesh.controller,
        };
        let identity = store
            .issue_identity(controller, Addresses::new(), Term::starting(mesh.now))
            .map_err(CreateStoreError::Issue)?;

        fs_err::rename(draft.path(), &directory).map_err(failed)?;
        // Renamed away: there is nothing left for the draft to remove.
        let _ = draft.keep();
        secret_file::sync_directory(home).map_err(failed)?;
        store.directory = directory;
        identity
            .save(&own, Existing::Refuse)
            .map_err(CreateStoreError::Identity)?;
        Ok(store)
    }

    /// Opens what [`Store::create`] made.
    ///
    /// # Errors
    ///
    /// There is no CA under `home`, or it cannot be used.
    pub fn open(home: &Path) -> Result<Self, OpenStoreError> {
        let directory = home.join(DIRECTORY);
        if !directory.is_dir() {
            return Err(OpenStoreError::Missing { path: directory });
        }
        let authority = Authority::load(&directory).map_err(|source| OpenStoreError::Load {
            path: directory.clone(),
            source,
        })?;
        Ok(Self {
            directory,
            authority,
        })
    }

    /// Returns where this controller's own identity lies.
    #[must_use]
    pub fn controller_identity(home: &Path) -> PathBuf {
        home.join(CONTROLLER_FILE)
    }

    /// Returns the CA.
    #[must_use]
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Makes a key and a certificate for `node`, records the certificate, and returns both.
    ///
    /// A second live certificate for one name is allowed, since that is what a renewal is.
    ///
    /// # Errors
    ///
    /// The CA refuses, or the record cannot be written; then nothing is handed out.
    pub fn issue_identity(
        &self,
        node: NodeId,
        addresses: Addresses,
        term: Term,
    ) -> Result<Identity, StoreIssueError> {
        let identity = self
            .authority
            .issue_identity(node, addresses, term)
            .map_err(StoreIssueError::Issue)?;
        self.record(identity.certificate())?;
        Ok(identity)
    }

    /// Does the same for many nodes, without waiting for the disk for each of them.
    ///
    /// # Errors
    ///
    /// As [`Store::issue_identity`]; then none of them is handed out.
    pub fn issue_identities(
        &self,
        nodes: impl IntoIterator<Item = NodeId>,
        addresses: &Addresses,
        term: Term,
    ) -> Result<Vec<Identity>, StoreIssueError> {
        let identities = nodes
            .into_iter()
            .map(|node| {
                self.authority
                    .issue_identity(node, addresses.clone(), term)
                    .map_err(StoreIssueError::Issue)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let records = identities
            .iter()
            .map(|identity| self.record_of(identity.certificate()));
        secret_file::write_new(&self.directory.join(ISSUED), records)
            .map_err(StoreIssueError::Record)?;
        Ok(identities)
    }

    /// Certifies the key of a signing request for `node`, and records the certificate.
    ///
    /// # Errors
    ///
    /// The CA refuses, or the record cannot be written; then nothing is handed out.
    pub fn sign_csr(
        &self,
        csr: &[u8],
        node: &NodeId,
        term: Term,
    ) -> Result<NodeCertificate, StoreIssueError> {
        let certificate = self
            .authority
            .sign_csr(csr, node, term)
            .map_err(StoreIssueError::Issue)?;
        self.record(&certificate)?;
        Ok(certificate)
    }

    /// Returns every certificate on record, by node and then by its end.
    ///
    /// # Errors
    ///
    /// A record or the revocation list cannot be read.
    pub fn list(&self) -> Result<Vec<Issued>, ListError> {
        let crl = self.crl().map_err(ListError::Crl)?;
        let entries = fs_err::read_dir(self.directory.join(ISSUED)).map_err(ListError::Read)?;
        let mut issued = Vec::new();
        for entry in entries {
            let path = entry.map_err(ListError::Read)?.path();
            // A record that a crash left unfinished has the temporary file's name, not this ending.
            if path.extension().is_none_or(|ending| ending != "pem") {
                continue;
            }
            let certificate = read_record(&path)?;
            let revoked = crl
                .as_ref()
                .and_then(|crl| crl.revoked().get(certificate.serial()).copied());
            issued.push(Issued {
                node: certificate.node().clone(),
                serial: certificate.serial().clone(),
                not_before: certificate.not_before(),
                not_after: certificate.not_after(),
                revoked,
            });
        }
        issued.sort_by(|a, b| (&a.node, a.not_after).cmp(&(&b.node, b.not_after)));
        Ok(issued)
    }

    /// Returns the newest revocation list, if there is one.
    ///
    /// # Errors
    ///
    /// There is one, but it cannot be read or is not of this CA.
    pub fn crl(&self) -> Result<Option<Crl>, ReadStoreCrlError> {
        let path = self.directory.join(CRL_FILE);
        let text = match read_bounded(&path, 2 * MAX_CRL_LEN) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ReadStoreCrlError::Read(error)),
        };
        Crl::from_pem(&text, self.authority.certificate())
            .map(Some)
            .map_err(|source| ReadStoreCrlError::Parse { path, source })
    }

    /// Keeps `crl` as the newest revocation list.
    ///
    /// # Errors
    ///
    /// It does not follow the newest one, is not of this CA, or the system refuses.
    pub fn publish_crl(&self, crl: &Crl) -> Result<(), PublishCrlError> {
        let fingerprint = self.authority.fingerprint();
        if crl.issuer() != fingerprint {
            return Err(PublishCrlError::Older(OlderCrl::Issuer {
                offered: crl.issuer(),
                known: fingerprint,
            }));
        }
        if let Some(known) = self.crl().map_err(PublishCrlError::Known)? {
            crl.check_follows(&known).map_err(PublishCrlError::Older)?;
        }
        let path = self.directory.join(CRL_FILE);
        secret_file::write(&path, &crl.to_pem(), Existing::Replace).map_err(PublishCrlError::Write)
    }

    fn record(&self, certificate: &NodeCertificate) -> Result<(), StoreIssueError> {
        let (path, text) = self.record_of(certificate);
        secret_file::write(&path, &text, Existing::Refuse).map_err(StoreIssueError::Record)
    }

    /// Returns the file that is the record of a certificate, and its text.
    fn record_of(&self, certificate: &NodeCertificate) -> (PathBuf, String) {
        let name = format!("{}.pem", certificate.serial());
        let block = pem::Pem::new("CERTIFICATE", certificate.der().to_vec());
        let path = self.directory.join(ISSUED).join(name);
        (path, secret_file::encode_pem(&block))
    }
}

fn read_record(path: &Path) -> Result<NodeCertificate, ListError> {
    let text = read_bounded(path, 2 * MAX_CERTIFICATE_LEN).map_err(ListError::Read)?;
    let damaged = || ListError::Damaged {
        path: path.to_owned(),
    };
    let block = pem::parse(text).map_err(|_| damaged())?;
    let certificate = NodeCertificate::read(block.contents()).map_err(|_| damaged())?;
    let named = path.file_stem().and_then(|stem| stem.to_str());
    if named != Some(certificate.serial().to_string().as_str()) {
        return Err(damaged());
    }
    Ok(certificate)
}

/// Reads a file of the store; one longer than `limit` bytes is an error.
fn read_bounded(path: &Path, limit: usize) -> io::Result<String> {
    use io::Read as _;

    let mut text = String::new();
    let read = fs_err::File::open(path)?
        .take(limit as u64 + 1)
        .read_to_string(&mut text)?;
    if read > limit {
        let message = format!("{} has more than {limit} bytes", path.display());
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(text)
}

/// Makes an empty directory beside the store's final place, removed again unless it is renamed.
fn private_draft(home: &Path) -> io::Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".mesosync-pki-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.tempdir_in(home)
}

/// Makes `path` and what leads there, for the owner only (mode 0700); an existing one stays.
fn create_private_directory(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(test)]
mod tests;
