//! Certificate revocation lists (RFC 5280 §5): what has been revoked, and until when to believe it.
//!
//! **Invariant:** a [`Crl`] was signed by the CA that it names. Nothing that is garbled, cut, signed
//! by another or of a kind that needs more rules (delta, indirect, partitioned) becomes one.

use std::collections::BTreeMap;

use proto::id::Fingerprint;
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use webpki::BorrowedCertRevocationList;
use x509_parser::{
    oid_registry::OID_X509_EXT_REASON_CODE,
    oid_registry::{OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, OID_X509_EXT_CRL_NUMBER},
    prelude::{FromDer, X509Version},
    revocation_list::{CertificateRevocationList, RevokedCertificate},
};

use crate::{OlderCrl, Serial, certificate};

/// The longest list that is read, in bytes: room for some 25 000 revoked certificates.
pub(crate) const MAX_CRL_LEN: usize = 1024 * 1024;

/// The PEM label of a list (RFC 7468 §7).
const PEM_LABEL: &str = "X509 CRL";

/// A revocation list that its CA has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crl {
    der: Box<[u8]>,
    issuer: Fingerprint,
    number: u64,
    this_update: OffsetDateTime,
    next_update: OffsetDateTime,
    revoked: BTreeMap<Serial, OffsetDateTime>,
}

/// Why bytes are not a revocation list of a CA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadCrlError {
    /// There are more bytes than are ever read.
    #[error("the revocation list has {bytes} bytes, more than {MAX_CRL_LEN}")]
    TooLong {
        /// How many there are.
        bytes: usize,
    },
    /// The bytes are no X.509 revocation list, or not one alone.
    #[error("not an X.509 revocation list")]
    Malformed,
    /// The CA's certificate cannot be read, or does not allow its holder to sign lists.
    #[error("the CA's certificate does not allow it to sign revocation lists")]
    NotCrlSigner,
    /// Another CA issued the list.
    #[error("the revocation list is not signed by this mesh's CA")]
    ForeignAuthority,
    /// The list has no number, or one beyond 64 bits.
    #[error("the revocation list bears no usable number")]
    Number,
    /// The list does not say until when it is to be believed.
    #[error("the revocation list does not say when the next one is due")]
    NextUpdate,
    /// The list has an extension that changes what it means.
    #[error("the revocation list has an extension that is not understood")]
    Extension,
    /// An entry's serial number is not one that a certificate can have.
    #[error("the revocation list has an entry with an impossible serial number")]
    Serial,
}

impl Crl {
    /// Reads a list in DER and checks that `authority`, a CA certificate in DER, has signed it.
    ///
    /// # Errors
    ///
    /// Says why the bytes are not a list of that CA.
    pub fn read(der: &[u8], authority: &CertificateDer<'_>) -> Result<Self, ReadCrlError> {
        if der.len() > MAX_CRL_LEN {
            return Err(ReadCrlError::TooLong { bytes: der.len() });
        }
        // x509-parser is lax about the bytes outside what is signed; webpki lets one encoding pass.
        BorrowedCertRevocationList::from_der(der).map_err(|_| ReadCrlError::Malformed)?;
        let Ok(([], list)) = CertificateRevocationList::from_der(der) else {
            return Err(ReadCrlError::Malformed);
        };
        check_signature(&list, authority)?;
        if list.version() != Some(X509Version::V2) {
            return Err(ReadCrlError::Malformed);
        }
        let next_update = list.next_update().ok_or(ReadCrlError::NextUpdate)?;
        Ok(Self {
            der: der.into(),
            issuer: Fingerprint::of_certificate(authority),
            number: read_number(&list)?,
            this_update: list.last_update().to_datetime(),
            next_update: next_update.to_datetime(),
            revoked: list
                .iter_revoked_certificates()
                .map(read_entry)
                .collect::<Result<_, _>>()?,
        })
    }

