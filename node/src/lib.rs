//! The overlay of the mesh: authenticated QUIC links between nodes, how nodes find each other, and
//! runs over those links.
//!
//! Used by both ends. A caller takes [`links::Links`] to find an agent, [`run::Run`] to run a
//! command on it, and [`files::Files`] to copy files to and from it; the callee is
//! [`agent::Agent`]. Trust is decided by the `pki` crate, the bytes by `proto`, and what a command
//! means by nobody here.
//!
//! ```text
//! caller                                        callee
//! links ─► discovery ─► link ═══ QUIC ═══ agent::router ─► agent::run ─► agent::process
//!    └──► run                                                  └──► agent::ledger
//! ```

pub mod agent;
pub mod capabilities;
pub mod clock;
pub mod close;
pub mod discovery;
pub mod fault;
pub mod files;
pub mod funnelcloud;
pub mod link;
pub mod links;
pub mod logging;
pub mod revocation;
pub mod run;
pub mod transport;
