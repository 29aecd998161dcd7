//! The laboratory of the scenarios: real binaries, real sockets, networks of their own.
//!
//! A scenario asks [`Lab`] for a mesh and its agents, runs `controller` as a person would, and
//! looks at what came out. Everything here is made by the real command line, but for [`peer`], which
//! speaks the wire's bytes to say what no honest controller would.
//!
//! The library never skips. Where a machine cannot give what a scenario needs (namespaces, say),
//! it panics with the reason and the remedy.
//!
//! **Invariant:** whatever a scenario starts is gone when the scenario ends, also when it panics
//! and, on Linux, also when its process is killed.

mod agent;
mod binaries;
mod emulation;
mod eventually;
mod lab;
#[cfg(target_os = "linux")]
mod lan;
mod mesh;
pub mod peer;
mod place;
mod process;
#[cfg(target_os = "linux")]
pub mod procfs;
pub mod proxy;
#[cfg(target_os = "linux")]
mod seat;
#[cfg(unix)]
mod terminal;

pub use agent::Agent;
pub use binaries::Binaries;
pub use emulation::Emulation;
pub use eventually::{eventually, eventually_some};
pub use lab::Lab;
#[cfg(target_os = "linux")]
pub use lan::{Counters, Host, Lan};
pub use mesh::Mesh;
pub use place::Place;
pub use process::{Finished, Process, Stdin, Stdout};
#[cfg(target_os = "linux")]
pub use seat::{Modes, Seat};
#[cfg(unix)]
pub use terminal::{Screen, Terminal};

/// How long anything in the laboratory may take before it counts as hung.
///
/// A loaded two-core machine needs at most a few seconds for the slowest step; a test that waits
/// for this long has failed.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
