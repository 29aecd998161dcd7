//! The private CA of a mesh: who may be whom, and how a peer proves it.
//!
//! Owns keys, certificates, certificate signing requests, revocation lists, the files that hold
//! them, and the rustls configurations of both ends. Opens no socket, and takes the time as an
//! argument; only the handshakes themselves read the clock, through rustls.
//!
//! **Invariant:** a handshake succeeds only between two nodes whose certificates the pinned CA
//! signed, that are valid now and not revoked, and that hold the role (and for a dialler, the name)
//! that the other end asked for. Guarded by the tests of [`client_config`] and of `verify`.

mod addresses; // where other nodes were last known to listen
mod authority; // decides what to sign
mod certificate; // what a node's certificate says
mod crl; // what has been revoked, and until when we may believe it
mod csr; // the one thing believed of a request: the key
mod date; // the two forms of a time, and how one is shown
mod expect; // whom a dialler wants at the other end
mod handshake; // rustls configurations and verifiers
mod identity; // the one file that a node needs
mod key; // private keys
mod names; // a node's names inside its certificate
mod revocation; // the list in force, replaced while links are up
mod secret_file; // files for their owner's eyes only
mod serial; // serial numbers
mod store; // the CA's files
mod verify; // what a peer must prove

#[cfg(test)]
mod forge; // certificates that the CA would never sign

pub use addresses::{Address, Addresses, ParseAddressError};
pub use authority::{
    Authority, CreateAuthorityError, IssueError, LoadAuthorityError, NODE_VALIDITY, NextCrl,
    SaveAuthorityError, SignCrlError, Term,
};
pub use certificate::{NodeCertificate, PeerIdError, ReadCertificateError, peer_id};
pub use crl::{Crl, ReadCrlError};
pub use csr::{PublicKey, ReadCsrError};
pub use expect::Expect;
pub use handshake::{ConfigError, client_config, explain_refusal, server_config};
pub use identity::{Existing, Identity, LoadIdentityError, ParseIdentityError, SaveIdentityError};
pub use key::KeyError;
pub use revocation::{OlderCrl, Revocation, StaleCrl};
pub use secret_file::{ReadSecretError, WriteSecretError};
pub use serial::{ParseSerialError, Serial};
pub use store::{
    CreateStoreError, Issued, ListError, NewMesh, OpenStoreError, PublishCrlError,
    ReadStoreCrlError, Store, StoreIssueError,
};
pub use verify::{Usage, VerifyError};
