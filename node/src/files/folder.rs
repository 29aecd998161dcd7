//! Folders as descriptors, so that a name means the same folder from the first look to the last.
//!
//! The operator's part of a [`Place`] is resolved as on any command line; every name below it is
//! opened relative to the descriptor of its folder, and a symbolic link there is refused: whoever
//! swaps a folder for a link in the middle of a copy gains nothing.

use std::{
    ffi::OsStr,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::Path,
};

use proto::{
    capability::OsFamily,
    file::{Attributes, FileFault, FileKind, FileName, FilePath, FileTime, NameFault, Place},
    text::Text,
};
use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, Stat, Timespec, Timestamps, fchmod, fstat, fsync,
        futimens, mkdirat, openat, readlinkat, renameat, statat, symlinkat, unlinkat,
    },
    io::Errno,
};

/// The bits of a mode that travel.
const PERMISSIONS: u16 = 0o777;

/// What the owner needs to fill a folder.
const OWN: u16 = 0o700;

/// An open folder.
#[derive(Debug)]
pub(crate) struct Folder(OwnedFd);

impl Folder {
    /// Opens the folder that `root` names, seen from `start`.
    pub(crate) fn open(start: &Path, root: &FilePath) -> Result<Self, FileFault> {
        let path = start.join(OsStr::from_bytes(root.as_bytes()));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = openat(CWD, &path, flags, Mode::empty());
        opened.map(Self).map_err(|error| fault("open", error))
    }

    /// Opens the folder that `place` is.
    pub(crate) fn of(start: &Path, place: &Place) -> Result<Self, FileFault> {
        let root = Self::open(start, &place.root)?;
        root.enter_all(place.below())
    }

    /// Opens the folder that `place` lies in, and returns the name in it.
    pub(crate) fn holding<'a>(
        start: &Path,
        place: &'a Place,
    ) -> Result<(Self, &'a FileName), FileFault> {
        let Some((name, folders)) = place.below().split_last() else {
            return Err(FileFault::Name(NameFault::NoName));
        };
        let root = Self::open(start, &place.root).and_then(|root| root.enter_all(folders));
        let folder = root.map_err(|fault| {
            if fault == FileFault::NotFound {
                return FileFault::NoFolder;
            }
            fault
        })?;
        name.check_for(OsFamily::HERE).map_err(FileFault::Name)?;
        Ok((folder, name))
    }

    fn enter_all(self, names: &[FileName]) -> Result<Self, FileFault> {
        names
            .iter()
            .try_fold(self, |folder, name| folder.enter(name))
    }

    /// Opens a folder in this one, which is no symbolic link.
    pub(crate) fn enter(&self, name: &FileName) -> Result<Self, FileFault> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.0, name.as_bytes(), flags, Mode::empty())
            .map(Self)
            .map_err(|error| match (error, self.stat(name)) {
                (Errno::NOTDIR | Errno::LOOP, Ok(stat)) if kind(&stat) == FileKind::Link => {
                    FileFault::LinkOnTheWay
                }
                (error, _) => fault("open", error),
            })
    }

    /// Keeps hold of what has this name, whatever becomes of the name.
    #[cfg(target_os = "linux")]
    pub(crate) fn hold(&self, name: &FileName) -> Option<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.0, name.as_bytes(), flags, Mode::empty()).ok()
    }

    /// Keeps hold of nothing: without `O_PATH` opening a file may have effects.
    #[cfg(not(target_os = "linux"))]
    pub(crate) const fn hold(&self, _: &FileName) -> Option<OwnedFd> {
        None
    }

    pub(crate) const fn fd(&self) -> &OwnedFd {
        &self.0
    }

    /// Returns what has this name; a symbolic link is not followed.
    pub(crate) fn stat(&self, name: &FileName) -> Result<Stat, FileFault> {
        self.stat_bytes(name.as_bytes())
    }

    pub(crate) fn stat_bytes(&self, name: &[u8]) -> Result<Stat, FileFault> {
        statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| fault("look", error))
    }

    /// Returns where a symbolic link leads.
    pub(crate) fn target(&self, name: &FileName) -> Result<FilePath, FileFault> {
        let target = readlinkat(&self.0, name.as_bytes(), Vec::new());
        let target = target.map_err(|error| fault("read the link", error))?;
        FilePath::try_from(target.into_bytes()).map_err(|_| FileFault::Name(NameFault::TooLong))
    }

    /// Gives what is called `from` the name `to`, which is free or a file from then on.
    pub(crate) fn rename(&self, from: &[u8], to: &FileName) -> Result<(), FileFault> {
        renameat(&self.0, from, &self.0, to.as_bytes()).map_err(|error| match error {
            Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST => FileFault::Taken(FileKind::Folder),
            error => fault("rename", error),
        })
    }

    /// Removes a file. One that is not there is no error.
    pub(crate) fn remove(&self, name: &[u8]) -> Result<(), FileFault> {
        match unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(fault("remove", error)),
        }
    }

    /// Makes the names in this folder outlast a power cut.
    pub(crate) fn sync(&self) -> Result<(), FileFault> {
        match fsync(&self.0) {
            // Some file systems have nothing to do here, and say so by an error.
            Ok(()) | Err(Errno::INVAL | Errno::NOTSUP | Errno::NOSYS) => Ok(()),
            Err(error) => Err(fault("make durable", error)),
        }
    }
}

