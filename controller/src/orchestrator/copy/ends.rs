//! The two ends of a copy, asked in the same words: this host by a thread, the target by its agent.

use std::path::PathBuf;

use node::files::{self, CopyError, Files, Meter, Moved, Sending, Times, Wanted};
use proto::{
    file::{Attributes, Entry, FileFault, FilePath, FileTime, Place},
    id::TransferId,
};

use super::Way;

/// Both ends of a copy.
#[derive(Debug, Clone)]
pub(super) struct Ends {
    pub(super) way: Way,
    /// From where relative paths of this host start.
    pub(super) start: PathBuf,
    pub(super) there: Files,
}

/// One file on its way.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) from: Place,
    pub(super) to: Place,
    pub(super) transfer: TransferId,
    pub(super) times: Times,
}

/// Which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    From,
    To,
}

impl Ends {
    /// Returns the target's files if `end` is there, and nothing for this host.
    fn remote(&self, end: End) -> Option<&Files> {
        match (self.way, end) {
            (Way::Put, End::To) | (Way::Get, End::From) => Some(&self.there),
            (Way::Put, End::From) | (Way::Get, End::To) => None,
        }
    }

    pub(super) fn is_here(&self, end: End) -> bool {
        self.remote(end).is_none()
    }

    pub(super) async fn look(&self, end: End, at: Place) -> Result<Attributes, CopyError> {
        match self.remote(end) {
            Some(files) => files.look(at).await,
            None => self.here(at, files::look).await,
        }
    }

    pub(super) async fn list(&self, end: End, at: Place) -> Result<Vec<Entry>, CopyError> {
        if let Some(files) = self.remote(end) {
            return files.list(at).await;
        }
        let listed = self.here(at, |start, at| {
            let mut entries = Vec::new();
            let mut each = |entry| {
                entries.push(entry);
                Wanted::More
            };
            files::list(start, at, &mut each)?;
            Ok(entries)
        });
        listed.await
    }

    /// Makes a folder; tells whether there was none.
    pub(super) async fn make_folder(&self, at: Place, mode: u16) -> Result<bool, CopyError> {
        if let Some(files) = self.remote(End::To) {
            return files.make_folder(at, mode).await;
        }
        let made = self.here(at, move |start, at| files::make_folder(start, at, mode));
        made.await.map(|there| there.is_none())
    }

    pub(super) async fn settle(
        &self,
        at: Place,
        mode: u16,
        modified: Option<FileTime>,
    ) -> Result<(), CopyError> {
        match self.remote(End::To) {
            Some(files) => files.settle(at, mode, modified).await,
            None => {
                let settled = self.here(at, move |start, at| {
                    files::settle(start, at, mode, modified)
                });
                settled.await
            }
        }
    }

    pub(super) async fn make_link(&self, at: Place, target: FilePath) -> Result<(), CopyError> {
        match self.remote(End::To) {
            Some(files) => files.make_link(at, target).await,
            None => {
                let made = self.here(at, move |start, at| files::make_link(start, at, &target));
                made.await
            }
        }
    }

    /// Moves one file.
    pub(super) async fn copy(&self, job: Job, meter: &Meter) -> Result<Moved, CopyError> {
        let sending = |here, there| Sending {
            start: self.start.clone(),
            here,
            there,
            transfer: job.transfer,
            times: job.times,
        };
        match self.way {
            Way::Put => self.there.put(sending(job.from, job.to), meter).await,
            Way::Get => self.there.get(sending(job.to, job.from), meter).await,
        }
    }

    /// Does something with this host's files, on a thread that a dead disk may hold.
    async fn here<T: Send + 'static>(
        &self,
        at: Place,
        work: impl FnOnce(&std::path::Path, &Place) -> Result<T, FileFault> + Send + 'static,
    ) -> Result<T, CopyError> {
        let start = self.start.clone();
        let path = at.to_string();
        let done = tokio::task::spawn_blocking(move || work(&start, &at)).await;
        done.map_err(|_| CopyError::Broken)?
            .map_err(|fault| CopyError::Here { path, fault })
    }
}
