//! A bare QUIC peer that shows what it is told to show and believes everything: the attacker's end.
//!
//! **Invariant:** a [`Callee`] keeps every byte that a caller entrusts to it, so that a test can see
//! that nothing was.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use quinn::{
    ConnectionError, Endpoint, Incoming, VarInt,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::{
        ResolvesClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};
use tokio::{runtime::Runtime, sync::oneshot};

use super::credentials::Credentials;

/// The protocol that honest nodes speak.
pub(crate) const ALPN: &[u8] = proto::frame::ALPN;

/// How long a peer waits for the other end: as long as everything in the laboratory.
const PATIENCE: Duration = scenarios::PATIENCE;

/// A caller that holds `credentials`, or none.
pub(crate) struct Caller {
    runtime: Runtime,
    endpoint: Endpoint,
    config: quinn::ClientConfig,
    shown: Arc<Shown>,
    judged: Arc<Believer>,
}

impl Caller {
    /// Makes a caller that would gladly resume a session.
    pub(crate) fn new(credentials: Option<&Credentials>, alpn: &[u8]) -> Self {
        let shown = Arc::new(Shown {
            credentials: credentials.map(certified),
            times: AtomicUsize::new(0),
        });
        let judged = Arc::<Believer>::default();
        let mut tls = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&judged) as _)
            .with_client_cert_resolver(Arc::clone(&shown) as _);
        tls.alpn_protocols = vec![alpn.to_vec()];
        tls.enable_early_data = true;
        let crypto = QuicClientConfig::try_from(Arc::new(tls)).unwrap();
        let runtime = runtime();
        let endpoint = {
            let _entered = runtime.enter();
            Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap()
        };
        Self {
            runtime,
            endpoint,
            config: quinn::ClientConfig::new(Arc::new(crypto)),
            shown,
            judged,
        }
    }

    /// Speaks this version of QUIC.
    pub(crate) fn with_quic_version(mut self, version: u32) -> Self {
        self.config.version(version);
        let mut config = quinn::EndpointConfig::default();
        config.supported_versions(vec![version]);
        let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let _entered = self.runtime.enter();
        self.endpoint = Endpoint::new(config, None, socket, Arc::new(quinn::TokioRuntime)).unwrap();
        self
    }

    /// Dials `address` and waits until the node there opens a stream, which proves that it lets
    /// this caller in.
    pub(crate) fn dial(&self, address: SocketAddr, name: &str) -> Result<(), ConnectionError> {
        self.runtime.block_on(async {
            let connecting = self
                .endpoint
                .connect_with(self.config.clone(), address, name)
                .unwrap();
            let connection = within(connecting).await?;
            let greeted = within(connection.accept_uni()).await.map(drop);
            connection.close(VarInt::from_u32(0), b"");
            within(self.endpoint.wait_idle()).await;
            greeted
        })
    }

    /// Dials `address`, leaves a word there, and goes when it has arrived.
    pub(crate) fn visit(&self, address: SocketAddr, name: &str) {
        self.runtime.block_on(async {
            let connecting = self
                .endpoint
                .connect_with(self.config.clone(), address, name)
                .unwrap();
            let connection = within(connecting).await.unwrap();
            let (mut send, _) = connection.open_bi().await.unwrap();
            send.write_all(b"hello").await.unwrap();
            send.finish().unwrap();
            let _arrived = within(send.stopped()).await.unwrap();
            connection.close(VarInt::from_u32(0), b"");
            within(self.endpoint.wait_idle()).await;
        });
    }

    /// Dials `address` and tells whether there was a session to send early data with.
    pub(crate) fn offers_early_data(&self, address: SocketAddr, name: &str) -> bool {
        let _entered = self.runtime.enter();
        let connecting = self
            .endpoint
            .connect_with(self.config.clone(), address, name)
            .unwrap();
        connecting.into_0rtt().is_ok()
    }

    /// Returns how often its certificate was asked for.
    pub(crate) fn times_shown(&self) -> usize {
        self.shown.times.load(Ordering::Relaxed)
    }

    /// Returns how often a certificate was shown to it.
    pub(crate) fn times_judged(&self) -> usize {
        self.judged.0.load(Ordering::Relaxed)
    }
}