    /// Reads a list in PEM; otherwise as [`Crl::read`].
    ///
    /// # Errors
    ///
    /// Says why the text is not a list of that CA.
    pub fn from_pem(text: &str, authority: &CertificateDer<'_>) -> Result<Self, ReadCrlError> {
        if text.len() > 2 * MAX_CRL_LEN {
            return Err(ReadCrlError::TooLong { bytes: text.len() });
        }
        let block = pem::parse(text).map_err(|_| ReadCrlError::Malformed)?;
        if block.tag() != PEM_LABEL {
            return Err(ReadCrlError::Malformed);
        }
        Self::read(block.contents(), authority)
    }

    /// Returns the list as PEM text.
    #[must_use]
    pub fn to_pem(&self) -> String {
        crate::secret_file::encode_pem(&pem::Pem::new(PEM_LABEL, self.der.to_vec()))
    }

    /// Returns the DER encoding.
    #[must_use]
    pub const fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns the fingerprint of the CA that signed the list.
    #[must_use]
    pub const fn issuer(&self) -> Fingerprint {
        self.issuer
    }

    /// Returns the list's number: the higher one is the newer.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Returns when the list was made.
    #[must_use]
    pub const fn this_update(&self) -> OffsetDateTime {
        self.this_update
    }

    /// Returns when the next list is due.
    #[must_use]
    pub const fn next_update(&self) -> OffsetDateTime {
        self.next_update
    }

    /// Returns what is revoked, and since when.
    #[must_use]
    pub const fn revoked(&self) -> &BTreeMap<Serial, OffsetDateTime> {
        &self.revoked
    }

    /// Decides whether this list may replace `known`, which is in force; a list replaces itself.
    pub(crate) fn check_follows(&self, known: &Self) -> Result<(), OlderCrl> {
        if self.issuer != known.issuer {
            return Err(OlderCrl::Issuer {
                offered: self.issuer,
                known: known.issuer,
            });
        }
        if self.number > known.number || self == known {
            return Ok(());
        }
        Err(OlderCrl::Number {
            offered: self.number,
            known: known.number,
        })
    }
}

fn check_signature(
    list: &CertificateRevocationList<'_>,
    authority: &CertificateDer<'_>,
) -> Result<(), ReadCrlError> {
    let signer = certificate::parse(authority).ok_or(ReadCrlError::NotCrlSigner)?;
    let may_sign = matches!(signer.key_usage(), Ok(Some(usage)) if usage.value.crl_sign());
    if !may_sign {
        return Err(ReadCrlError::NotCrlSigner);
    }
    let same_issuer = list.issuer().as_raw() == signer.subject().as_raw();
    let same_algorithm = list.signature_algorithm == list.tbs_cert_list.signature;
    if !same_issuer || !same_algorithm {
        return Err(ReadCrlError::ForeignAuthority);
    }
    webpki::EndEntityCert::try_from(authority)
        .and_then(|signer| {
            signer.verify_signature(
                webpki::aws_lc_rs::ECDSA_P256_SHA256,
                list.tbs_cert_list.as_ref(),
                &list.signature_value.data,
            )
        })
        .map_err(|_| ReadCrlError::ForeignAuthority)
}

fn read_number(list: &CertificateRevocationList<'_>) -> Result<u64, ReadCrlError> {
    let understood = [
        OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER,
        OID_X509_EXT_CRL_NUMBER,
    ];
    if !list
        .extensions()
        .iter()
        .all(|e| understood.contains(&e.oid))
    {
        return Err(ReadCrlError::Extension);
    }
    let number = list.crl_number().ok_or(ReadCrlError::Number)?;
    u64::try_from(number).map_err(|_| ReadCrlError::Number)
}

fn read_entry(entry: &RevokedCertificate<'_>) -> Result<(Serial, OffsetDateTime), ReadCrlError> {
    let understood = |oid| oid == &OID_X509_EXT_REASON_CODE;
    if !entry.extensions().iter().all(|e| understood(&e.oid)) {
        return Err(ReadCrlError::Extension);
    }
    let serial = Serial::from_der_integer(entry.raw_serial()).ok_or(ReadCrlError::Serial)?;
    Ok((serial, entry.revocation_date.to_datetime()))
}

#[cfg(test)]
mod tests;
