//! The file of the ledger: reading it at the start, appending to it, and syncing it.
//!
//! Owns durability and nothing of the meaning. A record is written at once by whoever has it, which
//! costs microseconds. A sync may take milliseconds: it is done by the thread that is to start the
//! process, and all that wait at once share one. The file grows by blocks of zeros, so that most
//! syncs write data and no metadata.
//!
//! Why each acceptance is synced by itself, and not ten seconds' worth in advance with a mark that
//! closes the past after a power cut: the mark would stop a *replayed* request, but not an honest
//! *retry*, which bears the same id and a fresh time of issue.
//!
//! **Invariant:** when [`Ticket::sync`] succeeds, the record survives a power cut. After a sync that
//! failed, nothing is ever said to be written again.

use std::{
    fs::TryLockError,
    io::{self, Read as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use fs_err::{File, OpenOptions};

use super::record::{LEN, Place, Record};

/// Records at the end of the file that a power cut can damage: the ends of all runs that may be in
/// progress, and the acceptances that wait for one sync.
const MAX_UNSYNCED: usize = 4096;

/// Records in a block of zeros by which the file grows: 48 KiB.
const BLOCK: usize = 256;

/// The longest file that is read: a million records. Rewriting keeps it far below.
const MAX_FILE: u64 = 1 << 28;

/// Why there is no ledger, and so no agent.
#[derive(Debug, thiserror::Error)]
pub enum OpenLedgerError {
    /// The files cannot be read or written.
    #[error("use the record of runs")]
    Io {
        /// The reason, with the path.
        #[source]
        source: io::Error,
    },
    /// Another agent has it.
    #[error(
        "{path} is locked: another agent runs with this home; stop it, or give this one a --home of its own"
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// It is damaged where no power cut explains it.
    #[error(
        "{path} is damaged at byte {offset}, so it cannot tell what was run before; if nobody can still repeat a request of the last ten minutes, move the file away and start again"
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where.
        offset: u64,
    },
}

/// What opening finds. Nothing is written before [`Opened::start`].
pub(super) struct Opened {
    pub(super) records: Vec<Record>,
    /// Whether the end of the file was half written.
    pub(super) torn: bool,
    log: Log,
}

impl Opened {
    /// Makes the log ready. Where the file is torn, or much of it is past, `records` take its place
    /// first.
    pub(super) fn start(mut self, records: &[Record]) -> Result<Log, OpenLedgerError> {
        if self.torn || self.log.records > records.len() + BLOCK {
            let rewritten = self.log.rewrite(records);
            rewritten.map_err(|source| OpenLedgerError::Io { source })?;
        }
        Ok(self.log)
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct Log {
    file: Arc<File>,
    path: PathBuf,
    records: usize,
    /// Where the next record goes.
    end: u64,
    /// Up to where the file is known to hold zeros.
    allocated: u64,
    syncs: Arc<Syncs>,
    /// Held as long as anything can be written.
    _lock: File,
}

/// How far the file is written, and how far it is synced: counted in records since the start.
#[derive(Debug, Default)]
struct Syncs {
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Progress {
    written: u64,
    synced: u64,
    /// Somebody is at it.
    syncing: bool,
    /// A sync failed: what is on disk is not known any more.
    broken: bool,
}

impl Syncs {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        // A panic elsewhere leaves the counts right: each change is one step.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A record that is written and not yet known to be synced.
#[derive(Debug)]
pub(super) struct Ticket {
    number: u64,
    file: Arc<File>,
    syncs: Arc<Syncs>,
}

impl Ticket {
    /// Waits until the record survives a power cut. One of those who wait does it for all.
    ///
    /// Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// It cannot be known that it does.
    pub(super) fn sync(&self) -> io::Result<()> {
        let mut progress = self.syncs.lock();
        loop {
            if progress.broken {
                return Err(broken());
            }
            if progress.synced >= self.number {
                return Ok(());
            }
            if progress.syncing {
                let woken = self.syncs.changed.wait(progress);
                progress = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            progress.syncing = true;
            let written = progress.written;
            drop(progress);
            crate::fault::point("ledger-before-sync");
            let synced = self.file.sync_data();
            crate::fault::point("ledger-after-sync");
            progress = self.syncs.lock();
            progress.syncing = false;
            match synced {
                Ok(()) => progress.synced = progress.synced.max(written),
                Err(_) => progress.broken = true,
            }
            self.syncs.changed.notify_all();
        }
    }
}

fn broken() -> io::Error {
    io::Error::other("an earlier write of the record failed; restart the agent")
}

impl Log {
    pub(super) fn open(home: &Path) -> Result<Opened, OpenLedgerError> {
        let io = |source| OpenLedgerError::Io { source };
        let lock = lock(home)?;
        let path = home.join("ledger");
        let file = open(&path).map_err(io)?;
        let scan = Scan::read(&file, &path)?;
        let end = (scan.places * LEN) as u64;
        let log = Self {
            file: Arc::new(file),
            path,
            records: scan.records.len(),
            end,
            allocated: end,
            syncs: Arc::default(),
            _lock: lock,
        };
        Ok(Opened {
            records: scan.records,
            torn: scan.torn,
            log,
        })
    }

    /// Returns how many records the file holds.
    pub(super) const fn records(&self) -> usize {
        self.records
    }

    /// Writes a record, which then survives the end of this process, and returns what syncs it.
    ///
    /// # Errors
    /// It is not written, and nothing of it counts.
    pub(super) fn append(&mut self, record: &Record) -> io::Result<Ticket> {
        self.check()?;
        self.allocate()?;
        crate::fault::point("ledger-before-append");
        self.file.file().write_all_at(&record.write(), self.end)?;
        crate::fault::point("ledger-after-append");
        self.end += LEN as u64;
        self.records += 1;
        let mut progress = self.syncs.lock();
        progress.written += 1;
        Ok(Ticket {
            number: progress.written,
            file: Arc::clone(&self.file),
            syncs: Arc::clone(&self.syncs),
        })
    }

    #[cfg(test)]
    pub(super) fn is_unsynced(&self) -> bool {
        let progress = self.syncs.lock();
        progress.synced < progress.written
    }

    /// Returns what syncs all that is written.
    pub(super) fn all(&self) -> Ticket {
        Ticket {
            number: self.syncs.lock().written,
            file: Arc::clone(&self.file),
            syncs: Arc::clone(&self.syncs),
        }
    }

    /// Makes room for one more record. A full disk shows here, before anything of the record is
    /// written.
    fn allocate(&mut self) -> io::Result<()> {
        if self.end + LEN as u64 > self.allocated {
            let zeros = [0; BLOCK * LEN];
            self.file.file().write_all_at(&zeros, self.allocated)?;
            self.allocated += zeros.len() as u64;
        }
        Ok(())
    }

    /// Puts `records` in the place of the whole file: writes beside, syncs, and renames, so that
    /// either file is whole at any moment. Takes as long as the disk takes for all of it.
    pub(super) fn rewrite(&mut self, records: &[Record]) -> io::Result<()> {
        self.check()?;
        let beside = self.path.with_extension("new");
        let file = open(&beside)?;
        file.set_len(0)?;
        let mut bytes: Vec<u8> = records.iter().flat_map(Record::write).collect();
        let end = bytes.len() as u64;
        bytes.resize(bytes.len() + BLOCK * LEN, 0);
        file.file().write_all_at(&bytes, 0)?;
        file.sync_all()?;
        crate::fault::point("ledger-before-rename");
        fs_err::rename(&beside, &self.path)?;
        crate::fault::point("ledger-after-rename");
        let folder = self.path.parent().unwrap_or(Path::new("."));
        if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
            self.syncs.lock().broken = true;
            return Err(error);
        }
        self.file = Arc::new(file);
        // What was written to the former file waits for that one; all of it is in the new one, too.
        self.syncs = Arc::default();
        self.records = records.len();
        self.end = end;
        self.allocated = bytes.len() as u64;
        Ok(())
    }

    fn check(&self) -> io::Result<()> {
        match self.syncs.lock().broken {
            true => Err(broken()),
            false => Ok(()),
        }
    }
}

fn lock(home: &Path) -> Result<File, OpenLedgerError> {
    let path = home.join("lock");
    let file = open(&path).map_err(|source| OpenLedgerError::Io { source })?;
    match file.file().try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenLedgerError::Locked { path }),
        Err(TryLockError::Error(source)) => Err(OpenLedgerError::Io { source }),
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.options_mut().mode(0o600);
    options.open(path)
}

/// What the file holds.
struct Scan {
    records: Vec<Record>,
    /// Places up to the last one that is used.
    places: usize,
    torn: bool,
}

impl Scan {
    fn read(file: &File, path: &Path) -> Result<Self, OpenLedgerError> {
        let mut bytes = Vec::new();
        let read = file.file().take(MAX_FILE + 1).read_to_end(&mut bytes);
        let read = read.map_err(|source| OpenLedgerError::Io { source })?;
        if read as u64 > MAX_FILE {
            let source = io::Error::other(format!("{} is too long to be ours", path.display()));
            return Err(OpenLedgerError::Io { source });
        }
        let mut records = Vec::new();
        // Of all places: the last that is a record, the first that is not, the last with anything.
        let (mut last, mut gap, mut used) = (0, None, 0);
        for (at, place) in bytes.chunks(LEN).enumerate() {
            let mut whole = [0; LEN];
            whole[..place.len()].copy_from_slice(place);
            match Place::read(&whole) {
                Place::Record(record) => {
                    records.push(record);
                    (last, used) = (at + 1, at + 1);
                }
                Place::Unused => gap = gap.or(Some(at)),
                Place::Damaged => (gap, used) = (gap.or(Some(at)), at + 1),
            }
        }
        let torn = gap.is_some_and(|gap| gap < used);
        match gap {
            Some(gap) if torn && last > gap + MAX_UNSYNCED => Err(OpenLedgerError::Damaged {
                path: path.to_owned(),
                offset: (gap * LEN) as u64,
            }),
            Some(_) | None => Ok(Self {
                records,
                places: used,
                torn,
            }),
        }
    }
}
