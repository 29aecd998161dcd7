//! How a peer presents itself: certificate, TLS, protocol, and how soon it is missed.

use std::{path::Path, sync::Arc, time::Duration};

use proto::frame::ALPN;
use quinn::{IdleTimeout, TransportConfig, crypto::rustls::QuicClientConfig};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
};

/// What a peer shows to the agent that it dials.
#[derive(Debug)]
pub struct Guise {
    tls: ClientConfig,
    server_name: String,
    idle_limit: Duration,
}

impl Guise {
    /// Shows the certificate of an identity file, whosever it is, and speaks this version.
    ///
    /// # Panics
    /// When the file holds no certificate and key.
    #[must_use]
    #[track_caller]
    pub fn of(identity: &Path) -> Self {
        let text = match fs_err::read(identity) {
            Ok(text) => text,
            Err(error) => panic!("{error}"),
        };
        let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
        let (Ok(chain), Ok(key)) = (chain, PrivateKeyDer::from_pem_slice(&text)) else {
            panic!("{} is no identity", identity.display())
        };
        Self::showing(chain, key)
    }

    /// Shows any chain of certificates.
    ///
    /// # Panics
    /// When rustls cannot sign with the key.
    #[must_use]
    #[track_caller]
    pub fn showing(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Self {
        match trusting().with_client_auth_cert(chain, key) {
            Ok(tls) => Self::with_tls(tls),
            Err(error) => panic!("no TLS with this certificate: {error}"),
        }
    }

    /// Shows no certificate.
    #[must_use]
    pub fn of_nobody() -> Self {
        Self::with_tls(trusting().with_no_client_auth())
    }

    /// Uses TLS as the test has set it up, with this version's protocol if it names none.
    #[must_use]
    pub fn with_tls(mut tls: ClientConfig) -> Self {
        if tls.alpn_protocols.is_empty() {
            tls.alpn_protocols = vec![ALPN.to_vec()];
        }
        Self {
            tls,
            server_name: "agent.mesosync.internal".to_owned(),
            idle_limit: Duration::from_secs(30),
        }
    }

    /// Offers other protocols.
    #[must_use]
    pub fn alpn(mut self, protocols: &[&[u8]]) -> Self {
        self.tls.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        self
    }

    /// Asks for a limit of silence, after which both ends give the link up; the shorter of both
    /// ends' counts.
    #[must_use]
    pub fn idle_limit(mut self, limit: Duration) -> Self {
        self.idle_limit = limit;
        self
    }

    /// Returns the configuration for quinn, and the server name.
    #[track_caller]
    pub(super) fn into_config(self) -> (quinn::ClientConfig, String) {
        let (Ok(crypto), Ok(idle)) = (
            QuicClientConfig::try_from(Arc::new(self.tls)),
            IdleTimeout::try_from(self.idle_limit),
        ) else {
            panic!("QUIC needs TLS 1.3 and a reasonable limit of silence")
        };
        let mut transport = TransportConfig::default();
        transport
            .max_idle_timeout(Some(idle))
            .keep_alive_interval(Some(self.idle_limit / 3));
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport));
        (config, self.server_name)
    }
}

#[track_caller]
fn trusting() -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(TrustsAnybody(Arc::clone(&provider)));
    match ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
    {
        Ok(builder) => builder
            .dangerous()
            .with_custom_certificate_verifier(verifier),
        Err(error) => panic!("no TLS 1.3: {error}"),
    }
}

/// Takes every server's certificate, so that only the server can refuse.
#[derive(Debug)]
struct TrustsAnybody(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustsAnybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
