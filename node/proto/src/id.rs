//! The ids of the mesh: who is who, and which run is which.
//!
//! Owns the only conversions between ids and text. Each type is proof that its value is well
//! formed, so code that holds one never checks it again.
//!
//! **Invariant:** a [`NodeName`] or [`MeshName`] is one DNS label of lower-case letters, digits and
//! inner hyphens (RFC 1035 §2.3.1, with digits first as RFC 1123 §2.1 allows). Nothing in it can
//! escape a path, a URI, a certificate field or a terminal line. Guarded by
//! `no_name_carries_anything_but_a_dns_label`.

mod hex;
mod label;
mod node;
mod run;
mod transfer;

pub use hex::{Fingerprint, ParseHexError};
pub use label::{MeshName, NodeName, ParseLabelError};
pub use node::{NodeId, ParseNodeIdError, ParseRoleError, Role};
pub use run::{ParseRunIdError, RunId};
pub use transfer::TransferId;
