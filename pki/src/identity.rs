//! skeleton
use crate::{Addresses, Serial};
use proto::id::{Fingerprint, MeshName, NodeId};
use std::path::{Path, PathBuf};
use time::OffsetDateTime;
/// What to do with a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Leave it and fail.
    Refuse,
    /// Replace it at once.
    Replace,
}
/// What one end needs to speak to the mesh.
#[derive(Debug)]
pub struct Identity {}
/// Why an identity file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadIdentityError {
    /// Others may read it.
    #[error("{path} is readable by others")]
    TooOpen {
        /// The file.
        path: PathBuf,
    },
}
/// Why an identity file was not written.
#[derive(Debug, thiserror::Error)]
pub enum SaveIdentityError {
    /// There is one already.
    #[error("{path} exists")]
    Exists {
        /// The file.
        path: PathBuf,
    },
}
impl Identity {
    /// Reads, checks, and refuses one that is not valid at `now`.
    pub fn load(_path: &Path, _now: OffsetDateTime) -> Result<Self, LoadIdentityError> {
        todo!()
    }
    /// Like `load`, but without regard to the time: for showing it.
    pub fn open(_path: &Path) -> Result<Self, LoadIdentityError> {
        todo!()
    }
    /// Writes it, for the owner's eyes only.
    pub fn save(&self, _path: &Path, _existing: Existing) -> Result<(), SaveIdentityError> {
        todo!()
    }
    /// The mesh's name.
    #[must_use]
    pub fn mesh(&self) -> &MeshName {
        todo!()
    }
    /// What the mesh is.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        todo!()
    }
    /// Who this is.
    #[must_use]
    pub fn node(&self) -> &NodeId {
        todo!()
    }
    /// Known addresses of other nodes.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        todo!()
    }
    /// Serial number of the certificate.
    #[must_use]
    pub fn serial(&self) -> &Serial {
        todo!()
    }
    /// Start of its validity.
    #[must_use]
    pub fn not_before(&self) -> OffsetDateTime {
        todo!()
    }
    /// End of its validity.
    #[must_use]
    pub fn not_after(&self) -> OffsetDateTime {
        todo!()
    }
}
