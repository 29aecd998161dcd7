//! The file of the ledger: reading it at the start, and one thread that writes it.
//!
//! Owns durability and nothing of the meaning. Records that arrive together share one sync; the file
//! grows by blocks of zeros that are synced beforehand, so that a sync writes data and no metadata.
//!
//! **Invariant:** when [`Written`] resolves well for [`Durability::Synced`], the record survives a
//! power cut. After a write or sync that failed, nothing is ever said to be written again.

use std::{
    fs::TryLockError,
    io::{self, Read as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    pin::Pin,
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    task::{Context, Poll},
    thread,
};

use fs_err::{File, OpenOptions};
use tokio::sync::oneshot;

use super::record::{LEN, Place, Record};

/// Records between two syncs at most, so that a power cut can damage only so many at the end.
const MAX_UNSYNCED: usize = 256;

/// Records waiting for the writer. More runs than may be in progress cannot wait.
const QUEUE: usize = 4096;

/// Records in a block of zeros by which the file grows: 192 KiB.
const BLOCK: usize = 1024;

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
    count: usize,
    writer: Writer,
}

impl Opened {
    /// Starts the writer. Where the file is torn, or much of it is past, `records` take its place
    /// first.
    pub(super) fn start(mut self, records: &[Record]) -> Result<Log, OpenLedgerError> {
        let io = |source| OpenLedgerError::Io { source };
        if self.torn || self.count > records.len() + BLOCK {
            self.writer.rewrite(records).map_err(io)?;
            self.count = records.len();
        }
        let (queue, jobs) = sync_channel(QUEUE);
        let thread = thread::Builder::new().name("ledger".into());
        let writer = self.writer;
        thread.spawn(move || writer.run(&jobs)).map_err(io)?;
        Ok(Log {
            queue,
            records: self.count,
        })
    }
}

/// The way to the writer.
#[derive(Debug)]
pub(super) struct Log {
    queue: SyncSender<Job>,
    records: usize,
}

/// What must be true when a write is reported as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// It survives a power cut.
    Synced,
    /// It survives the end of this process.
    Written,
}

#[derive(Debug)]
struct Job {
    work: Work,
    done: oneshot::Sender<io::Result<()>>,
}

#[derive(Debug)]
enum Work {
    Append {
        bytes: Box<[u8; LEN]>,
        durability: Durability,
    },
    Rewrite {
        records: Vec<Record>,
    },
}

/// Resolves when a record is where it should be.
#[derive(Debug)]
pub(super) struct Written(oneshot::Receiver<io::Result<()>>);

impl Future for Written {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|done| done.unwrap_or_else(|_| Err(gone())))
    }
}

fn gone() -> io::Error {
    io::Error::other("the ledger's writer has ended; restart the agent")
}

impl Log {
    pub(super) fn open(home: &Path) -> Result<Opened, OpenLedgerError> {
        let io = |source| OpenLedgerError::Io { source };
        let lock = lock(home)?;
        let path = home.join("ledger");
        let file = open(&path).map_err(io)?;
        let scan = Scan::read(&file, &path)?;
        let end = (scan.places * LEN) as u64;
        let writer = Writer {
            file,
            path,
            end,
            allocated: end,
            unsynced: 0,
            broken: false,
            _lock: lock,
        };
        Ok(Opened {
            count: scan.records.len(),
            records: scan.records,
            torn: scan.torn,
            writer,
        })
    }

    /// Returns how many records the file holds.
    pub(super) const fn records(&self) -> usize {
        self.records
    }

    /// Queues a record.
    pub(super) fn append(
        &mut self,
        record: &Record,
        durability: Durability,
    ) -> io::Result<Written> {
        let bytes = Box::new(record.write());
        let written = self.send(Work::Append { bytes, durability })?;
        self.records += 1;
        Ok(written)
    }

    /// Queues putting `records` in the place of the whole file.
    pub(super) fn rewrite(&mut self, records: Vec<Record>) -> io::Result<Written> {
        self.records = records.len();
        self.send(Work::Rewrite { records })
    }

