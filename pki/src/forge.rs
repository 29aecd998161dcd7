//! Certificates that the CA would never sign, for tests: an honest one with one thing changed.

use std::{path::Path, process::Command, time::Duration};

use proto::id::{Fingerprint, MeshName, NodeId};
use rcgen::{CertificateParams, Issuer, KeyPair, SanType};
use rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, UnixTime},
};
use time::{OffsetDateTime, macros::datetime};

use crate::{
    Addresses, Authority, Identity, Revocation, Serial, StaleCrl, Term, authority::template, date,
    verify::Trust,
};

/// When tests happen.
pub(crate) const NOW: OffsetDateTime = datetime!(2030-03-04 05:06:07 UTC);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) fn now() -> UnixTime {
    date::to_unix(NOW)
}

pub(crate) fn mesh() -> MeshName {
    "home".parse().unwrap()
}

pub(crate) fn node(text: &str) -> NodeId {
    text.parse().unwrap()
}

pub(crate) fn nothing_revoked() -> Revocation {
    Revocation::none_known(StaleCrl::Refuse)
}

pub(crate) fn serial() -> Serial {
    Serial::random(aws_lc_rs::default_provider().secure_random).unwrap()
}

/// An honest CA of the mesh `home`, made a day ago.
pub(crate) fn authority() -> Authority {
    Authority::create(&mesh(), NOW - DAY).unwrap()
}

pub(crate) fn identity(authority: &Authority, text: &str) -> Identity {
    authority
        .issue_identity(node(text), Addresses::new(), Term::starting(NOW))
        .unwrap()
}

/// A CA under the tester's control.
pub(crate) struct ForgedAuthority {
    params: CertificateParams,
    key: KeyPair,
    pub(crate) der: CertificateDer<'static>,
}

impl ForgedAuthority {
    pub(crate) fn honest() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let (not_before, not_after) = (NOW - DAY, NOW + 3650 * DAY);
        let mut params = template::authority(&mesh(), &serial(), not_before, not_after).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        Self { params, key, der }
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust {
            mesh: mesh(),
            fingerprint: Fingerprint::of_certificate(&self.der),
        }
    }

    /// Signs an honest certificate for `node` after `change`.
    pub(crate) fn leaf(
        &self,
        node: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> CertificateDer<'static> {
        let mut params = leaf_params(node);
        change(&mut params);
        let issuer = Issuer::from_params(&self.params, &self.key);
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &issuer).unwrap().der().clone()
    }

    /// Signs an honest certificate for `node` after `change`, and appends the CA's.
    pub(crate) fn chain(
        &self,
        node: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Vec<CertificateDer<'static>> {
        vec![self.leaf(node, change), self.der.clone()]
    }
}

pub(crate) fn leaf_params(text: &str) -> CertificateParams {
    let (not_before, not_after) = (NOW - DAY, NOW + 90 * DAY);
    template::node(&mesh(), &node(text), &serial(), not_before, not_after).unwrap()
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

pub(crate) fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

/// Runs the real `openssl` in `directory` and returns what it printed; fails the test if it fails.
pub(crate) fn openssl(directory: &Path, words: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(words)
        .current_dir(directory)
        .output()
        .expect("openssl is installed where tests run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {words:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}
