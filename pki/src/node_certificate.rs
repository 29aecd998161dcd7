//! skeleton
use proto::id::NodeId;
use rustls::pki_types::CertificateDer;
use std::fmt;
/// A serial number, shown as hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Serial(Vec<u8>);
impl fmt::Display for Serial {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}
/// Why a certificate names no node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerIdError {}
/// Who the peer is, after the handshake has verified its chain.
pub fn peer_id(_chain: &[CertificateDer<'_>]) -> Result<NodeId, PeerIdError> {
    todo!()
}
