//! Private keys: ECDSA on P-256, the one kind that a mesh uses.
//!
//! A key lies in memory as PKCS#8 in a buffer that is zeroed when dropped, and leaves it only for
//! the owner's own file and for the TLS library. Copies that libraries make while they decode or
//! sign are theirs to clear; rcgen's and aws-lc's are cleared here or there.

use std::{fmt, sync::Arc};

use pem::Pem;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use rustls::{
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::SigningKey,
};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::PublicKey;

/// The PEM label of a private key in PKCS#8 (RFC 7468 §10).
pub(crate) const PEM_LABEL: &str = "PRIVATE KEY";

/// A private key; never shown.
pub(crate) struct PrivateKey {
    pkcs8: Zeroizing<Vec<u8>>,
}

/// A private key that cannot be made, read or used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The system gave no randomness.
    #[error("make a key: no randomness to be had")]
    Generate,
    /// The bytes are no ECDSA P-256 key in PKCS#8.
    #[error("not an ECDSA P-256 private key in PKCS#8")]
    Malformed,
}

impl PrivateKey {
    /// Makes a new key.
    pub(crate) fn generate() -> Result<Self, KeyError> {
        let pair =
            KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|_| KeyError::Generate)?;
        let pair = Zeroizing::new(pair);
        Ok(Self {
            pkcs8: Zeroizing::new(pair.serialized_der().to_vec()),
        })
    }

    /// Takes a key in PKCS#8, if it is one of a mesh.
    pub(crate) fn from_pkcs8(pkcs8: Vec<u8>) -> Result<Self, KeyError> {
        let key = Self {
            pkcs8: Zeroizing::new(pkcs8),
        };
        key.pair()?;
        Ok(key)
    }

    /// Takes the one private key in `text`.
    pub(crate) fn from_pem(text: &str) -> Result<Self, KeyError> {
        let block = pem::parse(text).map_err(|_| KeyError::Malformed)?;
        let labelled = block.tag() == PEM_LABEL;
        let contents = Zeroizing::new(block.into_contents());
        if !labelled {
            return Err(KeyError::Malformed);
        }
        Self::from_pkcs8(contents.to_vec())
    }

    /// Returns the key as PEM text.
    pub(crate) fn to_pem(&self) -> Zeroizing<String> {
        let block = Pem::new(PEM_LABEL, self.pkcs8.to_vec());
        let text = Zeroizing::new(crate::secret_file::encode_pem(&block));
        drop(Zeroizing::new(block.into_contents()));
        text
    }

    /// Returns the key as rcgen signs with it.
    pub(crate) fn pair(&self) -> Result<Zeroizing<KeyPair>, KeyError> {
        let der = PrivatePkcs8KeyDer::from(self.pkcs8.as_slice());
        KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256)
            .map(Zeroizing::new)
            .map_err(|_| KeyError::Malformed)
    }

    /// Returns the key as rustls signs with it.
    pub(crate) fn signing_key(&self) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        let der = PrivatePkcs8KeyDer::from(self.pkcs8.as_slice());
        aws_lc_rs::sign::any_ecdsa_type(&PrivateKeyDer::Pkcs8(der))
    }

    /// Returns a secret that nobody without this key can make, for one purpose.
    pub(crate) fn secret_for(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let mut hasher = Sha256::new();
        hasher.update(purpose);
        hasher.update([0]); // no purpose has one, so none is the beginning of another
        hasher.update(&*self.pkcs8);
        Zeroizing::new(hasher.finalize().into())
    }

    /// Returns the public half.
    pub(crate) fn public(&self) -> Result<PublicKey, KeyError> {
        let info = self.pair()?.subject_public_key_info();
        PublicKey::from_info(&info).ok_or(KeyError::Malformed)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[private key]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_the_way_through_pem() {
        let key = PrivateKey::generate().unwrap();

        let read = PrivateKey::from_pem(&key.to_pem()).unwrap();

        assert_eq!(read.public(), key.public());
    }

    #[test]
    fn secrets_differ_by_purpose_and_key_and_stay_the_same() {
        let [one, other] = [(), ()].map(|()| PrivateKey::generate().unwrap());
        let again = PrivateKey::from_pem(&one.to_pem()).unwrap();

        assert_eq!(one.secret_for("a"), again.secret_for("a"));
        assert_ne!(one.secret_for("a"), one.secret_for("b"));
        assert_ne!(one.secret_for("a"), other.secret_for("a"));
    }

    #[test]
    fn debug_shows_no_key() {
        let key = PrivateKey::generate().unwrap();

        assert_eq!(format!("{key:?}"), "[private key]");
    }

    #[test]
    fn keys_of_other_kinds_are_refused() {
        let other = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();

        let refused = PrivateKey::from_pem(&other.serialize_pem()).map(|_| ());

        assert_eq!(refused, Err(KeyError::Malformed));
    }
}
