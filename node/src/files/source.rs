//! A regular file that is read from its first byte to its last.
//!
//! Nothing here waits for ever: a named pipe, a device or a socket is refused, and opened so that
//! even one that takes the file's place in between does not block.

use std::{
    ffi::OsStr,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::Path,
};

use bytes::Bytes;
use proto::file::{Attributes, FileFault, FileKind, Place, Sum};
use rustix::{
    buffer::spare_capacity,
    fs::{CWD, Mode, OFlags, SeekFrom, Stat, openat, seek},
    io::{Errno, read},
};
use sha2::{Digest as _, Sha256};

use super::folder::{Folder, attributes, fault, look, stat_open};

/// How much is read at once.
pub(super) const PIECE: usize = 256 << 10;

/// An open file, how it was when it was opened, and what was read of it.
#[derive(Debug)]
pub(crate) struct Source {
    fd: OwnedFd,
    opened: Stat,
    hasher: Sha256,
    read: u64,
}

impl Source {
    /// Opens the regular file at `place`.
    pub(crate) fn open(start: &Path, place: &Place) -> Result<Self, FileFault> {
        is_file(look(start, place)?.kind)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = if place.below().is_empty() {
            let path = start.join(OsStr::from_bytes(place.root.as_bytes()));
            openat(CWD, &path, flags, Mode::empty())
        } else {
            let (folder, name) = Folder::holding(start, place)?;
            openat(
                folder.fd(),
                name.as_bytes(),
                flags | OFlags::NOFOLLOW,
                Mode::empty(),
            )
        };
        let fd = opened.map_err(|error| match error {
            Errno::LOOP => FileFault::NotAFile(FileKind::Link),
            error => fault("open", error),
        })?;
        let opened = stat_open(&fd)?;
        is_file(attributes(&opened).kind)?;
        Ok(Self {
            fd,
            opened,
            hasher: Sha256::new(),
            read: 0,
        })
    }

    /// Returns what the file was like when it was opened.
    pub(crate) fn attributes(&self) -> Attributes {
        attributes(&self.opened)
    }

    /// Goes to the end of what the receiver `held`, if the file begins with that, and returns where
    /// the reading starts.
    pub(crate) fn skip(&mut self, held: Sum) -> Result<u64, FileFault> {
        if held.bytes == 0 || held.bytes > self.attributes().size {
            return Ok(0);
        }
        let mut buffer = vec![0; PIECE];
        while self.read < held.bytes {
            let left = usize::try_from(held.bytes - self.read).unwrap_or(PIECE);
            let room = left.min(PIECE);
            match self.fill(&mut buffer[..room])? {
                0 => break,
                len => self.hasher.update(&buffer[..len]),
            }
        }
        let is_same = self.sum() == held;
        if !is_same {
            seek(&self.fd, SeekFrom::Start(0)).map_err(|error| fault("read", error))?;
            self.hasher = Sha256::new();
            self.read = 0;
        }
        Ok(self.read)
    }

    /// Reads the next piece; `None` at the end of the file.
    ///
    /// # Errors
    /// It cannot be read, or has changed since it was opened.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, FileFault> {
        let mut piece = Vec::with_capacity(PIECE);
        while piece.len() < PIECE {
            match read(&self.fd, spare_capacity(&mut piece)) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(fault("read", error)),
            }
        }
        self.read += piece.len() as u64;
        if piece.is_empty() {
            self.check_unchanged()?;
            return Ok(None);
        }
        self.hasher.update(&piece);
        Ok(Some(piece.into()))
    }

    /// Returns the sum of what was read.
    pub(crate) fn sum(&self) -> Sum {
        Sum {
            bytes: self.read,
            sha256: self.hasher.clone().finalize().into(),
        }
    }

    /// Reads until `buffer` is full or the file ends.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, FileFault> {
        let mut len = 0;
        while len < buffer.len() {
            match read(&self.fd, &mut buffer[len..]) {
                Ok(0) => break,
                Ok(more) => len += more,
                Err(Errno::INTR) => {}
                Err(error) => return Err(fault("read", error)),
            }
        }
        self.read += len as u64;
        Ok(len)
    }

    /// Files of the kernel have no length, and are what they are when they are read.
    fn check_unchanged(&self) -> Result<(), FileFault> {
        let seen = |stat: &Stat| {
            let changed = (stat.st_ctime, stat.st_ctime_nsec);
            (stat.st_size, stat.st_mtime, stat.st_mtime_nsec, changed)
        };
        let size = self.attributes().size;
        let is_whole = size == self.read || size == 0;
        if is_whole && seen(&stat_open(&self.fd)?) == seen(&self.opened) {
            return Ok(());
        }
        Err(FileFault::Changed)
    }
}

