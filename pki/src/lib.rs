//! The private CA of a mesh, and what its certificates prove.
mod addresses;
mod authority;
mod config;
mod crl;
mod expect;
mod identity;
mod node_certificate;
mod revocation;
mod store;
mod verify;

pub use addresses::{Address, Addresses, ParseAddressError};
pub use authority::{Authority, IssueError, NODE_VALIDITY, Term};
pub use config::{ConfigError, client_config, server_config};
pub use crl::Crl;
pub use expect::Expect;
pub use identity::{Existing, Identity, LoadIdentityError, SaveIdentityError};
pub use node_certificate::{PeerIdError, Serial, peer_id};
pub use revocation::{OlderCrl, Revocation, StaleCrl};
pub use store::{
    CreateStoreError, Issued, ListError, NewMesh, OpenStoreError, Store, StoreIssueError,
};
pub use verify::VerifyError;
