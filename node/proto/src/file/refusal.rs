//! Why a file is not copied: closed sets, the same at both ends.

use serde::{Deserialize, Serialize};

use super::{Entry, FileKind, NameFault};
use crate::text::Text;

/// A path as it is shown.
pub type PathText = Text<1024>;

/// What is wrong with one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum FileFault {
    /// There is none.
    #[error("no such file or folder")]
    NotFound,
    /// There is no folder to put it into.
    #[error("the folder for it is not there")]
    NoFolder,
    /// A folder was expected.
    #[error("not a folder")]
    NotAFolder,
    /// A folder was not expected.
    #[error("is a folder")]
    IsAFolder,
    /// A symbolic link on the way would lead out of the folder that is copied.
    #[error("a symbolic link stands where a folder was expected, and is not followed")]
    LinkOnTheWay,
    /// Only regular files have content that can be copied.
    #[error("is {0}, not a file")]
    NotAFile(FileKind),
    /// The user may not do that.
    #[error("permission denied")]
    Denied,
    /// Nothing may be written there.
    #[error("the file system is read-only")]
    ReadOnly,
    /// The file system is full, or the user's share of it.
    #[error("no space left there ({why}); nothing was changed under this name")]
    NoSpace {
        /// The operating system's words.
        why: Text<128>,
    },
    /// The content changed between its first byte and its last.
    #[error("changed while it was read; copy it again when nobody writes to it")]
    Changed,
    /// What arrived is not what was sent.
    #[error("arrived damaged (SHA-256 differs); what was there before is unchanged")]
    Damaged,
    /// The name may not be used on the platform that receives it.
    #[error("the name cannot be used: {0}")]
    Name(NameFault),
    /// Something of another kind has the name already.
    #[error("{0} of this name is there already")]
    Taken(FileKind),
    /// There are too many folders below one another.
    #[error("lies more than {} folders deep", Entry::MAX_DEPTH)]
    TooDeep,
    /// The folder holds too much for one copy.
    #[error("holds more than {} files; copy its parts", Entry::MAX_ENTRIES)]
    TooMany,
    /// The operating system has another reason.
    #[error("{doing}: {why}")]
    Other {
        /// At which step.
        doing: Text<32>,
        /// The operating system's words.
        why: Text<128>,
    },
}

/// Why an agent does not do what was asked of its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum FileRefusal {
    /// The request is for another agent or another mesh.
    #[error("the request is for {agent} and not for this agent")]
    Audience {
        /// Whom it is for.
        agent: Text<80>,
    },
    /// The agent's clock is past the request's window.
    #[error(
        "the request was made {age_ms} ms ago by the agent's clock and was valid for {valid_for_ms} ms; compare the clocks of both hosts"
    )]
    TooOld {
        /// Agent's clock less issue time, in milliseconds.
        age_ms: u64,
        /// The window, in milliseconds.
        valid_for_ms: u32,
    },
    /// The request comes from the agent's future.
    #[error(
        "the request was made {ahead_ms} ms ahead of the agent's clock; compare the clocks of both hosts"
    )]
    FromTheFuture {
        /// Issue time less agent's clock, in milliseconds.
        ahead_ms: u64,
    },
    /// The agent copies as many as it may.
    #[error("the agent serves {limit} copies already, which is its limit; try again later")]
    Busy {
        /// How many.
        limit: u32,
    },
    /// A later request for the same copy has taken its place.
    #[error("another copy of the same file to the same place has taken over")]
    Superseded,
    /// Something is wrong with the file.
    #[error("{path}: {fault}")]
    File {
        /// Which.
        path: PathText,
        /// What.
        fault: FileFault,
    },
    /// The agent failed.
    #[error("the agent failed; its log says more")]
    Broken,
}
