//! skeleton
use crate::{Addresses, Identity};
use proto::id::{Fingerprint, MeshName, NodeId};
use std::{path::Path, time::Duration};
use time::OffsetDateTime;
/// Default validity of a node certificate.
pub const NODE_VALIDITY: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// From when and for how long a certificate is valid.
#[derive(Debug, Clone, Copy)]
pub struct Term {
    /// The time of issue.
    pub now: OffsetDateTime,
    /// How long from then.
    pub validity: Duration,
}
impl Term {
    /// The default validity, from `now`.
    #[must_use]
    pub const fn starting(now: OffsetDateTime) -> Self {
        Self {
            now,
            validity: NODE_VALIDITY,
        }
    }
}
/// The CA: its key and its certificate.
#[derive(Debug)]
pub struct Authority {}
/// Why nothing was issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {}
impl Authority {
    /// Makes the CA of a new mesh.
    pub fn create(_mesh: MeshName, _now: OffsetDateTime) -> Result<Self, IssueError> {
        todo!()
    }
    /// Makes a key and a certificate for `node`.
    pub fn issue_identity(
        &self,
        _node: NodeId,
        _addresses: Addresses,
        _term: Term,
    ) -> Result<Identity, IssueError> {
        todo!()
    }
    /// The mesh.
    #[must_use]
    pub fn mesh(&self) -> &MeshName {
        todo!()
    }
    /// The fingerprint of the CA certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let _: Option<&Path> = None;
        todo!()
    }
}
