//! The operating system, as far as it decides what a command looks like.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::list::List;
use crate::text::Text;

/// The operating system of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Os {
    /// The family that decides shells and paths.
    pub family: OsFamily,
    /// What it is called for people, such as `Debian GNU/Linux 12 (bookworm)`.
    pub title: Option<Text<128>>,
    /// The id of the distribution, such as `debian`.
    pub distribution: Option<Text<64>>,
    /// The distributions that it resembles, nearest first.
    pub resembles: List<Text<64>, 8>,
    /// The version of the distribution or system, such as `12` or `10.0.22631`.
    pub version: Option<Text<64>>,
    /// The release of the kernel.
    pub kernel: Option<Text<128>>,
}

/// A family of operating systems.
///
/// Travels by position: append only, never reorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OsFamily {
    /// Linux of any distribution.
    Linux,
    /// Windows and Windows Server.
    Windows,
    /// macOS.
    MacOs,
    /// Another, such as a BSD.
    Other,
}

impl OsFamily {
    /// The family of the machine that this code was compiled for.
    pub const HERE: Self = if cfg!(target_os = "linux") {
        Self::Linux
    } else if cfg!(windows) {
        Self::Windows
    } else if cfg!(target_os = "macos") {
        Self::MacOs
    } else {
        Self::Other
    };

    /// Returns the family's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Windows => "windows",
            Self::MacOs => "macos",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for OsFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
