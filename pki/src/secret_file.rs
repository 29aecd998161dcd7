//! Files for their owner's eyes only: private from the first byte, whole or not there at all.
//!
//! A file is written under a temporary name in the same directory, synced, and then given its name
//! in one step, so that no reader and no crash sees half of it.
//!
//! Off Unix the mode is not looked at: there, the directory's access list has to keep others out.

use std::{
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::Existing;

/// The longest secret file that is read, in bytes. An identity takes some 2 KiB and 60 bytes for
/// each known address.
const MAX_FILE_LEN: usize = 256 * 1024;

/// Why a secret file was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadSecretError {
    /// The file cannot be read; the source names it.
    #[error(transparent)]
    Read(io::Error),
    /// A directory is where the file should be.
    #[error("{} is a directory, not a file", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// Others than its owner may read or write the file.
    #[error("{} is open to other users (mode {mode:04o}): run `chmod 600 {}`", .path.display(), .path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is longer than any of its kind.
    #[error("{} has more than {MAX_FILE_LEN} bytes", .path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The file holds something else than text.
    #[error("{} is not a text file", .path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
}

/// Why a secret file was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteSecretError {
    /// There is a file of this name already, and it was not to be replaced.
    #[error("{} exists already", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error("write {}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Reads `path`, if nobody but its owner may.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<String>, ReadSecretError> {
    let file = fs_err::File::open(path).map_err(ReadSecretError::Read)?;
    // Asked of the open file, so that nobody can exchange it in between.
    let metadata = file.metadata().map_err(ReadSecretError::Read)?;
    if metadata.is_dir() {
        let path = path.to_owned();
        return Err(ReadSecretError::Directory { path });
    }
    check_mode(path, &metadata)?;
    // Reserved at once, so that no grown buffer leaves a copy of the secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE_LEN + 1));
    file.take(MAX_FILE_LEN as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(ReadSecretError::Read)?;
    let path = path.to_owned();
    if bytes.len() > MAX_FILE_LEN {
        return Err(ReadSecretError::TooLong { path });
    }
    match str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(ReadSecretError::NotText { path }),
    }
}

