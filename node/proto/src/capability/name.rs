//! The names of the capabilities: one for each probe, and for each field of the document.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Something that an agent can be asked about; answered by one probe.
///
/// Travels by position: append only, never reorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// The operating system and its kernel.
    Os,
    /// What the processor speaks.
    Architecture,
    /// What the host calls itself.
    Hostname,
    /// The shells that can run a script.
    Shells,
    /// What installs software.
    PackageManagers,
    /// What supervises services.
    Init,
    /// Programs that commands are often written for.
    Tools,
    /// The directory that the host belongs to.
    Domain,
    /// Whom runs are executed as.
    Privilege,
    /// The file systems that hold data.
    Mounts,
    /// The folders where work is likely.
    Workspaces,
    /// The container or virtual machine around the agent.
    Enclosure,
}

impl Capability {
    /// Every capability, in the order of the wire.
    pub const ALL: [Self; 12] = [
        Self::Os,
        Self::Architecture,
        Self::Hostname,
        Self::Shells,
        Self::PackageManagers,
        Self::Init,
        Self::Tools,
        Self::Domain,
        Self::Privilege,
        Self::Mounts,
        Self::Workspaces,
        Self::Enclosure,
    ];

    /// Returns the capability's name, which is also its field in the document.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Os => "os",
            Self::Architecture => "architecture",
            Self::Hostname => "hostname",
            Self::Shells => "shells",
            Self::PackageManagers => "package_managers",
            Self::Init => "init",
            Self::Tools => "tools",
            Self::Domain => "domain",
            Self::Privilege => "privilege",
            Self::Mounts => "mounts",
            Self::Workspaces => "workspaces",
            Self::Enclosure => "enclosure",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Capability {
    type Err = ParseCapabilityError;

    fn from_str(text: &str) -> Result<Self, ParseCapabilityError> {
        Self::ALL
            .into_iter()
            .find(|capability| capability.as_str() == text)
            .ok_or(ParseCapabilityError)
    }
}

/// A text that names no capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a capability: expected a name such as os, shells or package_managers")]
pub struct ParseCapabilityError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capability_reads_what_it_shows() {
        for capability in Capability::ALL {
            assert_eq!(capability.to_string().parse(), Ok(capability));
        }
        assert_eq!("".parse::<Capability>(), Err(ParseCapabilityError));
    }

    #[test]
    fn each_capability_keeps_its_number_on_the_wire() {
        for (number, capability) in (0_u8..).zip(Capability::ALL) {
            assert_eq!(postcard::to_allocvec(&capability), Ok(vec![number]));
            assert_eq!(postcard::from_bytes(&[number]), Ok(capability));
        }
        assert!(postcard::from_bytes::<Capability>(&[12]).is_err());
    }
}
