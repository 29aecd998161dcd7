//! A CA for the occasion, and the TLS of both ends: 1.3 only, both certificates checked, no
//! resumption, no early data.

use std::{path::Path, sync::Arc};

use anyhow::Context;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
    version::TLS13,
};

use crate::wire::{ALPN, SERVER};

/// The files in which the client finds what the server made for it.
const CA: &str = "ca.der";
const CLIENT: &str = "client.der";
const CLIENT_KEY: &str = "client.key";

/// Makes a CA, writes the client's credentials into `folder`, and returns the server's TLS.
pub(crate) fn make(folder: &Path) -> anyhow::Result<QuicServerConfig> {
    let authority = authority()?;
    let client_key = KeyPair::generate()?;
    let client = leaf("client.bench.internal", ExtendedKeyUsagePurpose::ClientAuth)?
        .signed_by(&client_key, &authority)?;
    fs_err::write(folder.join(CA), authority.der())?;
    fs_err::write(folder.join(CLIENT), client.der())?;
    fs_err::write(folder.join(CLIENT_KEY), client_key.serialize_der())?;

    let key = KeyPair::generate()?;
    let certificate =
        leaf(SERVER, ExtendedKeyUsagePurpose::ServerAuth)?.signed_by(&key, &authority)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots(authority.der().clone())?),
        provider(),
    )
    .build()?;
    let mut tls = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.send_tls13_tickets = 0;
    Ok(tls.try_into()?)
}

/// Reads the client's credentials from `folder`.
pub(crate) fn read(folder: &Path) -> anyhow::Result<QuicClientConfig> {
    let key = PrivateKeyDer::try_from(fs_err::read(folder.join(CLIENT_KEY))?)
        .map_err(|why| anyhow::anyhow!(why))
        .context("read the client's key")?;
    let certificate = CertificateDer::from(fs_err::read(folder.join(CLIENT))?);
    let mut tls = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots(fs_err::read(folder.join(CA))?.into())?)
        .with_client_auth_cert(vec![certificate], key)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.resumption = Resumption::disabled();
    Ok(tls.try_into()?)
}

fn authority() -> anyhow::Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::new(Vec::new())?;
    params
        .distinguished_name
        .push(DnType::CommonName, "bench CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn leaf(name: &str, usage: ExtendedKeyUsagePurpose) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.extended_key_usages = vec![usage];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

fn roots(authority: CertificateDer<'static>) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(authority)?;
    Ok(roots)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
