//! A file that is arriving: hidden until it is whole.
//!
//! **Invariant:** the final name changes in one step, by a rename, after the content was compared
//! with its sender's SHA-256 and made durable; and a hidden file is written by one copy at a time,
//! which holds its lock. Guarded by this file's tests and the scenarios `files`.

#[cfg(test)]
mod tests;

use std::os::fd::OwnedFd;

use proto::{
    file::{FileFault, FileName, FileTime, Sum},
    id::TransferId,
    text::Text,
};
use rustix::{
    fs::{FlockOperation, Mode, OFlags, Stat, fchmod, fdatasync, flock, ftruncate, openat},
    io::{Errno, pread, pwrite},
    process::geteuid,
};
use sha2::{Digest as _, Sha256};

use super::{
    folder::{Folder, fault as fault_of, give, stat_open},
    source::PIECE,
};
use crate::fault;

/// How much of a name a hidden name repeats, so that it stays within [`FileName::MAX_LEN`].
const SHOWN_OF_NAME: usize = 200;

/// How often a hidden name is tried that others take in the same moment.
const TRIES: usize = 8;

/// How much lies in the page cache before the disk is told to begin: then little is left to wait for
/// when the file is made durable.
const WRITE_BEHIND: u64 = 8 << 20;

/// Readable by its owner alone.
const OWNERS: Mode = Mode::RUSR.union(Mode::WUSR);

/// A file under its hidden name.
#[derive(Debug)]
pub(crate) struct Partial {
    folder: Folder,
    /// Its name when it is whole.
    name: FileName,
    hidden: Vec<u8>,
    fd: OwnedFd,
    hasher: Sha256,
    /// What is in it.
    len: u64,
    /// Up to where the disk has been told to write.
    begun: u64,
    /// What becomes of it if it does not get whole.
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It stays for whoever continues this copy.
    Stays,
    /// It goes: nobody could find it, or nobody should.
    Goes,
    /// It has its final name.
    Renamed,
}

/// What a file gets when it is whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finish {
    /// What the sender says that it is.
    pub(crate) sum: Sum,
    /// Its permission bits.
    pub(crate) mode: u16,
    /// Its time.
    pub(crate) modified: Option<FileTime>,
}

/// A file that is whole.
#[derive(Debug)]
pub(crate) struct Finished {
    /// What it is.
    pub(crate) sum: Sum,
    /// What had its name before. Until this is dropped it takes up room, and dropping it takes time
    /// for each of its pages.
    pub(crate) replaced: Option<OwnedFd>,
}