fn is_file(kind: FileKind) -> Result<(), FileFault> {
    match kind {
        FileKind::File => Ok(()),
        FileKind::Folder => Err(FileFault::IsAFolder),
        FileKind::Link | FileKind::Fifo | FileKind::Socket | FileKind::Device | FileKind::Other => {
            Err(FileFault::NotAFile(kind))
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::mkfifoat;

    use super::*;

    fn place(path: &Path) -> Place {
        let bytes = path.as_os_str().as_bytes().to_vec();
        Place::at(bytes.try_into().unwrap())
    }

    fn open(path: &Path) -> Result<Source, FileFault> {
        Source::open(Path::new("/"), &place(path))
    }

    fn rest(source: &mut Source) -> Vec<u8> {
        std::iter::from_fn(|| source.next().unwrap())
            .flatten()
            .collect()
    }

    #[test]
    fn a_file_is_read_whole_with_its_sum() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let content: Vec<u8> = (0..PIECE * 2 + 7).map(|at| (at % 251) as u8).collect();
        fs_err::write(&path, &content).unwrap();

        let mut source = open(&path).unwrap();

        assert_eq!(rest(&mut source), content);
        let sha256: [u8; 32] = Sha256::digest(&content).into();
        assert_eq!(source.sum().sha256, sha256);
    }

    #[test]
    fn reading_goes_on_behind_what_is_held_only_if_it_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs_err::write(&path, b"abcdef").unwrap();
        let held = |bytes: &[u8]| Sum {
            bytes: bytes.len() as u64,
            sha256: Sha256::digest(bytes).into(),
        };

        for (prefix, offset, left) in [
            (&b"abc"[..], 3, &b"def"[..]),
            (b"abX", 0, b"abcdef"),
            (b"abcdef", 6, b""),
            (b"abcdefg", 0, b"abcdef"),
        ] {
            let mut source = open(&path).unwrap();
            assert_eq!(source.skip(held(prefix)), Ok(offset));
            assert_eq!(rest(&mut source), left);
            assert_eq!(source.sum(), held(b"abcdef"));
        }
    }

    #[test]
    fn what_has_no_end_is_refused_and_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();

        let refused = |path: &Path| open(path).map(|_| ()).unwrap_err();

        assert_eq!(refused(&fifo), FileFault::NotAFile(FileKind::Fifo));
        assert_eq!(
            refused(Path::new("/dev/zero")),
            FileFault::NotAFile(FileKind::Device)
        );
        assert_eq!(refused(folder.path()), FileFault::IsAFolder);
        assert_eq!(refused(&folder.path().join("no")), FileFault::NotFound);
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs_err::write(&path, b"abcdef").unwrap();
        let mut source = open(&path).unwrap();
        let _first = source.next().unwrap();

        fs_err::write(&path, b"abcdefghi").unwrap();
        let mut next = source.next();
        while let Ok(Some(_)) = next {
            next = source.next();
        }

        assert_eq!(next, Err(FileFault::Changed));
    }

    #[test]
    fn a_file_of_the_kernel_is_read_though_it_has_no_length() {
        let mut source = open(Path::new("/proc/self/status")).unwrap();

        assert!(rest(&mut source).starts_with(b"Name:"));
    }
}
