//! skeleton
use crate::{Addresses, Authority, Identity, Serial, Term};
use proto::id::{MeshName, NodeId, NodeName};
use std::path::{Path, PathBuf};
use time::OffsetDateTime;
/// The CA and its records under `MESOSYNC_HOME`.
#[derive(Debug)]
pub struct Store {}
/// What a new store begins with.
#[derive(Debug, Clone)]
pub struct NewMesh {
    /// Name of the mesh.
    pub name: MeshName,
    /// Name of this controller.
    pub controller: NodeName,
    /// The time.
    pub now: OffsetDateTime,
}
/// One certificate that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// For whom.
    pub node: NodeId,
    /// Serial.
    pub serial: Serial,
    /// Start.
    pub not_before: OffsetDateTime,
    /// End.
    pub not_after: OffsetDateTime,
    /// When it was revoked, if it was.
    pub revoked: Option<OffsetDateTime>,
}
/// x
#[derive(Debug, thiserror::Error)]
pub enum CreateStoreError {}
/// x
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {}
/// x
#[derive(Debug, thiserror::Error)]
pub enum ListError {}
/// x
#[derive(Debug, thiserror::Error)]
pub enum StoreIssueError {}
impl Store {
    /// Makes the CA and this controller's own identity; refuses if there is a CA.
    pub fn create(_home: &Path, _mesh: NewMesh) -> Result<Self, CreateStoreError> {
        todo!()
    }
    /// Opens what `create` made.
    pub fn open(_home: &Path) -> Result<Self, OpenStoreError> {
        todo!()
    }
    /// Where this controller's own identity lies: `controller.identity` under `home`.
    #[must_use]
    pub fn controller_identity(home: &Path) -> PathBuf {
        home.join("controller.identity")
    }
    /// The CA.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        todo!()
    }
    /// Issues, and records it first.
    pub fn issue_identity(
        &self,
        _node: NodeId,
        _addresses: Addresses,
        _term: Term,
    ) -> Result<Identity, StoreIssueError> {
        todo!()
    }
    /// Every certificate ever issued, by node and end of validity.
    pub fn list(&self) -> Result<Vec<Issued>, ListError> {
        todo!()
    }
}
