//! Folders: what is listed at one end becomes folders, files and links at the other.
//!
//! A listing of the target is hostile: each name is one component that this platform takes, the
//! order was checked when it came, and what it says twice is refused by the disk.

use node::files::{CopyError, Times};
use proto::{
    capability::OsFamily,
    file::{Attributes, Entry, FileFault, FileKind, Place},
};

use super::{
    Skipped, SymbolicLinks,
    ends::{End, Ends, Job},
    session::Session,
};

/// What a folder's owner needs to fill it.
const OWN: u16 = 0o700;

/// A folder that gets its last attributes when all is in it.
#[derive(Debug)]
pub(super) struct Unsettled {
    at: Place,
    attributes: Attributes,
}

/// A folder that is being gone through: its places at both ends. Nothing of one that could not be
/// made is copied.
struct Open {
    from: Place,
    to: Option<Place>,
}

impl Session<'_> {
    /// Makes the folder `to` and all below it, and returns the files that belong there.
    pub(super) async fn plan_folder(
        &mut self,
        from: Place,
        to: Place,
        found: &Attributes,
    ) -> Result<Vec<Job>, CopyError> {
        let listed = self.ask(async |ends: &Ends| ends.list(End::From, from.clone()).await);
        let entries = listed.await?;
        self.make(&to, found).await?;
        let mut jobs = Vec::new();
        let mut open = vec![Open { from, to: Some(to) }];
        for entry in entries {
            // The order was checked where the listing was read.
            open.truncate(usize::from(entry.depth) + 1);
            let Some(within) = open.last() else { continue };
            let Some(within_to) = within.to.clone() else {
                if entry.attributes.kind == FileKind::Folder {
                    let from = within.from.clone();
                    open.push(Open { from, to: None });
                }
                continue; // its folder's failure is told
            };
            let from = within.from.child(entry.name.clone());
            let Ok(from) = from else { continue };
            let to = match self.place_of(&entry, &within_to) {
                Ok(to) => to,
                Err(fault) => {
                    let error = self.at_destination(&within_to, fault);
                    self.fail(from.to_string(), error);
                    if entry.attributes.kind == FileKind::Folder {
                        open.push(Open { from, to: None });
                    }
                    continue;
                }
            };
            if entry.attributes.kind == FileKind::Folder {
                let to = self.enter(&entry, &from, to).await?;
                open.push(Open { from, to });
            } else {
                jobs.extend(self.plan_entry(entry, from, to).await?);
            }
        }
        Ok(jobs)
    }

    /// Returns where an entry is to lie.
    fn place_of(&self, entry: &Entry, within: &Place) -> Result<Place, FileFault> {
        if self.writes_here() {
            entry
                .name
                .check_for(OsFamily::HERE)
                .map_err(FileFault::Name)?;
        }
        within
            .child(entry.name.clone())
            .map_err(|_| FileFault::TooDeep)
    }

    /// Makes a folder that is listed; nothing if it cannot be filled.
    async fn enter(
        &mut self,
        entry: &Entry,
        from: &Place,
        to: Place,
    ) -> Result<Option<Place>, CopyError> {
        if let Some(fault) = entry.fault.clone() {
            let error = self.at_source(from, fault);
            self.fail(from.to_string(), error);
            return Ok(None);
        }
        match self.make(&to, &entry.attributes).await {
            Ok(()) => Ok(Some(to)),
            Err(error) if super::stops_all(&error) => Err(error),
            Err(error) => {
                self.fail(from.to_string(), error);
                Ok(None)
            }
        }
    }

    async fn make(&mut self, to: &Place, attributes: &Attributes) -> Result<(), CopyError> {
        let mode = attributes.mode;
        let made = self.ask(async |ends: &Ends| ends.make_folder(to.clone(), mode).await);
        let is_new = made.await?;
        self.copied.folders += u64::from(is_new);
        let keeps_time = self.wish.times == Times::Kept;
        if keeps_time || (is_new && mode & OWN != OWN) {
            self.unsettled.push(Unsettled {
                at: to.clone(),
                attributes: *attributes,
            });
        }
        Ok(())
    }

    /// Returns the job that an entry other than a folder means, if it means one.
    async fn plan_entry(
        &mut self,
        entry: Entry,
        from: Place,
        to: Place,
    ) -> Result<Option<Job>, CopyError> {
        match (entry.attributes.kind, entry.target) {
            (FileKind::File, _) => Ok(Some(self.job(from, to, &entry.attributes))),
            (FileKind::Link, Some(target)) if self.wish.links == SymbolicLinks::Copy => {
                let made =
                    self.ask(async |ends: &Ends| ends.make_link(to.clone(), target.clone()).await);
                match made.await {
                    Ok(()) => self.copied.links += 1,
                    Err(error) if super::stops_all(&error) => return Err(error),
                    Err(error) => self.fail(from.to_string(), error),
                }
                Ok(None)
            }
            (kind, _) => {
                let path = from.to_string();
                self.copied.skipped.push(Skipped { path, kind });
                Ok(None)
            }
        }
    }

    /// Gives folders their last attributes, the innermost first.
    pub(super) async fn settle_folders(&mut self) -> Result<(), CopyError> {
        while let Some(Unsettled { at, attributes }) = self.unsettled.pop() {
            let (mode, time) = (attributes.mode, self.wish.times.of(&attributes));
            let settled = self.ask(async |ends: &Ends| ends.settle(at.clone(), mode, time).await);
            match settled.await {
                Ok(()) => {}
                Err(error) if super::stops_all(&error) => return Err(error),
                Err(error) => self.fail(at.to_string(), error),
            }
        }
        Ok(())
    }
}