/// Returns what lies at `place`. What the operator named may be a symbolic link; what lies below is
/// not followed.
///
/// # Errors
/// Nothing lies there, or it cannot be looked at.
pub fn look(start: &Path, place: &Place) -> Result<Attributes, FileFault> {
    let stat = if place.below().is_empty() {
        let path = start.join(OsStr::from_bytes(place.root.as_bytes()));
        statat(CWD, &path, AtFlags::empty()).map_err(|error| fault("look", error))?
    } else {
        let (folder, name) = Folder::holding(start, place)?;
        folder.stat(name)?
    };
    Ok(attributes(&stat))
}

/// Makes the folder `place`, or returns what is known of the one that is there.
///
/// # Errors
/// It cannot be made, or something else has its name.
pub fn make_folder(
    start: &Path,
    place: &Place,
    mode: u16,
) -> Result<Option<Attributes>, FileFault> {
    let (folder, name) = Folder::holding(start, place)?;
    match mkdirat(folder.fd(), name.as_bytes(), mode_of(OWN)) {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            let there = attributes(&folder.stat(name)?);
            return match there.kind {
                FileKind::Folder => Ok(Some(there)),
                FileKind::Link => Err(FileFault::LinkOnTheWay),
                FileKind::File
                | FileKind::Fifo
                | FileKind::Socket
                | FileKind::Device
                | FileKind::Other => Err(FileFault::Taken(there.kind)),
            };
        }
        Err(error) => return Err(fault("make the folder", error)),
    }
    let made = folder.enter(name)?;
    let mode = mode_of(mode & PERMISSIONS | OWN);
    fchmod(made.fd(), mode).map_err(|error| fault("set the mode", error))?;
    folder.sync()?;
    Ok(None)
}

/// Gives the folder `place` its mode and time.
///
/// # Errors
/// It is no folder, or they cannot be set.
pub fn settle(
    start: &Path,
    place: &Place,
    mode: u16,
    modified: Option<FileTime>,
) -> Result<(), FileFault> {
    let folder = Folder::of(start, place)?;
    give(folder.fd(), mode, modified)
}

/// Makes a symbolic link at `place`, in the stead of another link if there is one.
///
/// # Errors
/// It cannot be made, or something else has its name.
pub fn make_link(start: &Path, place: &Place, target: &FilePath) -> Result<(), FileFault> {
    let (folder, name) = Folder::holding(start, place)?;
    match folder.stat(name) {
        Err(FileFault::NotFound) => {}
        Err(other) => return Err(other),
        Ok(stat) if kind(&stat) != FileKind::Link => {
            return Err(FileFault::Taken(kind(&stat)));
        }
        Ok(_) if folder.target(name)? == *target => return Ok(()),
        Ok(_) => folder.remove(name.as_bytes())?,
    }
    symlinkat(target.as_bytes(), folder.fd(), name.as_bytes())
        .map_err(|error| fault("make the link", error))?;
    folder.sync()
}

/// Sets the mode and the time of an open file or folder.
pub(super) fn give(fd: &OwnedFd, mode: u16, modified: Option<FileTime>) -> Result<(), FileFault> {
    if let Some(time) = modified {
        let time = Timespec {
            tv_sec: time.seconds,
            tv_nsec: time.nanoseconds.min(999_999_999).into(),
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        futimens(fd, &times).map_err(|error| fault("set the time", error))?;
    }
    let mode = mode_of(mode & PERMISSIONS);
    fchmod(fd, mode).map_err(|error| fault("set the mode", error))
}

/// Returns what is known of an open file.
pub(super) fn stat_open(fd: &OwnedFd) -> Result<Stat, FileFault> {
    fstat(fd).map_err(|error| fault("look", error))
}

fn mode_of(bits: u16) -> Mode {
    Mode::from_raw_mode(bits.into())
}

/// Returns what `stat` says, as it travels.
pub(super) fn attributes(stat: &Stat) -> Attributes {
    Attributes {
        kind: kind(stat),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mode: u16::try_from(stat.st_mode & u32::from(PERMISSIONS)).unwrap_or(0),
        modified: FileTime {
            seconds: stat.st_mtime,
            nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        },
    }
}

/// Returns what `stat` is about.
pub(super) const fn kind(stat: &Stat) -> FileKind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Folder,
        FileType::Symlink => FileKind::Link,
        FileType::Fifo => FileKind::Fifo,
        FileType::Socket => FileKind::Socket,
        FileType::CharacterDevice | FileType::BlockDevice => FileKind::Device,
        FileType::Unknown => FileKind::Other,
    }
}

