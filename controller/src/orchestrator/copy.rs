//! Files to and from one target: which files a wish means, and that all of them get there.
//!
//! Owns what a destination means (a folder, or a name), the walk through folders, how many files are
//! under way at once, and what happens when the link is lost: dial again, and go on where each file
//! broke. How one file arrives is `node::files`' business.
//!
//! **Invariant:** every source ends as copied, skipped or failed in the [`Copied`] of its wish; an
//! error of [`Orchestrator::copy`] says that nothing was asked of the target.

mod ends;
mod session;
mod tree;

use std::{path::PathBuf, sync::Arc, time::Duration};

use node::{
    files::{CopyError, Files, Meter, Times},
    links::Unreachable,
};
use proto::{
    file::{FileFault, FileKind, FilePath},
    id::NodeName,
};

use self::session::Session;
use super::Orchestrator;

/// A wish to copy files between this host and one target.
#[derive(Debug, Clone)]
pub struct Copy {
    /// Which agent.
    pub target: NodeName,
    /// In which direction.
    pub way: Way,
    /// The sources. At least one.
    pub from: Vec<FilePath>,
    /// A folder to copy into, or the name of the copy.
    pub to: FilePath,
    /// What becomes of folders among the sources.
    pub folders: Folders,
    /// What becomes of symbolic links in folders.
    pub links: SymbolicLinks,
    /// Which time copies get.
    pub times: Times,
    /// From where relative paths of this host start.
    pub start: PathBuf,
    /// Who asks, for the record.
    pub principal: String,
    /// How long the target is looked for.
    pub window: Duration,
}

/// In which direction files are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the target.
    Put,
    /// From the target.
    Get,
}

/// What becomes of folders among the sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folders {
    /// They are refused.
    Refuse,
    /// They are copied with all that is in them.
    Recurse,
}

/// What becomes of symbolic links in folders. They are never followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SymbolicLinks {
    /// They are left out, and said to be.
    Skip,
    /// The copy gets a link of the same words.
    Copy,
}

/// What came of a wish.
#[derive(Debug, Default)]
pub struct Copied {
    /// Files that are at their destination, whole.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of these, bytes that an earlier, broken copy had brought there.
    pub resumed: u64,
    /// Folders that were made.
    pub folders: u64,
    /// Symbolic links that were made.
    pub links: u64,
    /// What was left out, since it has no content to copy.
    pub skipped: Vec<Skipped>,
    /// What could not be copied.
    pub failed: Vec<Failed>,
    /// Why the rest was given up.
    pub broken_off: Option<CopyError>,
}

/// Something that was left out.
#[derive(Debug)]
pub struct Skipped {
    /// Which, escaped.
    pub path: String,
    /// What it is.
    pub kind: FileKind,
}

/// Something that could not be copied.
#[derive(Debug)]
pub struct Failed {
    /// The source, escaped.
    pub path: String,
    /// Why.
    pub error: CopyError,
}

/// What a copy tells while it goes on.
#[derive(Debug)]
pub enum News<'a> {
    /// The link was lost, and is dialled again after a pause.
    Lost {
        /// Why.
        error: &'a CopyError,
        /// How long the pause is.
        pause: Duration,
    },
    /// There is a link again.
    Back,
}

impl Orchestrator {
    /// Copies what `wish` says. `meter` tells how far it is; `news` hears what else happens.
    ///
    /// # Errors
    /// The target was not found.
    ///
    /// # Cancel safety
    /// Dropped, it leaves whole files whole, and hidden parts with which the same copy goes on.
    pub async fn copy(
        &self,
        wish: &Copy,
        meter: &Arc<Meter>,
        news: &dyn Fn(News<'_>),
    ) -> Result<Copied, Unreachable> {
        let files = self.files_of(wish).await?;
        let mut session = Session::new(self, wish, files, meter, news);
        let done = session.copy_all().await;
        let mut copied = session.into_copied();
        copied.broken_off = done.err();
        Ok(copied)
    }

    async fn files_of(&self, wish: &Copy) -> Result<Files, Unreachable> {
        let found = self.links.to(&wish.target, wish.window).await?;
        self.remember(&found);
        let mesh = self.identity.fingerprint();
        Ok(Files::new(found.link, mesh, &wish.principal))
    }
}

/// Tells whether an error concerns everything that is still to be copied.
fn stops_all(error: &CopyError) -> bool {
    let fault = match error {
        CopyError::Here { fault, .. } => Some(fault),
        CopyError::Refused(refusal) => match refusal.as_ref() {
            proto::file::FileRefusal::File { fault, .. } => Some(fault),
            proto::file::FileRefusal::Audience { .. }
            | proto::file::FileRefusal::TooOld { .. }
            | proto::file::FileRefusal::FromTheFuture { .. }
            | proto::file::FileRefusal::Busy { .. }
            | proto::file::FileRefusal::Superseded
            | proto::file::FileRefusal::Broken => return true,
        },
        CopyError::Link(_) | CopyError::Stream | CopyError::Violation | CopyError::Broken => {
            return true;
        }
        CopyError::TooLong(_) => None,
    };
    matches!(fault, Some(FileFault::NoSpace { .. } | FileFault::ReadOnly))
}
