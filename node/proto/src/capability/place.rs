//! Where things are on a host: programs, file systems, folders to work in.

use serde::{Deserialize, Serialize};

use crate::text::Text;

/// A path on a host. Bytes that are not UTF-8 are replaced, and a longer path is cut, so it is for
/// people and for choosing, not for passing back blindly.
pub type PathText = Text<256>;

/// A program that was found on the agent's search path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// What it is called, such as `python3`.
    pub name: Text<32>,
    /// Where it is.
    pub path: PathText,
    /// The first line of what it says about its version, where it was asked and answered.
    pub version: Option<Text<128>>,
}

/// A file system that holds data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where it is mounted; a drive, on Windows.
    pub path: PathText,
    /// Its type, such as `ext4`, `nfs4` or `NTFS`.
    pub file_system: Text<32>,
    /// How much it holds.
    pub size_bytes: u64,
    /// How much an unprivileged user may still write.
    pub free_bytes: u64,
    /// Whether it is mounted read-only.
    pub read_only: bool,
}

/// A folder where work is likely.
///
/// Nobody configures these: they are what the agent sees from where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    /// Where it is.
    pub path: PathText,
    /// Why it is listed.
    pub kind: WorkspaceKind,
}

/// Why a folder is listed as a workspace.
///
/// Travels by position: append only, never reorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceKind {
    /// The home of the user that the agent runs as.
    Home,
    /// The folder that the agent was started in.
    Current,
    /// A checkout of a version control system, directly within one of the others.
    Checkout,
}