/// Returns what an error of the operating system means for a copy.
pub(crate) fn fault(doing: &str, error: Errno) -> FileFault {
    let why = || Text::cut(&std::io::Error::from(error).to_string());
    match error {
        Errno::NOENT => FileFault::NotFound,
        Errno::NOTDIR => FileFault::NotAFolder,
        Errno::ISDIR => FileFault::IsAFolder,
        Errno::ACCESS | Errno::PERM => FileFault::Denied,
        Errno::ROFS => FileFault::ReadOnly,
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => FileFault::NoSpace { why: why() },
        Errno::NAMETOOLONG => FileFault::Name(NameFault::TooLong),
        _ => FileFault::Other {
            doing: Text::cut(doing),
            why: why(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn name(text: &str) -> FileName {
        text.as_bytes().to_vec().try_into().unwrap()
    }

    fn place(names: &[&str]) -> Place {
        let root = Place::at(Vec::new().try_into().unwrap());
        names
            .iter()
            .fold(root, |place, text| place.child(name(text)).unwrap())
    }

    #[test]
    fn no_link_below_the_operators_folder_is_followed() {
        let outside = tempfile::tempdir().unwrap();
        let inside = tempfile::tempdir().unwrap();
        fs_err::write(outside.path().join("secret"), "x").unwrap();
        symlink(outside.path(), inside.path().join("swapped")).unwrap();
        let start = inside.path();

        let through = place(&["swapped", "secret"]);

        assert_eq!(look(start, &through), Err(FileFault::LinkOnTheWay));
        assert_eq!(
            make_folder(start, &place(&["swapped", "new"]), 0o755),
            Err(FileFault::LinkOnTheWay)
        );
        assert_eq!(
            make_folder(start, &place(&["swapped"]), 0o755),
            Err(FileFault::LinkOnTheWay)
        );
        let target = b"/etc".to_vec().try_into().unwrap();
        assert_eq!(
            make_link(start, &place(&["swapped", "l"]), &target),
            Err(FileFault::LinkOnTheWay)
        );
        assert_eq!(
            settle(start, &place(&["swapped"]), 0o777, None),
            Err(FileFault::LinkOnTheWay)
        );
        assert_eq!(fs_err::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_is_made_once_and_gets_its_mode_whatever_the_umask() {
        let inside = tempfile::tempdir().unwrap();
        let new = place(&["new"]);

        assert_eq!(make_folder(inside.path(), &new, 0o775), Ok(None));
        let again = make_folder(inside.path(), &new, 0o700).unwrap();

        assert_eq!(again.map(|there| there.mode), Some(0o775));
        settle(inside.path(), &new, 0o7555, None).unwrap();
        let made = fs_err::metadata(inside.path().join("new")).unwrap();
        assert_eq!(made.permissions().mode() & 0o7777, 0o555);
    }

    #[test]
    fn what_has_the_name_already_is_never_replaced_by_a_folder_or_a_link() {
        let inside = tempfile::tempdir().unwrap();
        fs_err::write(inside.path().join("file"), "kept").unwrap();
        let target = b"elsewhere".to_vec().try_into().unwrap();
        let at = place(&["file"]);

        let taken = FileFault::Taken(FileKind::File);
        assert_eq!(make_folder(inside.path(), &at, 0o755), Err(taken.clone()));
        assert_eq!(make_link(inside.path(), &at, &target), Err(taken));
        assert_eq!(fs_err::read(inside.path().join("file")).unwrap(), b"kept");
    }

    #[test]
    fn a_missing_folder_is_told_from_a_missing_file() {
        let inside = tempfile::tempdir().unwrap();

        assert_eq!(
            look(inside.path(), &place(&["missing"])),
            Err(FileFault::NotFound)
        );
        assert_eq!(
            look(inside.path(), &place(&["missing", "x"])),
            Err(FileFault::NoFolder)
        );
    }
}
