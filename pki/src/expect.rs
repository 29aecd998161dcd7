//! skeleton
use proto::id::{NodeId, Role};
/// Whom a dialler expects at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// This node only.
    Node(NodeId),
    /// Any node of this role.
    AnyOf(Role),
}
impl Expect {
    /// The server name to give to `connect`; it never goes on the wire.
    #[must_use]
    pub fn server_name(&self) -> String {
        todo!()
    }
}
