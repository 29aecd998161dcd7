//! The folder with the output of all runs of an agent: names, a bound, and what a restart finds.
//!
//! A segment is the file `RUN.SEQUENCE`. Nothing here is synced to the disk: `kill -9` loses what was
//! not written yet, a power cut may lose more, and both are seen, since the ledger keeps how much
//! there was.

use std::{
    collections::{HashMap, VecDeque},
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use proto::id::RunId;

use super::{Counts, segment::Segment};

/// How much output of ended runs is kept in all: beyond it the oldest goes.
const KEEP_IN_ALL: u64 = 1 << 30;

/// What a run's output counts at least: its file, and the memory that remembers it.
const LEAST: u64 = 16 << 10;

/// Where output is kept.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    kept: Mutex<Kept>,
}

/// What is kept of ended runs.
#[derive(Debug, Default)]
struct Kept {
    runs: HashMap<RunId, KeptRun>,
    /// The oldest first.
    order: VecDeque<RunId>,
    bytes: u64,
}

#[derive(Debug)]
struct KeptRun {
    sequences: Range<u64>,
    bytes: u64,
}

/// The folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("keep output in {path}")]
pub struct OpenFolderError {
    /// Which folder.
    pub path: PathBuf,
    /// The operating system's reason.
    #[source]
    pub source: io::Error,
}

impl Folder {
    /// Opens the folder in `home`, and removes the output of runs of which `is_known` knows nothing.
    ///
    /// # Errors
    /// It cannot be made or read.
    pub(crate) fn open(
        home: &Path,
        is_known: impl Fn(RunId) -> bool,
    ) -> Result<Self, OpenFolderError> {
        let path = home.join("output");
        let failed = |source| OpenFolderError {
            path: path.clone(),
            source,
        };
        make_private(&path).map_err(failed)?;
        let mut found = HashMap::<RunId, (Option<SystemTime>, KeptRun)>::new();
        for entry in fs_err::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Some((run, sequence)) = entry.file_name().to_str().and_then(parse) else {
                continue; // not ours to judge
            };
            let metadata = entry.metadata().ok().filter(|_| is_known(run));
            let Some(metadata) = metadata else {
                remove(&entry.path());
                continue;
            };
            let (written, kept) = found
                .entry(run)
                .or_insert((None, KeptRun::nothing(sequence)));
            *written = (*written).max(metadata.modified().ok());
            kept.add(sequence, metadata.len());
        }
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_by_key(|(run, (written, _))| (*written, *run));
        let folder = Self {
            path,
            kept: Mutex::default(),
        };
        for (run, (_, kept)) in found {
            folder.account(run, kept.sequences, kept.bytes);
        }
        Ok(folder)
    }

    /// Returns where a segment is.
    pub(super) fn path(&self, run: RunId, sequence: u64) -> PathBuf {
        self.path.join(format!("{run}.{sequence}"))
    }

    pub(super) fn write(&self, run: RunId, segment: &Segment) -> io::Result<()> {
        let path = self.path(run, segment.sequence);
        crate::fault::point("output-before-write");
        let written = segment.write(&path);
        if written.is_err() {
            remove(&path);
        }
        crate::fault::point("output-after-write");
        written
    }

    pub(super) fn remove(&self, run: RunId, sequence: u64) {
        remove(&self.path(run, sequence));
    }

    /// Counts the output of an ended run, and drops the oldest beyond the bound.
    pub(super) fn account(&self, run: RunId, sequences: Range<u64>, bytes: u64) {
        let mut too_old = Vec::new();
        {
            let mut kept = self.lock();
            if !sequences.is_empty() {
                let bytes = bytes.max(LEAST);
                kept.bytes += bytes;
                kept.order.push_back(run);
                kept.runs.insert(run, KeptRun { sequences, bytes });
            }
            while kept.bytes > KEEP_IN_ALL {
                let Some(oldest) = kept.order.pop_front() else {
                    break;
                };
                if let Some(gone) = kept.runs.remove(&oldest) {
                    kept.bytes -= gone.bytes;
                    too_old.push((oldest, gone.sequences));
                }
            }
        }
        for (run, sequences) in too_old {
            for sequence in sequences {
                self.remove(run, sequence);
            }
        }
    }

    /// Returns the segments of a run that follow each other without a gap, the last of which is the
    /// newest.
    pub(super) fn segments(&self, run: RunId) -> VecDeque<Segment> {
        let kept = self
            .lock()
            .runs
            .get(&run)
            .map(|kept| kept.sequences.clone());
        let sequences = kept.unwrap_or_default();
        let mut segments = VecDeque::<Segment>::new();
        for sequence in sequences {
            let read = Segment::read(sequence, &self.path(run, sequence));
            let Ok(Some(mut segment)) = read else {
                segments.clear();
                continue;
            };
            match segments.back() {
                Some(last) if last.sequence + 1 == sequence && last.end == segment.from => {
                    segment.at = last.at + last.len;
                }
                Some(_) => segments.clear(),
                None => {}
            }
            segment.moved_to_file();
            segments.push_back(segment);
        }
        segments
    }

    /// Returns how much output a run had that is kept.
    pub(crate) fn end(&self, run: RunId) -> Counts {
        let segments = self.segments(run);
        segments.back().map(|last| last.end).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Each change leaves it whole, whatever panics elsewhere.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeptRun {
    const fn nothing(at: u64) -> Self {
        Self {
            sequences: at..at,
            bytes: 0,
        }
    }

    fn add(&mut self, sequence: u64, bytes: u64) {
        self.sequences.start = self.sequences.start.min(sequence);
        self.sequences.end = self.sequences.end.max(sequence.saturating_add(1));
        self.bytes += bytes;
    }
}

fn parse(name: &str) -> Option<(RunId, u64)> {
    let (run, sequence) = name.split_once('.')?;
    Some((run.parse().ok()?, sequence.parse().ok()?))
}

fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(path)
}

fn remove(path: &Path) {
    if let Err(error) = fs_err::remove_file(path) {
        tracing::debug!(%error, "kept output could not be removed");
    }
}
