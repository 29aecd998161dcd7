//! The daemon: a controller that stays, keeps its links warm, and carries out the command line's
//! wishes on the same machine.
//!
//! Owns the socket between both ([`place`]), what is said over it ([`protocol`]), and both of its
//! ends ([`server`], [`client`]). What a wish means is the orchestrator's business; the daemon is one
//! more way to it and decides nothing.
//!
//! **Invariant:** a command has the same result with a daemon as without one. What the daemon cannot
//! do in the same way (another identity, another folder) it declines, and the command line does it
//! itself.

pub mod client;
pub mod place;
pub mod protocol;
pub mod server;
mod status;
mod stream;

pub use self::status::{LinkStatus, RunStatus, Status};
