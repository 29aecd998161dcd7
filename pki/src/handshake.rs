//! The rustls configurations of both ends: TLS 1.3 only, both certificates checked, nothing resumed.
//!
//! Built explicitly and to be handed to quinn as they are: quinn's own constructors switch early data
//! on. A resumed session would skip the verifiers, so a revoked node would come back by its ticket,
//! and early data can be replayed; both are off at both ends, though one end would do.
//!
//! **Invariant:** no session of these configurations is resumed. Guarded by
//! `a_second_handshake_is_a_full_one_again`.

mod explain;
mod verifiers;

use std::sync::Arc;

use proto::id::{NodeId, Role};
use rustls::{
    ClientConfig, ConfigBuilder, ConfigSide, ServerConfig, WantsVerifier, WantsVersions,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    server::NoServerSessionStorage,
    sign::{CertifiedKey, SingleCertAndKey},
};

pub use explain::explain_refusal;

use crate::{Identity, Revocation};
use verifiers::{ClientVerifier, ServerVerifier};

/// An identity from which rustls makes no configuration.
#[derive(Debug, thiserror::Error)]
#[error("make a TLS configuration for {node}")]
pub struct ConfigError {
    node: NodeId,
    source: rustls::Error,
}

/// Makes the configuration of the dialling end.
///
/// Whom it expects, it takes from the server name that is given at connect:
/// [`crate::Expect::server_name`]. Any other server name is refused, so one configuration serves
/// every dial and none dials without an expectation.
///
/// # Errors
///
/// rustls refuses the key, which an [`Identity`] rules out.
pub fn client_config(
    identity: &Identity,
    revocation: Revocation,
    alpn: &[&[u8]],
) -> Result<ClientConfig, ConfigError> {
    let refused = |source| ConfigError {
        node: identity.node().clone(),
        source,
    };
    let verifier = ServerVerifier::new(identity.trust(), revocation);
    let mut config = tls13(ClientConfig::builder_with_provider)
        .map_err(refused)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(credentials(identity).map_err(refused)?);
    config.alpn_protocols = owned(alpn);
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    Ok(config)
}

/// Makes the configuration of the accepting end, which takes peers of the roles in `accepts` only.
///
/// # Errors
///
/// rustls refuses the key, which an [`Identity`] rules out.
pub fn server_config(
    identity: &Identity,
    accepts: &[Role],
    revocation: Revocation,
    alpn: &[&[u8]],
) -> Result<ServerConfig, ConfigError> {
    let refused = |source| ConfigError {
        node: identity.node().clone(),
        source,
    };
    let verifier = ClientVerifier::new(identity.trust(), accepts, revocation);
    let mut config = tls13(ServerConfig::builder_with_provider)
        .map_err(refused)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(credentials(identity).map_err(refused)?);
    config.alpn_protocols = owned(alpn);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// Begins a configuration of either side with aws-lc-rs, named here rather than process-wide.
fn tls13<S: ConfigSide>(
    builder: fn(Arc<CryptoProvider>) -> ConfigBuilder<S, WantsVersions>,
) -> Result<ConfigBuilder<S, WantsVerifier>, rustls::Error> {
    builder(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
}

/// Returns what an end presents: its own certificate, the CA's, and proof of holding the key.
fn credentials(identity: &Identity) -> Result<Arc<SingleCertAndKey>, rustls::Error> {
    let key = identity.key().signing_key()?;
    let presented = CertifiedKey::new(identity.chain().to_vec(), key);
    Ok(Arc::new(SingleCertAndKey::from(presented)))
}

fn owned(alpn: &[&[u8]]) -> Vec<Vec<u8>> {
    alpn.iter().map(|protocol| protocol.to_vec()).collect()
}

#[cfg(test)]
mod tests;
