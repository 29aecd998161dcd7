//! skeleton
use proto::id::NodeId;
use std::{collections::BTreeMap, fmt, str::FromStr};
/// Where a node was last known to listen: `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address(String);
/// Known addresses by node.
pub type Addresses = BTreeMap<NodeId, Vec<Address>>;
/// Not `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected HOST:PORT")]
pub struct ParseAddressError;
impl Address {
    /// As text, fit for `tokio::net::lookup_host`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
impl FromStr for Address {
    type Err = ParseAddressError;
    fn from_str(_: &str) -> Result<Self, ParseAddressError> {
        todo!()
    }
}
