//! What can be wrong with an identity file. No message shows any of the file's text, since some of
//! it is a private key.

use std::path::PathBuf;

use proto::id::{Fingerprint, NodeId};
use time::OffsetDateTime;

use crate::{KeyError, ParseAddressError, ReadSecretError, VerifyError, WriteSecretError, date};

/// Why an identity file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadIdentityError {
    /// The file cannot be read, or others may read it too.
    #[error(transparent)]
    File(ReadSecretError),
    /// The file is not an identity, or its parts do not belong together.
    #[error("{} is not a usable identity", .path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ParseIdentityError,
    },
    /// The certificate has ended.
    #[error("the identity of {node} in {} ended on {}, and the clock here says {}: issue a new one with `controller pki issue {} {} --out NEW-FILE`", .path.display(), date::show(*.not_after), date::show(*.now), .node.role, .node.name)]
    Expired {
        /// The file.
        path: PathBuf,
        /// Whose identity it was.
        node: NodeId,
        /// Its last second.
        not_after: OffsetDateTime,
        /// The time here.
        now: OffsetDateTime,
    },
    /// The certificate has not begun.
    #[error("the identity of {node} in {} begins on {}, but the clock here says {}: set the clock", .path.display(), date::show(*.not_before), date::show(*.now))]
    NotValidYet {
        /// The file.
        path: PathBuf,
        /// Whose identity it is.
        node: NodeId,
        /// Its first second.
        not_before: OffsetDateTime,
        /// The time here.
        now: OffsetDateTime,
    },
}

/// Why an identity file was not written.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SaveIdentityError(pub WriteSecretError);

/// Why a text is not an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdentityError {
    /// The text is not TOML.
    #[error("line {line} is not TOML")]
    Syntax {
        /// The line, from 1.
        line: usize,
    },
    /// There is a key that an identity does not have.
    #[error(
        "unknown key {shown}: expected mesh, fingerprint, node, certificate, private-key and addresses"
    )]
    UnknownKey {
        /// The key, if it is surely none of the secret.
        shown: String,
    },
    /// A key is missing or its value is of another kind.
    #[error("{key} is missing or not {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// What belongs there.
        expected: &'static str,
    },
    /// An entry of the table of addresses is not one.
    #[error("entry {entry} of addresses is not `\"role/name\" = [\"HOST:PORT\"]`")]
    Addresses {
        /// Which entry, from 1 in the order of the keys.
        entry: usize,
        /// What is wrong with an address, if the rest is right.
        source: Option<ParseAddressError>,
    },
    /// There are not two certificates: the node's, then the CA's.
    #[error("certificate holds {found} PEM certificates, not two: the node's and the CA's")]
    Certificates {
        /// How many there are.
        found: usize,
    },
    /// The private key cannot be read.
    #[error("private-key cannot be used")]
    Key(#[source] KeyError),
    /// The CA's certificate is not the one under the fingerprint.
    #[error("the CA's certificate has fingerprint {found}, not {expected}")]
    OtherAuthority {
        /// The fingerprint that the file names.
        expected: Fingerprint,
        /// The fingerprint of the CA in the file.
        found: Fingerprint,
    },
    /// A peer of the mesh would refuse the certificate.
    #[error("peers would refuse the certificate")]
    Unverified(#[source] VerifyError),
    /// The certificate is that of another node.
    #[error("the file names {file}, its certificate {certificate}")]
    OtherNode {
        /// The node that the file names.
        file: NodeId,
        /// The node that the certificate names.
        certificate: NodeId,
    },
    /// The private key is not that of the certificate.
    #[error("private-key is not the key of the certificate")]
    OtherKey,
}
