//! Certificate signing requests: of which the public key is believed, and nothing else.
//!
//! A request may ask for any name, for CA rights or for key usages. None of that is even read: a
//! [`PublicKey`] is all that comes out.

use rcgen::SubjectPublicKeyInfo;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use webpki::RawPublicKeyEntity;
use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer};

/// The longest request that is read, in bytes. An honest one takes some 400.
const MAX_CSR_LEN: usize = 8 * 1024;

/// The public key of an ECDSA P-256 pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(SubjectPublicKeyInfo);

/// Why no key was taken from a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadCsrError {
    /// There are more bytes than an honest request has.
    #[error("the request has {bytes} bytes, more than {MAX_CSR_LEN}")]
    TooLong {
        /// How many there are.
        bytes: usize,
    },
    /// The bytes are no PKCS#10 request.
    #[error("not a certificate signing request")]
    Malformed,
    /// The key is not of the kind that a mesh uses.
    #[error("the requested key is not an ECDSA P-256 key")]
    KeyKind,
    /// Whoever sent the request does not hold the key.
    #[error("the request is not signed by the key that it asks for")]
    Signature,
}

impl PublicKey {
    /// Takes the key from a request in DER, once the request's signature proves that its sender
    /// holds the private half.
    ///
    /// # Errors
    ///
    /// Says why no key was taken.
    pub fn from_csr(der: &[u8]) -> Result<Self, ReadCsrError> {
        if der.len() > MAX_CSR_LEN {
            return Err(ReadCsrError::TooLong { bytes: der.len() });
        }
        let Ok(([], request)) = X509CertificationRequest::from_der(der) else {
            return Err(ReadCsrError::Malformed);
        };
        let info = request.certification_request_info.subject_pki.raw;
        let key = Self::from_info(info).ok_or(ReadCsrError::KeyKind)?;
        let info = SubjectPublicKeyInfoDer::from(info);
        RawPublicKeyEntity::try_from(&info)
            .and_then(|entity| {
                entity.verify_signature(
                    webpki::aws_lc_rs::ECDSA_P256_SHA256,
                    request.certification_request_info.raw,
                    &request.signature_value.data,
                )
            })
            .map_err(|_| ReadCsrError::Signature)?;
        Ok(key)
    }

    /// Takes a key in DER, if it is an uncompressed point for ECDSA on P-256.
    pub(crate) fn from_info(der: &[u8]) -> Option<Self> {
        let info = SubjectPublicKeyInfo::from_der(der).ok()?;
        let key = Self(info);
        let point = rcgen::PublicKeyData::der_bytes(&key.0);
        let of_the_kind = rcgen::PublicKeyData::algorithm(&key.0) == &rcgen::PKCS_ECDSA_P256_SHA256
            && point.len() == 65
            && point[0] == 4;
        of_the_kind.then_some(key)
    }

    /// Returns the key as rcgen puts it into a certificate.
    pub(crate) const fn info(&self) -> &SubjectPublicKeyInfo {
        &self.0
    }

    /// Returns the key as `SubjectPublicKeyInfo` in DER.
    pub(crate) fn to_der(&self) -> Vec<u8> {
        rcgen::PublicKeyData::subject_public_key_info(&self.0)
    }
}
