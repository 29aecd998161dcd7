//! Reading a revocation list from a file, the same for agents and controllers.
//!
//! **Invariant:** a list that was named and cannot be used is an error, never "nothing is revoked".

use std::{io, path::Path};

use pki::{Crl, Identity, ReadCrlError, Revocation, StaleCrl};

/// The longest file that is read, in bytes: a list of 100,000 serials has 4 MB.
const MAX_BYTES: u64 = 16 << 20;

/// Why a revocation list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadRevocationError {
    /// The file cannot be read.
    #[error("read the revocation list; without it no peer is trusted")]
    Read {
        /// The reason, with the path.
        #[source]
        source: io::Error,
    },
    /// It is no list of this mesh.
    #[error("the revocation list {path} is of no use; without it no peer is trusted")]
    Parse {
        /// Which file.
        path: std::path::PathBuf,
        /// The reason.
        #[source]
        source: ReadCrlError,
    },
}

/// Reads the list at `path`, which the mesh of `identity` must have signed. A list whose successor is
/// overdue keeps every peer out.
///
/// # Errors
/// It cannot be read or is no list of this mesh.
pub fn load(path: &Path, identity: &Identity) -> Result<Revocation, LoadRevocationError> {
    let text = read(path).map_err(|source| LoadRevocationError::Read { source })?;
    let crl = Crl::from_pem(&text, identity.authority()).map_err(|source| {
        let path = path.to_owned();
        LoadRevocationError::Parse { path, source }
    })?;
    Ok(Revocation::new(crl, StaleCrl::Refuse))
}

fn read(path: &Path) -> io::Result<String> {
    if fs_err::metadata(path)?.len() > MAX_BYTES {
        let why = format!("{} is longer than {MAX_BYTES} bytes", path.display());
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    fs_err::read_to_string(path)
}
