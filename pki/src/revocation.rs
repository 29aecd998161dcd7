//! skeleton
use crate::Crl;
use std::time::Duration;
/// What to do with a CRL past its `nextUpdate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaleCrl {
    /// Refuse all peers.
    Refuse,
    /// Believe it for so much longer.
    AcceptFor(Duration),
}
/// A handle on what is revoked; clones share it.
#[derive(Debug, Clone)]
pub struct Revocation {}
/// The list is older than the one in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("CRL number {offered} is not above {known}")]
pub struct OlderCrl {
    /// Offered.
    pub offered: u64,
    /// In force.
    pub known: u64,
}
impl Revocation {
    /// No list has been seen yet: nothing is revoked.
    #[must_use]
    pub fn none_known(_stale: StaleCrl) -> Self {
        todo!()
    }
    /// Puts `crl` into force, on every clone of this handle.
    pub fn replace(&self, _crl: Crl) -> Result<(), OlderCrl> {
        todo!()
    }
}
