//! Discovery on the LAN by libp2p's multicast DNS, on demand.
//!
//! An agent ([`Announcer`]) answers whoever asks and otherwise says nothing; a controller ([`Mdns`])
//! asks and listens. Both are `libp2p::mdns` behaviours without a swarm. Every libp2p program
//! shares the service name `_p2p._udp.local`, so an agent's address carries two tags (`tags`):
//! a controller recognises its own mesh and the name it looks for, and nobody else can read either.
//!
//! What libp2p-mdns leaves open, and where it is closed:
//! - It asks in growing intervals until anybody answers, so that a lonely agent would never be
//!   silent. The agent answers its own question with a packet that does not leave the host (`ear`).
//! - Its tasks outlive the behaviour. Each behaviour lives on a runtime of its own, on a thread of
//!   its own (`generation`): when that ends, so do its tasks and sockets, for certain. Nor can a
//!   flood on port 5353 slow the runtime that carries commands.
//! - Its queues are unbounded. A generation has a budget of working time (`budget`) and of
//!   entries (`listener`); when a flood exhausts it, the generation ends with all its memory, and
//!   the next one waits: under a flood agents are hard to find, and otherwise unharmed.
//! - It runs on IPv4 only (its IPv6 mode sends on one interface that the kernel chooses).
//!
//! It does not protect against a neighbour who wants to disturb: whoever can multicast can hide
//! agents or repeat their announcements with another address. That costs time, never a wrong
//! command: the handshake decides.
//!
//! **Invariant:** an agent sends nothing unless asked, but for one question per interface when it
//! starts to use it.

mod address;
mod announce;
mod ask;
mod budget;
mod ear;
mod generation;
mod hush;
mod interfaces;
mod listener;
mod tags;

pub use announce::{AnnounceError, Announcement, Announcer};
pub use ask::{MAX_CANDIDATES, MAX_CANDIDATES_OF_ONE, Mdns};
pub use interfaces::{MulticastError, usable_interfaces};
