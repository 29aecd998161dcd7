//! Why the CA did not do what it was asked to.

use std::io;

use time::OffsetDateTime;

use crate::{
    KeyError, ParseIdentityError, ReadCertificateError, ReadCrlError, ReadCsrError,
    ReadSecretError, WriteSecretError, date,
};

/// Why no CA was made.
#[derive(Debug, thiserror::Error)]
pub enum CreateAuthorityError {
    /// The system gave no randomness for a serial number.
    #[error("draw a serial number: no randomness to be had")]
    NoRandomness,
    /// No key could be made.
    #[error("make the CA's key")]
    Key(#[source] KeyError),
    /// The dates cannot stand in a certificate.
    #[error("the CA's validity cannot be written into a certificate: set the clock")]
    Dates,
    /// Signing failed.
    #[error("sign the CA's certificate")]
    Sign(#[source] rcgen::Error),
    /// What was signed is not usable.
    #[error("read the CA back")]
    Unusable(#[source] LoadAuthorityError),
}

/// Why the CA's files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadAuthorityError {
    /// The certificate cannot be read; the source names the file.
    #[error("read the CA's certificate")]
    Read(#[source] io::Error),
    /// The key cannot be read, or others may read it too.
    #[error(transparent)]
    File(ReadSecretError),
    /// The key is not one of a mesh.
    #[error("the CA's key cannot be used")]
    Key(#[source] KeyError),
    /// The certificate is not one.
    #[error("ca.pem is not an X.509 certificate")]
    Certificate,
    /// The certificate is not that of a mesh's CA.
    #[error("ca.pem is not the certificate of a mesh's CA")]
    NotAnAuthority,
    /// The key is not that of the certificate.
    #[error("ca.key is not the key of ca.pem")]
    OtherKey,
}

/// Why the CA's files were not written.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SaveAuthorityError(pub WriteSecretError);

/// Why no certificate was issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The system gave no randomness for a serial number.
    #[error("draw a serial number: no randomness to be had")]
    NoRandomness,
    /// A key could not be made or used.
    #[error("use a key")]
    Key(#[source] KeyError),
    /// The request proves no key.
    #[error("read the signing request")]
    Csr(#[source] ReadCsrError),
    /// The validity is shorter than a second, or ends beyond what a certificate can say.
    #[error("the validity is empty or too long for a certificate")]
    Dates,
    /// The certificate would begin before the CA.
    #[error("the CA begins on {}, but the clock here says {}: set the clock", date::show(*.begins), date::show(*.now))]
    BeforeAuthority {
        /// The first second of the CA.
        begins: OffsetDateTime,
        /// The time here.
        now: OffsetDateTime,
    },
    /// The certificate would end after the CA.
    #[error("the certificate would be valid until {}, but the CA ends on {}: ask for a shorter validity, or make a new mesh", date::show(*.not_after), date::show(*.authority))]
    OutlivesAuthority {
        /// The last second that was asked for.
        not_after: OffsetDateTime,
        /// The last second of the CA.
        authority: OffsetDateTime,
    },
    /// Signing failed.
    #[error("sign the certificate")]
    Sign(#[source] rcgen::Error),
    /// What was signed is not the certificate of a node.
    #[error("read the certificate back")]
    Unusable(#[source] ReadCertificateError),
    /// What was signed would be refused by peers.
    #[error("put the identity together")]
    Identity(#[source] ParseIdentityError),
}

/// Why no revocation list was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignCrlError {
    /// The CA's key cannot be used.
    #[error("use the CA's key")]
    Key(#[source] KeyError),
    /// Signing failed, or the dates are in the wrong order.
    #[error("sign the revocation list")]
    Sign(#[source] rcgen::Error),
    /// What was signed would not be read.
    #[error("read the revocation list back")]
    Unusable(#[source] ReadCrlError),
}