/// What a callee does with a caller whose certificate it has accepted, whatever it was.
#[derive(Debug, Clone)]
pub(crate) enum Manner {
    /// Keeps what it is sent, and says nothing.
    Listens,
    /// Closes the link with these words.
    ClosesSaying(Vec<u8>),
}

/// A callee on the loopback; it ends when it is dropped.
pub(crate) struct Callee {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<u8>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Callee {
    /// Serves whoever comes, and listens.
    pub(crate) fn start(credentials: &Credentials, alpn: &[u8]) -> Self {
        Self::with_manner(credentials, alpn, Manner::Listens)
    }

    /// Serves whoever comes to this address, and listens.
    #[cfg(target_os = "linux")]
    pub(crate) fn at(address: SocketAddr, credentials: &Credentials, alpn: &[u8]) -> Self {
        Self::bind(address, credentials, alpn, Manner::Listens)
    }

    /// Serves whoever comes in this manner.
    pub(crate) fn with_manner(credentials: &Credentials, alpn: &[u8], manner: Manner) -> Self {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::bind(loopback, credentials, alpn, manner)
    }

    fn bind(address: SocketAddr, credentials: &Credentials, alpn: &[u8], manner: Manner) -> Self {
        let mut tls = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_client_cert_verifier(Arc::<Believer>::default())
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified(credentials))));
        tls.alpn_protocols = vec![alpn.to_vec()];
        let crypto = QuicServerConfig::try_from(Arc::new(tls)).unwrap();
        let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));

        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let (stop, stopped) = oneshot::channel();
        let runtime = runtime();
        let endpoint = {
            let _entered = runtime.enter();
            Endpoint::server(config, address).unwrap()
        };
        let address = endpoint.local_addr().unwrap();
        let kept = Arc::clone(&heard);
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(&endpoint, &kept, &manner) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            heard,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns every byte that callers entrusted to it.
    pub(crate) fn heard(&self) -> Vec<u8> {
        self.heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Callee {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn serve(endpoint: &Endpoint, heard: &Mutex<Vec<u8>>, manner: &Manner) {
    while let Some(incoming) = endpoint.accept().await {
        // An attacker serves one at a time; one that fails is the test's business.
        let _ = serve_one(incoming, heard, manner).await;
    }
}

async fn serve_one(
    incoming: Incoming,
    heard: &Mutex<Vec<u8>>,
    manner: &Manner,
) -> Result<(), ConnectionError> {
    let connection = incoming.await?;
    if let Manner::ClosesSaying(words) = manner {
        connection.close(VarInt::from_u32(77), words);
        return Ok(());
    }
    loop {
        let (_send, mut receive) = connection.accept_bi().await?;
        while let Ok(Some(chunk)) = receive.read_chunk(1 << 16, true).await {
            heard
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend_from_slice(&chunk.bytes);
        }
    }
}

/// Shows its certificate to whoever asks, and counts.
#[derive(Debug)]
struct Shown {
    credentials: Option<CertifiedKey>,
    times: AtomicUsize,
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.times.fetch_add(1, Ordering::Relaxed);
        self.credentials.clone().map(Arc::new)
    }

    fn has_certs(&self) -> bool {
        self.credentials.is_some()
    }
}

/// Believes every certificate, and counts them.
#[derive(Debug, Default)]
struct Believer(AtomicUsize);

impl ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.fetch_add(1, Ordering::Relaxed);
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
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

impl ClientCertVerifier for Believer {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
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
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

fn certified(credentials: &Credentials) -> CertifiedKey {
    let key = provider()
        .key_provider
        .load_private_key(credentials.key.clone_key())
        .unwrap();
    CertifiedKey::new(credentials.chain.clone(), key)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work)
        .await
        .expect("the other end lets nobody wait for ever")
}
