//! Why the store did not do what it was asked to.

use std::{io, path::PathBuf};

use crate::{
    CreateAuthorityError, IssueError, LoadAuthorityError, OlderCrl, ReadCrlError,
    SaveAuthorityError, SaveIdentityError, WriteSecretError,
};

/// Why no mesh was made.
#[derive(Debug, thiserror::Error)]
pub enum CreateStoreError {
    /// There is a CA or an identity already.
    #[error("{} exists already: a mesh is made once; a second one needs a folder of its own, --home DIR", .path.display())]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// A directory cannot be made.
    #[error("make the directory {}", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The CA could not be made.
    #[error("make the CA")]
    Create(#[source] CreateAuthorityError),
    /// The CA could not be written.
    #[error("write the CA")]
    Save(#[source] SaveAuthorityError),
    /// The controller's own identity could not be issued.
    #[error("issue this controller's own identity")]
    Issue(#[source] StoreIssueError),
    /// The controller's own identity could not be written.
    #[error("write this controller's own identity")]
    Identity(#[source] SaveIdentityError),
}

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// There is no store.
    #[error("there is no CA in {}: make one with `controller pki init`", .path.display())]
    Missing {
        /// Where it would be.
        path: PathBuf,
    },
    /// The CA cannot be used.
    #[error("use the CA in {}", .path.display())]
    Load {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        source: LoadAuthorityError,
    },
}

/// Why nothing was issued.
#[derive(Debug, thiserror::Error)]
pub enum StoreIssueError {
    /// The CA refused.
    #[error(transparent)]
    Issue(IssueError),
    /// The record could not be written.
    #[error("record the certificate")]
    Record(#[source] WriteSecretError),
}

/// Why the records cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// A record cannot be read; the source names it.
    #[error("read the record of certificates")]
    Read(#[source] io::Error),
    /// A record does not hold the certificate that its name says.
    #[error("{} does not hold the certificate that its name says", .path.display())]
    Damaged {
        /// The record.
        path: PathBuf,
    },
    /// The revocation list cannot be read.
    #[error("find out what is revoked")]
    Crl(#[source] ReadStoreCrlError),
}

/// Why the newest revocation list cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadStoreCrlError {
    /// The file cannot be read; the source names it.
    #[error("read the revocation list")]
    Read(#[source] io::Error),
    /// The file is no revocation list of this CA.
    #[error("{} cannot be used", .path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ReadCrlError,
    },
}

/// Why a revocation list was not kept.
#[derive(Debug, thiserror::Error)]
pub enum PublishCrlError {
    /// The newest one cannot be read, so nobody knows whether this one follows it.
    #[error("compare with the newest revocation list")]
    Known(#[source] ReadStoreCrlError),
    /// It does not follow the newest one.
    #[error(transparent)]
    Older(OlderCrl),
    /// It cannot be written.
    #[error("write the revocation list")]
    Write(#[source] WriteSecretError),
}