#[cfg(unix)]
fn check_mode(path: &Path, metadata: &std::fs::Metadata) -> Result<(), ReadSecretError> {
    use std::os::unix::fs::PermissionsExt as _;

    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        let path = path.to_owned();
        return Err(ReadSecretError::TooOpen { path, mode });
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_mode(_path: &Path, _metadata: &std::fs::Metadata) -> Result<(), ReadSecretError> {
    Ok(())
}

/// Writes `text` to `path`, readable by nobody but its owner (mode 0600).
pub(crate) fn write(path: &Path, text: &str, existing: Existing) -> Result<(), WriteSecretError> {
    let draft = Draft::write(path.to_owned(), text, Sync::Now)?;
    draft.name(existing)?;
    sync_directory(directory_of(path)).map_err(|source| WriteSecretError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Writes new files into `directory`, as [`write`] does, with two waits for the disk in all and not
/// two for each.
///
/// A failure may leave some of them, each of them whole.
pub(crate) fn write_new(
    directory: &Path,
    files: impl Iterator<Item = (PathBuf, impl AsRef<str>)>,
) -> Result<(), WriteSecretError> {
    let failed = |source| WriteSecretError::Write {
        path: directory.to_owned(),
        source,
    };
    // Where there is no call for all of them, each is synced by itself.
    let sync = if cfg!(target_os = "linux") {
        Sync::Later
    } else {
        Sync::Now
    };
    let drafts: Vec<Draft> = files
        .map(|(path, text)| Draft::write(path, text.as_ref(), sync))
        .collect::<Result<_, _>>()?;
    #[cfg(target_os = "linux")]
    fs_err::File::open(directory)
        .and_then(|directory| Ok(rustix::fs::syncfs(directory.file())?))
        .map_err(failed)?;
    for draft in drafts {
        draft.name(Existing::Refuse)?;
    }
    sync_directory(directory).map_err(failed)
}

/// When what was written survives a loss of power.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sync {
    /// As soon as it is written.
    Now,
    /// When somebody syncs the file system.
    Later,
}

/// A file that is written and has no name yet; removed again unless it gets one.
struct Draft {
    file: tempfile::TempPath,
    path: PathBuf,
}

impl Draft {
    fn write(path: PathBuf, text: &str, sync: Sync) -> Result<Self, WriteSecretError> {
        let written = || {
            // tempfile creates with mode 0600, whatever the umask allows beyond.
            let mut file = tempfile::Builder::new()
                .prefix(".mesosync-")
                .tempfile_in(directory_of(&path))?;
            file.write_all(text.as_bytes())?;
            if sync == Sync::Now {
                file.as_file().sync_all()?;
            }
            Ok(file.into_temp_path())
        };
        match written() {
            Ok(file) => Ok(Self { file, path }),
            Err(source) => Err(WriteSecretError::Write { path, source }),
        }
    }

    fn name(self, existing: Existing) -> Result<(), WriteSecretError> {
        let Self { file, path } = self;
        let named = match existing {
            Existing::Refuse => file.persist_noclobber(&path),
            Existing::Replace => file.persist(&path),
        };
        let Err(refused) = named else {
            return Ok(());
        };
        if refused.error.kind() == io::ErrorKind::AlreadyExists {
            return Err(WriteSecretError::Exists { path });
        }
        let source = refused.error;
        Err(WriteSecretError::Write { path, source })
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

/// Makes the names in `directory` survive a loss of power.
#[cfg(unix)]
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    fs_err::File::open(directory)?.sync_all()
}

/// Windows offers no such call and needs none: NTFS journals names.
#[cfg(not(unix))]
pub(crate) fn sync_directory(_directory: &Path) -> io::Result<()> {
    Ok(())
}

/// Encodes a PEM block with line feeds on every system, so that a file is the same everywhere.
pub(crate) fn encode_pem(block: &pem::Pem) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(block, config)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_file_is_private_and_leaves_nothing_beside_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("secret");

        write(&path, "words", Existing::Refuse).unwrap();

        let mode = fs_err::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(read(&path).unwrap().as_str(), "words");
        assert_eq!(fs_err::read_dir(home.path()).unwrap().count(), 1);
    }

    #[test]
    fn many_files_are_as_private_as_one_and_none_is_replaced() {
        let home = tempfile::tempdir().unwrap();
        let files = |names: [&str; 2]| {
            names.map(|name| (home.path().join(name), format!("words of {name}")))
        };

        write_new(home.path(), files(["a", "b"]).into_iter()).unwrap();
        let refused = write_new(home.path(), files(["c", "b"]).into_iter());

        let path = home.path().join("b");
        let mode = fs_err::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(read(&path).unwrap().as_str(), "words of b");
        assert!(matches!(refused, Err(WriteSecretError::Exists { path: taken }) if taken == path));
        assert_eq!(fs_err::read_dir(home.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_file_is_replaced_only_when_asked() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("secret");
        write(&path, "old", Existing::Refuse).unwrap();

        let refused = write(&path, "new", Existing::Refuse);
        assert!(matches!(refused, Err(WriteSecretError::Exists { .. })));
        assert_eq!(read(&path).unwrap().as_str(), "old");
        assert_eq!(fs_err::read_dir(home.path()).unwrap().count(), 1);

        write(&path, "new", Existing::Replace).unwrap();
        assert_eq!(read(&path).unwrap().as_str(), "new");
    }

    #[test]
    fn a_file_that_others_may_touch_is_refused_with_the_remedy() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("secret");
        write(&path, "words", Existing::Refuse).unwrap();

        for mode in [0o640, 0o604, 0o620, 0o601, 0o644] {
            fs_err::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let refused = read(&path).unwrap_err().to_string();
            assert!(
                refused.contains(&format!("chmod 600 {}", path.display())),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_directory_is_called_one() {
        let home = tempfile::tempdir().unwrap();

        let refused = read(home.path()).unwrap_err();

        // Above all it is not told to be made private.
        assert!(matches!(refused, ReadSecretError::Directory { .. }));
    }

    #[test]
    fn endless_and_binary_files_are_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("secret");
        write(&path, &"x".repeat(MAX_FILE_LEN + 1), Existing::Refuse).unwrap();
        assert!(matches!(read(&path), Err(ReadSecretError::TooLong { .. })));

        let mut file = fs_err::OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        file.write_all(&[0xff]).unwrap();
        assert!(matches!(read(&path), Err(ReadSecretError::NotText { .. })));
    }
}
