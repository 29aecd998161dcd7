//! skeleton
use crate::{Identity, Revocation};
use proto::id::Role;
/// The TLS library refused the identity.
#[derive(Debug, thiserror::Error)]
#[error("make a TLS configuration from {node}")]
pub struct ConfigError {
    node: proto::id::NodeId,
    #[source]
    source: rustls::Error,
}
/// The dialling end. Whom it expects is the server name given at connect: [`crate::Expect::server_name`].
pub fn client_config(
    _identity: &Identity,
    _revocation: Revocation,
    _alpn: &[&[u8]],
) -> Result<rustls::ClientConfig, ConfigError> {
    todo!()
}
/// The accepting end: takes peers of the roles in `accepts` only.
pub fn server_config(
    _identity: &Identity,
    _accepts: &[Role],
    _revocation: Revocation,
    _alpn: &[&[u8]],
) -> Result<rustls::ServerConfig, ConfigError> {
    todo!()
}