    fn send(&self, work: Work) -> io::Result<Written> {
        let (done, written) = oneshot::channel();
        match self.queue.try_send(Job { work, done }) {
            Ok(()) => Ok(Written(written)),
            Err(TrySendError::Full(_)) => Err(io::Error::other("the ledger is overloaded")),
            Err(TrySendError::Disconnected(_)) => Err(gone()),
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
        let read = file.file().take(MAX_FILE).read_to_end(&mut bytes);
        read.map_err(|source| OpenLedgerError::Io { source })?;
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

/// The one that writes.
struct Writer {
    file: File,
    path: PathBuf,
    /// Where the next record goes.
    end: u64,
    /// Up to where the file is known to be zeros on disk.
    allocated: u64,
    /// Records since the last sync.
    unsynced: usize,
    /// A write failed: what is on disk is not known any more.
    broken: bool,
    /// Held as long as anything can be written.
    _lock: File,
}

impl Writer {
    /// Works until nobody can ask any more.
    fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut batch = vec![first];
            while batch.len() < MAX_UNSYNCED
                && let Ok(next) = jobs.try_recv()
            {
                batch.push(next);
            }
            self.work(batch);
        }
    }

    /// Appends what comes between two rewrites together.
    fn work(&mut self, batch: Vec<Job>) {
        let mut waiting = Vec::new();
        let mut bytes = Vec::new();
        let mut wanted = Durability::Written;
        for Job { work, done } in batch {
            match work {
                Work::Append {
                    bytes: record,
                    durability,
                } => {
                    bytes.extend_from_slice(record.as_slice());
                    waiting.push(done);
                    if durability == Durability::Synced {
                        wanted = durability;
                    }
                }
                Work::Rewrite { records } => {
                    let written = self.append(&bytes, wanted);
                    answer(waiting.drain(..), &written);
                    bytes.clear();
                    answer(std::iter::once(done), &self.rewrite(&records));
                }
            }
        }
        if !waiting.is_empty() {
            let written = self.append(&bytes, wanted);
            answer(waiting.into_iter(), &written);
        }
    }

    fn append(&mut self, bytes: &[u8], wanted: Durability) -> io::Result<()> {
        self.check()?;
        self.allocate(bytes.len() as u64)?;
        self.unsynced += bytes.len() / LEN;
        let sync = wanted == Durability::Synced || self.unsynced >= MAX_UNSYNCED;
        let written = self.file.file().write_all_at(bytes, self.end);
        let written = written.and_then(|()| if sync { self.file.sync_data() } else { Ok(()) });
        if written.is_err() {
            self.broken = true;
        } else if sync {
            self.unsynced = 0;
        }
        self.end += bytes.len() as u64;
        written
    }

    /// Makes room for `len` more bytes. A full disk shows here, before anything of a record is
    /// written, and is no lasting fault.
    fn allocate(&mut self, len: u64) -> io::Result<()> {
        while self.end + len > self.allocated {
            let zeros = vec![0; BLOCK * LEN];
            self.file.file().write_all_at(&zeros, self.allocated)?;
            self.file.sync_all()?;
            self.allocated += zeros.len() as u64;
        }
        Ok(())
    }

    /// Writes beside, syncs, and renames: either file is whole at any moment.
    fn rewrite(&mut self, records: &[Record]) -> io::Result<()> {
        self.check()?;
        let beside = self.path.with_extension("new");
        let file = open(&beside)?;
        file.set_len(0)?;
        let mut bytes: Vec<u8> = records.iter().flat_map(Record::write).collect();
        let end = bytes.len() as u64;
        bytes.resize(bytes.len() + BLOCK * LEN, 0);
        file.file().write_all_at(&bytes, 0)?;
        file.sync_all()?;
        fs_err::rename(&beside, &self.path)?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
            self.broken = true;
            return Err(error);
        }
        self.file = file;
        self.end = end;
        self.allocated = bytes.len() as u64;
        self.unsynced = 0;
        Ok(())
    }

    fn check(&self) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other(
                "an earlier write failed; restart the agent",
            ));
        }
        Ok(())
    }
}

fn answer(
    waiting: impl Iterator<Item = oneshot::Sender<io::Result<()>>>,
    written: &io::Result<()>,
) {
    for done in waiting {
        let written = match written {
            Ok(()) => Ok(()),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        // Whoever asked may have been cancelled; the record stands all the same.
        let _ = done.send(written);
    }
}
