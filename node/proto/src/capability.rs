//! What an agent says about its host: a typed, bounded document.
//!
//! Owns the vocabulary and its bounds. How each answer is found is the probes' business, in the
//! agent. Everything in it is the agent's claim: text is [`Text`], which shows itself escaped, and
//! nothing here may be interpolated into a command, a page or a prompt unfenced.
//!
//! The document travels as postcard, which is positional: fields and variants are append-only
//! within a protocol version, and golden bytes hold them in place.
//!
//! **Invariant:** an encoded document is never longer than [`Capabilities::MAX_LEN`], and a field
//! without a value has a [`ProbeFailure`] that says why, or the host has no such thing. The first
//! is guarded by `the_largest_document_keeps_its_bound`, the second by the agent's
//! `nothing_is_silently_missing`.

mod failure;
mod host;
mod list;
mod name;
mod os;
mod place;

use serde::{Deserialize, Serialize};

pub use failure::{FailureReason, ProbeFailure};
pub use host::{
    Container, Domain, DomainKind, Enclosure, InitSystem, Privilege, PrivilegeLevel, VirtualMachine,
};
pub use list::List;
pub(crate) use list::within_bound;
pub use name::{Capability, ParseCapabilityError};
pub use os::{Os, OsFamily};
pub use place::{Mount, PathText, Program, Workspace, WorkspaceKind};

use crate::text::Text;

/// What an agent knows about its host, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// The version of the agent.
    pub agent_version: Text<32>,
    /// When the probing ended, in milliseconds since 1970 by the agent's clock.
    pub probed_at_ms: u64,
    /// The operating system.
    pub os: Option<Os>,
    /// What the processor speaks: `x86_64`, `aarch64` …
    pub architecture: Option<Text<32>>,
    /// What the host calls itself.
    pub hostname: Option<Text<256>>,
    /// The shells that can run a script.
    pub shells: Option<List<Program, 16>>,
    /// What installs software.
    pub package_managers: Option<List<Program, 16>>,
    /// What supervises services.
    pub init: Option<InitSystem>,
    /// Programs that commands are often written for.
    pub tools: Option<List<Program, 48>>,
    /// The directory that the host has joined; nothing if it has joined none.
    pub domain: Option<Domain>,
    /// Whom runs are executed as.
    pub privilege: Option<Privilege>,
    /// The file systems that hold data.
    pub mounts: Option<List<Mount, 32>>,
    /// The folders where work is likely.
    pub workspaces: Option<List<Workspace, 16>>,
    /// The container or virtual machine around the agent.
    pub enclosure: Option<Enclosure>,
    /// What could not be told, and why.
    pub failures: List<ProbeFailure, 64>,
}

impl Capabilities {
    /// The most bytes that an encoded document takes.
    ///
    /// The largest document that the types can express takes 60 to 64 KiB; a real one about 4 KiB.
    pub const MAX_LEN: usize = 64 * 1024;

    /// Returns why `capability` is missing as a whole, or that its list was cut, if either is so.
    #[must_use]
    pub fn failure(&self, capability: Capability) -> Option<&FailureReason> {
        self.failures
            .iter()
            .find(|failure| failure.capability == capability && failure.part.is_none())
            .map(|failure| &failure.reason)
    }
}

#[cfg(test)]
mod tests;
