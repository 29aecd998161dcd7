//! The hidden files that broken copies left on this host, so that they do not stay for ever.
//!
//! A record of each lies in the agent's folder from before its first byte until its last, so that
//! also those of an agent that was killed are known. A record that cannot be written costs only this
//! tidiness.
//!
//! **Invariant:** only a file that is recorded, has a hidden name of ours, belongs to this user, is
//! written by nobody and has not been touched for [`KEPT`] is removed; the oldest beyond [`MOST`] go
//! earlier. Guarded by `only_what_nobody_continues_is_removed`.

use std::{
    ffi::OsStr,
    io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use proto::{file::Place, id::TransferId};
use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock},
    process::geteuid,
};

use crate::fault;

/// How long a broken copy may be continued.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// How many broken copies are kept.
const MOST: usize = 64;

/// The records of one agent.
#[derive(Debug)]
pub(super) struct Leftovers {
    records: PathBuf,
    is_sweeping: AtomicBool,
}

impl Leftovers {
    /// Keeps records below the agent's folder.
    pub(super) fn of(home: &Path) -> Self {
        Self {
            records: home.join("copies"),
            is_sweeping: AtomicBool::new(false),
        }
    }

    /// Notes the hidden file `hidden`, which is to become `at`.
    pub(super) fn note(&self, transfer: TransferId, start: &Path, at: &Place, hidden: &[u8]) {
        let mut path = start.join(OsStr::from_bytes(at.root.as_bytes()));
        let folders = at.below().split_last().map_or(&[][..], |(_, rest)| rest);
        path.extend(
            folders
                .iter()
                .map(|name| OsStr::from_bytes(name.as_bytes())),
        );
        path.push(OsStr::from_bytes(hidden));
        let record = self.records.join(transfer.to_string());
        fault::point("copy-before-note");
        let noted = fs_err::create_dir_all(&self.records)
            .and_then(|()| fs_err::write(record, path.as_os_str().as_bytes()));
        if let Err(error) = noted {
            tracing::warn!(%error, "a copy is not recorded; what it leaves if it breaks stays");
        }
        fault::point("copy-after-note");
    }

    /// Forgets a copy that is whole.
    pub(super) fn forget(&self, transfer: TransferId) {
        fault::point("copy-before-forgotten");
        // One that was not noted, or a disk that fails: the next sweep sees that nothing is there.
        drop(fs_err::remove_file(self.records.join(transfer.to_string())));
        fault::point("copy-after-forgotten");
    }

    /// Removes what nobody has continued for too long, and the oldest of what is too much, on a thread
    /// of its own: one at a time, since a record may lead to a disk that hangs.
    pub(super) fn sweep_aside(self: &Arc<Self>) {
        if self.is_sweeping.swap(true, Ordering::AcqRel) {
            return;
        }
        let this = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            this.sweep_at(SystemTime::now());
            this.is_sweeping.store(false, Ordering::Release);
        });
    }

    fn sweep_at(&self, now: SystemTime) {
        let Ok(records) = fs_err::read_dir(&self.records) else {
            return; // no copy has ever come
        };
        let mut left = Vec::new();
        for record in records.flatten() {
            match Leftover::read(&record.path()) {
                Ok(leftover) => left.push((leftover, record.path())),
                // It is whole, or somebody removed it.
                Err(_) => drop(fs_err::remove_file(record.path())),
            }
        }
        left.sort_by_key(|(leftover, _)| std::cmp::Reverse(leftover.touched));
        for (at, (leftover, record)) in left.iter().enumerate() {
            let age = now.duration_since(leftover.touched).unwrap_or_default();
            if (age > KEPT || at >= MOST) && leftover.remove().is_ok() {
                drop(fs_err::remove_file(record));
            }
        }
    }
}

/// A hidden file that is there.
struct Leftover {
    path: PathBuf,
    touched: SystemTime,
}

impl Leftover {
    fn read(record: &Path) -> io::Result<Self> {
        let path = PathBuf::from(OsStr::from_bytes(&fs_err::read(record)?));
        let found = fs_err::symlink_metadata(&path)?;
        let name = path.file_name().unwrap_or_default().as_bytes();
        let is_hidden = name.starts_with(b".") && name.ends_with(b".part");
        let is_ours = found.uid() == geteuid().as_raw() && found.nlink() == 1;
        if !(found.is_file() && is_hidden && is_ours) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let touched = found.modified()?;
        Ok(Self { path, touched })
    }

    /// Removes it, unless somebody writes to it.
    fn remove(&self) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&self.path, flags, Mode::empty())?;
        flock(&fd, FlockOperation::NonBlockingLockExclusive)?;
        fs_err::remove_file(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(leftovers: &Leftovers, folder: &Path, number: u8) -> PathBuf {
        let hidden = format!(".x.mesosync-{number}.part");
        let root = folder.as_os_str().as_bytes().to_vec();
        let at = Place::at(root.try_into().unwrap());
        let at = at.child(b"x".to_vec().try_into().unwrap()).unwrap();
        let path = folder.join(&hidden);
        fs_err::write(&path, "part").unwrap();
        let transfer = TransferId::from_bytes([number; 16]);
        leftovers.note(transfer, Path::new("/"), &at, hidden.as_bytes());
        path
    }

    #[test]
    fn only_what_nobody_continues_is_removed() {
        let (home, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let leftovers = Leftovers::of(home.path());
        let (left, busy) = (
            note(&leftovers, folder.path(), 1),
            note(&leftovers, folder.path(), 2),
        );
        let lock = fs_err::File::open(&busy).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();

        leftovers.sweep_at(SystemTime::now());
        assert!(left.exists() && busy.exists(), "neither is old");
        leftovers.sweep_at(SystemTime::now() + KEPT + Duration::from_secs(1));

        assert!(!left.exists() && busy.exists());
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let (home, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let leftovers = Leftovers::of(home.path());

        for number in 0..u8::try_from(MOST).unwrap() + 10 {
            note(&leftovers, folder.path(), number);
        }
        leftovers.sweep_at(SystemTime::now());

        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), MOST);
    }

    #[test]
    fn a_record_that_leads_elsewhere_removes_nothing() {
        let (home, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let leftovers = Leftovers::of(home.path());
        let victim = folder.path().join("victim");
        let trap = note(&leftovers, folder.path(), 1);
        fs_err::write(&victim, "x").unwrap();
        fs_err::remove_file(&trap).unwrap();
        std::os::unix::fs::symlink(&victim, &trap).unwrap();

        leftovers.sweep_at(SystemTime::now() + KEPT + Duration::from_secs(1));

        assert!(victim.exists() && trap.is_symlink());
    }
}