impl Partial {
    /// Opens the hidden file of this copy, with what is in it, or makes it.
    ///
    /// Another one is made where it is not to be had: where another process is at it, or somebody
    /// else has made it.
    pub(crate) fn open(
        folder: Folder,
        name: &FileName,
        transfer: TransferId,
    ) -> Result<Self, FileFault> {
        let hidden = hidden_name(name, &transfer.to_string());
        for _ in 0..TRIES {
            match claim(&folder, &hidden)? {
                Claim::Ours(fd, len) => {
                    let mut partial = Self::new(folder, name, hidden, fd, Fate::Stays);
                    partial.take_in(len)?;
                    return Ok(partial);
                }
                Claim::Moved => {}
                Claim::Foreign => break,
            }
        }
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| FileFault::Other {
            doing: Text::cut("choose a name"),
            why: Text::cut(&error.to_string()),
        })?;
        let hidden = hidden_name(name, &TransferId::from_bytes(random).to_string());
        let fd = make(&folder, &hidden, OFlags::EXCL).map_err(|error| fault_of("make", error))?;
        Ok(Self::new(folder, name, hidden, fd, Fate::Goes))
    }

    fn new(folder: Folder, name: &FileName, hidden: Vec<u8>, fd: OwnedFd, fate: Fate) -> Self {
        Self {
            folder,
            name: name.clone(),
            hidden,
            fd,
            hasher: Sha256::new(),
            len: 0,
            begun: 0,
            fate,
        }
    }

    /// Returns its hidden name.
    pub(crate) fn hidden(&self) -> &[u8] {
        &self.hidden
    }

    /// Tells whether it stays when this copy breaks.
    pub(crate) fn is_resumable(&self) -> bool {
        self.fate == Fate::Stays
    }

    /// Returns what is in it.
    pub(crate) fn held(&self) -> Sum {
        Sum {
            bytes: self.len,
            sha256: self.hasher.clone().finalize().into(),
        }
    }

    /// Reads what an earlier copy left.
    fn take_in(&mut self, len: u64) -> Result<(), FileFault> {
        let mut buffer = vec![0; PIECE];
        while self.len < len {
            match pread(&self.fd, &mut buffer, self.len) {
                Ok(0) => break,
                Ok(more) => {
                    self.hasher.update(&buffer[..more]);
                    self.len += more as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(fault_of("read what was there", error)),
            }
        }
        Ok(())
    }

    /// Goes on at `offset`: behind what is held, or at 0.
    pub(crate) fn start_at(&mut self, offset: u64) -> Result<(), FileFault> {
        if offset == self.len {
            return Ok(());
        }
        self.hasher = Sha256::new();
        self.len = 0;
        self.begun = 0;
        ftruncate(&self.fd, 0).map_err(|error| fault_of("write", error))
    }

    /// Appends a piece. When the disk is full, nothing stays.
    pub(crate) fn write(&mut self, piece: &[u8]) -> Result<(), FileFault> {
        self.hasher.update(piece);
        let mut rest = piece;
        while !rest.is_empty() {
            match pwrite(&self.fd, rest, self.len) {
                Ok(0) => return Err(self.spoilt(Errno::NOSPC)),
                Ok(written) => {
                    self.len += written as u64;
                    rest = &rest[written..];
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(self.spoilt(error)),
            }
        }
        if self.len - self.begun >= WRITE_BEHIND {
            begin_writing(&self.fd, self.begun, self.len - self.begun);
            self.begun = self.len;
        }
        Ok(())
    }

    fn spoilt(&mut self, error: Errno) -> FileFault {
        let fault = fault_of("write", error);
        if matches!(fault, FileFault::NoSpace { .. }) {
            self.fate = Fate::Goes;
        }
        fault
    }

    /// Lets it go with this copy: what is in it is not to be believed.
    pub(crate) fn spoil(&mut self) {
        self.fate = Fate::Goes;
    }

    /// Compares the content with its sender's sum, and gives it its final name.
    pub(crate) fn finish(mut self, finish: Finish) -> Result<Finished, FileFault> {
        let sum = self.held();
        if sum != finish.sum {
            self.fate = Fate::Goes;
            return Err(FileFault::Damaged);
        }
        give(&self.fd, finish.mode, finish.modified)?;
        fault::point("file-before-sync");
        fdatasync(&self.fd).map_err(|error| self.spoilt(error))?;
        fault::point("file-after-sync");
        let replaced = self.folder.hold(&self.name);
        if let Err(fault) = self.folder.rename(&self.hidden, &self.name) {
            self.fate = Fate::Goes;
            return Err(fault);
        }
        self.fate = Fate::Renamed;
        fault::point("file-after-rename");
        self.folder.sync()?;
        fault::point("file-after-folder-sync");
        Ok(Finished { sum, replaced })
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // What is empty helps nobody to go on.
        let goes = self.fate == Fate::Goes || (self.fate == Fate::Stays && self.len == 0);
        if goes && let Err(fault) = self.folder.remove(&self.hidden) {
            tracing::warn!(%fault, "the hidden part of a file stays behind");
        }
    }
}

/// What came of the wish for a hidden file.
enum Claim {
    /// It is open and locked, and so long.
    Ours(OwnedFd, u64),
    /// Its name led elsewhere in the meantime.
    Moved,
    /// Somebody else made it, or is writing to it.
    Foreign,
}

fn claim(folder: &Folder, hidden: &[u8]) -> Result<Claim, FileFault> {
    let fd = match make(folder, hidden, OFlags::empty()) {
        Ok(fd) => fd,
        Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO) => return Ok(Claim::Foreign),
        // Another user's, or one that was finished but for its name.
        Err(Errno::ACCESS) if folder.stat_bytes(hidden).is_ok() => return Ok(Claim::Foreign),
        Err(error) => return Err(fault_of("make", error)),
    };
    let stat = stat_open(&fd)?;
    if !is_ours(&stat) {
        return Ok(Claim::Foreign);
    }
    match flock(&fd, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(Claim::Foreign),
        Err(error) => return Err(fault_of("lock", error)),
    }
    let named = match folder.stat_bytes(hidden) {
        Ok(named) => named,
        Err(FileFault::NotFound) => return Ok(Claim::Moved),
        Err(fault) => return Err(fault),
    };
    if (named.st_dev, named.st_ino) != (stat.st_dev, stat.st_ino) {
        return Ok(Claim::Moved);
    }
    fchmod(&fd, OWNERS).map_err(|error| fault_of("set the mode", error))?;
    let len = stat_open(&fd)?.st_size;
    Ok(Claim::Ours(fd, u64::try_from(len).unwrap_or(0)))
}

fn make(folder: &Folder, hidden: &[u8], exclusively: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let harmless = OFlags::NONBLOCK | OFlags::NOCTTY;
    openat(folder.fd(), hidden, flags | harmless | exclusively, OWNERS)
}

/// A file of ours that has this name only. In a folder that others may write to, anything else was
/// put there to be written through.
fn is_ours(stat: &Stat) -> bool {
    super::folder::kind(stat) == proto::file::FileKind::File
        && stat.st_uid == geteuid().as_raw()
        && stat.st_nlink == 1
}

fn hidden_name(name: &FileName, id: &str) -> Vec<u8> {
    let shown = &name.as_bytes()[..name.as_bytes().len().min(SHOWN_OF_NAME)];
    [b".", shown, b".mesosync-", id.as_bytes(), b".part"].concat()
}

/// Tells the disk to begin writing; waits for nothing but room in its queue.
///
/// A wish only: whether it was written is what `fdatasync` says.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "sync_file_range is only reachable through libc")]
fn begin_writing(fd: &OwnedFd, from: u64, len: u64) {
    let (Ok(from), Ok(len)) = (from.try_into(), len.try_into()) else {
        return;
    };
    let fd = std::os::fd::AsRawFd::as_raw_fd(fd);
    // SAFETY: the descriptor is open, and no memory is handed over.
    unsafe {
        libc::sync_file_range(fd, from, len, libc::SYNC_FILE_RANGE_WRITE);
    }
}

#[cfg(not(target_os = "linux"))]
const fn begin_writing(_: &OwnedFd, _: u64, _: u64) {}
