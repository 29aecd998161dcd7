//! What a node says of a file.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{FileFault, FileName, FilePath};

/// What lies under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// What it is.
    pub kind: FileKind,
    /// Its length, in bytes.
    pub size: u64,
    /// The permission bits, `0o777` at most.
    pub mode: u16,
    /// When its content last changed.
    pub modified: FileTime,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileKind {
    /// Bytes with an end.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A device.
    Device,
    /// Something else.
    Other,
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::File => "a file",
            Self::Folder => "a folder",
            Self::Link => "a symbolic link",
            Self::Fifo => "a named pipe",
            Self::Socket => "a socket",
            Self::Device => "a device",
            Self::Other => "no ordinary file",
        })
    }
}

/// A time of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FileTime {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds after that.
    pub nanoseconds: u32,
}

/// How many bytes, and SHA-256 over them.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// How many.
    pub bytes: u64,
    /// Over all of them.
    pub sha256: [u8; 32],
}

impl Sum {
    /// Returns the sum of no bytes at all.
    #[must_use]
    pub fn of_nothing() -> Self {
        Self {
            bytes: 0,
            sha256: Sha256::digest([]).into(),
        }
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, SHA-256 ", self.bytes)?;
        self.sha256
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The sender's word on where the content goes on: at 0, or behind what the receiver holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The first byte that follows.
    pub offset: u64,
}

/// One file of a folder that is listed: each folder comes before what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// How many folders it lies below the one that is listed: 0 directly in it.
    pub depth: u16,
    /// Its name in its folder, which is the last folder before it of one depth less.
    pub name: FileName,
    /// What it is.
    pub attributes: Attributes,
    /// Where a symbolic link leads.
    pub target: Option<FilePath>,
    /// Why a folder could not be looked into.
    pub fault: Option<FileFault>,
}

impl Entry {
    /// The most folders below one another.
    pub const MAX_DEPTH: usize = 128;

    /// The most entries of one listing. One takes some hundred bytes of a controller's memory.
    pub const MAX_ENTRIES: usize = 250_000;
}
