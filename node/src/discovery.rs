//! Discovery: at which addresses a wanted agent may answer.
//!
//! Owns the trait of every mechanism and their registry ([`mechanisms`]). It does not ask them at
//! once (that is `links`), does not dial and does not decide who answered: a [`Candidate`] is a hint
//! from a network that may lie, and only the TLS handshake proves a name.
//!
//! **Invariant:** whatever a network sends, a look-up yields a bounded number of candidates and
//! never fails because of it. Guarded by `no_announcement_makes_reading_panic` and
//! `a_look_up_yields_no_address_twice_and_no_more_than_its_limit`.

use std::{fmt, io, net::SocketAddr};

use libp2p::futures::future::BoxFuture;
use proto::id::{Fingerprint, NodeName};
use tokio::sync::mpsc;

pub mod fixed;
pub mod mdns;

use fixed::{Fixed, KnownAddress};
use mdns::{Mdns, MulticastError};

/// Whom to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The agent of this name.
    Agent(NodeName),
    /// Every agent of the mesh.
    AllAgents,
}

impl Wanted {
    /// Tells whether an agent called `name` is wanted.
    #[must_use]
    pub fn includes(&self, name: &NodeName) -> bool {
        match self {
            Self::Agent(wanted) => wanted == name,
            Self::AllAgents => true,
        }
    }
}

/// An address at which a wanted agent may answer. A hint, never a proof: the handshake decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Where to dial.
    pub addr: SocketAddr,
    /// Who says so.
    pub mechanism: Mechanism,
}

/// A way of finding addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// Addresses known beforehand: from an identity file, a flag or the cache.
    Fixed,
    /// Multicast DNS on the LAN.
    Mdns,
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fixed => "known address",
            Self::Mdns => "mDNS",
        })
    }
}

/// One way of finding agents.
pub trait Discovery: Send + Sync {
    /// Names the mechanism.
    fn mechanism(&self) -> Mechanism;

    /// Sends to `found` what it learns about `wanted`, as soon as it learns it.
    ///
    /// Ends when there is nothing more to learn, at the latest when `found`'s receiver is gone. A
    /// mechanism that listens to a network goes on until then: the caller decides how long to wait.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the look-up: afterwards none of its tasks, threads or sockets is
    /// left. What was sent to `found` stays there.
    fn look_up<'a>(
        &'a self,
        wanted: &'a Wanted,
        found: mpsc::Sender<Candidate>,
    ) -> BoxFuture<'a, Result<(), LookUpError>>;
}

/// The registry: the mechanisms by which a controller of `mesh` finds its agents, one a line.
#[must_use]
pub fn mechanisms(mesh: Fingerprint, known: Vec<KnownAddress>) -> Vec<Box<dyn Discovery>> {
    vec![
        Box::new(Fixed::new(known)), //
        Box::new(Mdns::new(mesh)),
    ]
}

/// Why a mechanism could not look for anybody.
#[derive(Debug, thiserror::Error)]
pub enum LookUpError {
    /// This machine cannot multicast.
    #[error("look for agents by mDNS")]
    Multicast {
        /// What is missing, and what to do.
        #[source]
        source: MulticastError,
    },
    /// The operating system refused a thread or a socket.
    #[error("start to listen for mDNS answers")]
    Start {
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// The listening thread died.
    #[error("listen for mDNS answers: the thread ended by itself")]
    Died,
}
