//! skeleton
/// A certificate revocation list of this mesh's CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crl {}
