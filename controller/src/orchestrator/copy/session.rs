//! One wish from its first question to its last file, over as many links as it takes.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use node::files::{CopyError, Files, Meter, Moved};
use proto::{
    capability::OsFamily,
    file::{Attributes, FileFault, FileKind, FileName, FilePath, FileRefusal, NameFault, Place},
    id::TransferId,
};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

use super::{
    Copied, Copy, Failed, Folders, News, Way,
    ends::{End, Ends, Job},
    stops_all,
    tree::Unsettled,
};
use crate::orchestrator::Orchestrator;

/// Files that are under way at once: enough that small ones do not each cost a round trip and a
/// disk's pause, and far from what an agent takes of all controllers.
const AT_ONCE: usize = 8;

/// Dials in one copy at most: a target that breaks each link is not worth more.
const MAX_DIALS: usize = 100;

/// The pauses before the dials after a link was lost. Progress begins them anew.
const PAUSES: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
];

/// Moved bytes that count as progress.
const PROGRESS: u64 = 1 << 20;

/// A wish that is being carried out.
pub(super) struct Session<'a> {
    orchestrator: &'a Orchestrator,
    pub(super) wish: &'a Copy,
    ends: Ends,
    pub(super) meter: &'a Arc<Meter>,
    news: &'a dyn Fn(News<'_>),
    pub(super) copied: Copied,
    pub(super) unsettled: Vec<Unsettled>,
    /// Dials since the last progress, and what had been moved then.
    dials: usize,
    moved: u64,
    dials_in_all: usize,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        orchestrator: &'a Orchestrator,
        wish: &'a Copy,
        there: Files,
        meter: &'a Arc<Meter>,
        news: &'a dyn Fn(News<'_>),
    ) -> Self {
        Self {
            orchestrator,
            wish,
            ends: Ends {
                way: wish.way,
                start: wish.start.clone(),
                there,
            },
            meter,
            news,
            copied: Copied::default(),
            unsettled: Vec::new(),
            dials: 0,
            moved: 0,
            dials_in_all: 0,
        }
    }

    /// Tells whether the copies are made on this host.
    pub(super) fn writes_here(&self) -> bool {
        self.ends.is_here(End::To)
    }

    pub(super) fn into_copied(self) -> Copied {
        self.copied
    }

    /// Copies every source. What concerns one of them is kept, and the others go on.
    pub(super) async fn copy_all(&mut self) -> Result<(), CopyError> {
        let to = Place::at(self.wish.to.clone());
        let into = self.ask(async |ends: &Ends| ends.look(End::To, to.clone()).await);
        let into = match into.await {
            Ok(found) => Some(found.kind),
            Err(error) if is_missing(&error) => None,
            Err(error) => return Err(error),
        };
        let mut jobs = Vec::new();
        for from in &self.wish.from {
            match self.plan(from, into).await {
                Ok(planned) => jobs.extend(planned),
                Err(error) if stops_all(&error) => return Err(error),
                Err(error) => self.fail(from.to_string(), error),
            }
        }
        self.copy_jobs(jobs).await?;
        self.settle_folders().await
    }

    /// Returns the files that a source means. Folders are made on the way.
    async fn plan(
        &mut self,
        from: &FilePath,
        into: Option<FileKind>,
    ) -> Result<Vec<Job>, CopyError> {
        let source = Place::at(from.clone());
        let found = self
            .ask(async |ends: &Ends| ends.look(End::From, source.clone()).await)
            .await?;
        let to = self.destination(from, found.kind, into)?;
        match found.kind {
            FileKind::File => Ok(vec![self.job(source, to, &found)]),
            FileKind::Folder if self.wish.folders == Folders::Recurse => {
                self.plan_folder(source, to, &found).await
            }
            FileKind::Folder => Err(self.at_source(&source, FileFault::IsAFolder)),
            FileKind::Link
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::Device
            | FileKind::Other => Err(self.at_source(&source, FileFault::NotAFile(found.kind))),
        }
    }

    /// Returns where the copy of `from` is to lie: in the folder that is there, or under the name
    /// that is not.
    fn destination(
        &self,
        from: &FilePath,
        kind: FileKind,
        into: Option<FileKind>,
    ) -> Result<Place, CopyError> {
        let to = &self.wish.to;
        let at = |fault| self.at_destination(&Place::at(to.clone()), fault);
        if into == Some(FileKind::Folder) {
            let name = self
                .name_of(from)
                .map_err(|fault| at(FileFault::Name(fault)))?;
            let child = Place::at(to.clone()).child(name);
            return child.map_err(|_| at(FileFault::TooDeep));
        }
        let needs_folder = self.wish.from.len() > 1 || to.means_folder();
        let makes_folder = kind == FileKind::Folder && self.wish.from.len() == 1;
        match to.split() {
            Some((folder, name)) if !needs_folder || makes_folder => {
                let child = Place::at(folder).child(name);
                child.map_err(|_| at(FileFault::TooDeep))
            }
            Some(_) | None if into.is_some() => Err(at(FileFault::NotAFolder)),
            Some(_) | None => Err(at(FileFault::NotFound)),
        }
    }

    /// Returns the name under which a source lies in a folder. The target is not asked for it: what it
    /// says is never a name of this host.
    fn name_of(&self, from: &FilePath) -> Result<FileName, NameFault> {
        let name = match from.split() {
            Some((_, name)) => name,
            None if self.ends.is_here(End::From) => {
                use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
                let path = std::ffi::OsStr::from_bytes(from.as_bytes());
                let whole = fs_err::canonicalize(self.wish.start.join(path));
                let whole = whole.map_err(|_| NameFault::NoName)?;
                let name = whole.file_name().ok_or(NameFault::NoName)?;
                FileName::try_from(name.to_owned().into_vec())?
            }
            None => return Err(NameFault::NoName),
        };
        if self.ends.is_here(End::To) {
            name.check_for(OsFamily::HERE)?;
        }
        Ok(name)
    }

    /// Makes one file's job, and lets the meter expect it.
    pub(super) fn job(&self, from: Place, to: Place, found: &Attributes) -> Job {
        self.meter.expect(found.size);
        Job {
            transfer: self.transfer(&from, &to),
            from,
            to,
            times: self.wish.times,
        }
    }

    /// Returns the id of a file's copy: the same for the same source and destination, so that the same
    /// command goes on where it broke, and nobody else's.
    fn transfer(&self, from: &Place, to: &Place) -> TransferId {
        use std::os::unix::ffi::OsStrExt as _;
        let identity = &self.orchestrator.identity;
        let way: &[u8] = match self.wish.way {
            Way::Put => b"put",
            Way::Get => b"get",
        };
        let mut hasher = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hasher.update((bytes.len() as u64).to_be_bytes());
            hasher.update(bytes);
        };
        part(identity.fingerprint().to_string().as_bytes());
        part(identity.node().to_string().as_bytes());
        part(self.wish.target.as_str().as_bytes());
        part(way);
        part(self.wish.start.as_os_str().as_bytes());
        for place in [from, to] {
            part(place.root.as_bytes());
            for name in place.below() {
                part(name.as_bytes());
            }
            part(b"");
        }
        let digest: [u8; 32] = hasher.finalize().into();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        TransferId::from_bytes(id)
    }

    /// Moves files, some at once. A lost link takes those back that it broke.
    async fn copy_jobs(&mut self, jobs: Vec<Job>) -> Result<(), CopyError> {
        let mut waiting = VecDeque::from(jobs);
        loop {
            let mut lost = None;
            let mut stopped = None;
            let mut moving = JoinSet::new();
            loop {
                while lost.is_none() && stopped.is_none() && moving.len() < AT_ONCE {
                    let Some(job) = waiting.pop_front() else {
                        break;
                    };
                    let (ends, meter) = (self.ends.clone(), Arc::clone(self.meter));
                    moving.spawn(async move { (job.clone(), ends.copy(job, &meter).await) });
                }
                match moving.join_next().await {
                    None => break,
                    Some(Ok((_, Ok(moved)))) => self.count(moved),
                    Some(Ok((job, Err(error)))) if error.is_lost() => {
                        waiting.push_front(job);
                        lost = Some(error);
                    }
                    Some(Ok((_, Err(error)))) if stops_all(&error) => stopped = Some(error),
                    Some(Ok((job, Err(error)))) => self.fail(job.from.to_string(), error),
                    Some(Err(_)) => stopped = Some(CopyError::Broken),
                }
            }
            match (stopped, lost) {
                (Some(error), _) => return Err(error),
                (None, Some(error)) => self.dial_again(error).await?,
                (None, None) => return Ok(()),
            }
        }
    }

    fn count(&mut self, moved: Moved) {
        self.copied.files += 1;
        self.copied.bytes += moved.sum.bytes;
        self.copied.resumed += moved.resumed;
    }

    /// Asks an end something, again over another link if that is lost. Every question may be asked
    /// twice.
    pub(super) async fn ask<T>(
        &mut self,
        question: impl AsyncFn(&Ends) -> Result<T, CopyError>,
    ) -> Result<T, CopyError> {
        loop {
            match question(&self.ends).await {
                Err(error) if error.is_lost() => self.dial_again(error).await?,
                answered => return answered,
            }
        }
    }

    /// Links to the target again, unless that was tried too often since anything moved.
    async fn dial_again(&mut self, mut error: CopyError) -> Result<(), CopyError> {
        let moved = self.meter.moved();
        if moved >= self.moved + PROGRESS {
            (self.moved, self.dials) = (moved, 0);
        }
        loop {
            let pause = PAUSES.get(self.dials).copied();
            let Some(pause) = pause.filter(|_| self.dials_in_all < MAX_DIALS) else {
                return Err(error);
            };
            self.dials += 1;
            self.dials_in_all += 1;
            (self.news)(News::Lost {
                error: &error,
                pause,
            });
            tokio::time::sleep(pause).await;
            match self.orchestrator.files_of(self.wish).await {
                Ok(files) => {
                    self.ends.there = files;
                    (self.news)(News::Back);
                    return Ok(());
                }
                Err(unreachable) => {
                    let telling = unreachable.tried.into_iter().map(|(_, error)| error);
                    if let Some(why) = telling.max_by_key(node::link::DialError::weight) {
                        error = CopyError::Link(why);
                    }
                }
            }
        }
    }

    /// Keeps that a source could not be copied.
    pub(super) fn fail(&mut self, path: String, error: CopyError) {
        self.copied.failed.push(Failed { path, error });
    }

    /// Returns an error about a source, wherever that is.
    pub(super) fn at_source(&self, place: &Place, fault: FileFault) -> CopyError {
        self.at(End::From, place, fault)
    }

    /// Returns an error about a destination, wherever that is.
    pub(super) fn at_destination(&self, place: &Place, fault: FileFault) -> CopyError {
        self.at(End::To, place, fault)
    }

    fn at(&self, end: End, place: &Place, fault: FileFault) -> CopyError {
        let path = place.to_string();
        if self.ends.is_here(end) {
            return CopyError::Here { path, fault };
        }
        let path = proto::text::Text::cut(&path);
        CopyError::Refused(Box::new(FileRefusal::File { path, fault }))
    }
}

/// Tells whether an error says that nothing lies there, which is no error of a destination.
fn is_missing(error: &CopyError) -> bool {
    let fault = match error {
        CopyError::Here { fault, .. } => fault,
        CopyError::Refused(refusal) => match refusal.as_ref() {
            FileRefusal::File { fault, .. } => fault,
            FileRefusal::Audience { .. }
            | FileRefusal::TooOld { .. }
            | FileRefusal::FromTheFuture { .. }
            | FileRefusal::Busy { .. }
            | FileRefusal::Superseded
            | FileRefusal::Broken => return false,
        },
        CopyError::Link(_)
        | CopyError::Stream
        | CopyError::Violation
        | CopyError::TooLong(_)
        | CopyError::Broken => return false,
    };
    *fault == FileFault::NotFound
}
