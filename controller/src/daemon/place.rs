//! Where the daemon is met: its socket, and the lock that says whether one lives.
//!
//! **Invariant:** only whoever holds the lock has a socket there; so a socket that nobody answers is
//! a dead daemon's, and is replaced. The kernel drops the lock with its process, however that ends.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use fs_err::{self as fs, os::unix::fs::OpenOptionsExt as _};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
    process::{Uid, geteuid},
};
use tokio::net::{UnixListener, UnixStream};

/// The longest path of a socket, in bytes: the shortest of all systems (macOS; `unix(4)`) less the NUL.
const MAX_PATH: usize = 103;

/// The mode of what is for its owner alone.
const OWNER_ONLY: u32 = 0o600;

/// How often the lock is tried while others look at it, and the pause: looking takes no time.
const TRIES: u32 = 1000;
const LOOK: std::time::Duration = std::time::Duration::from_millis(1);

/// The variable that names a folder of this user's session, for want of a short enough home.
const RUNTIME_FOLDER: &str = "XDG_RUNTIME_DIR";

/// Where a daemon serves, or would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    socket: PathBuf,
}

/// There is no path short enough for a socket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is longer than the {MAX_PATH} bytes that the path of a socket may have", .path.display())]
pub struct PathTooLong {
    /// The path.
    pub path: PathBuf,
}

/// Why no daemon can serve there.
#[derive(Debug, thiserror::Error)]
pub enum OccupyError {
    /// Another one does.
    #[error("a daemon serves {} already{}", .socket.display(), with_pid(.pid))]
    Served {
        /// Where.
        socket: PathBuf,
        /// Which process, if it says.
        pid: Option<u32>,
    },
    /// Somebody else could put another socket there.
    #[error("{} is not only this user's to write", .folder.display())]
    Shared {
        /// The folder.
        folder: PathBuf,
    },
    /// What is there is no socket.
    #[error("{} is there, and is no socket", .path.display())]
    NoSocket {
        /// Where.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("take the daemon's place")]
    System(#[source] io::Error),
    /// The socket cannot be had.
    #[error("listen on {}", .socket.display())]
    Bind {
        /// Where.
        socket: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

fn with_pid(pid: &Option<u32>) -> String {
    pid.map(|pid| format!(", with pid {pid}"))
        .unwrap_or_default()
}

/// Why a daemon that is there is not used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// This user may not open the socket.
    #[error("the daemon's socket {} is not for this user", .socket.display())]
    NotOurs {
        /// Where.
        socket: PathBuf,
    },
    /// A daemon takes nobody in.
    #[error("{} is crowded", .socket.display())]
    Crowded {
        /// Where.
        socket: PathBuf,
    },
    /// Somebody else listens.
    #[error("{} is served by a process of user {uid}, which is not to be trusted", .socket.display())]
    Foreign {
        /// Where.
        socket: PathBuf,
        /// Whose process.
        uid: u32,
    },
    /// The system refuses.
    #[error("open the daemon's socket {}", .socket.display())]
    System {
        /// Where.
        socket: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Place {
    /// Takes the path that was named, else `daemon.sock` in `home`, else, where that is too long, a
    /// name made of it in this session's folder.
    ///
    /// # Errors
    /// No path is short enough.
    pub fn find(named: Option<PathBuf>, home: &Path) -> Result<Self, PathTooLong> {
        let fits = |path: &PathBuf| path.as_os_str().len() <= MAX_PATH;
        let is_named = named.is_some();
        let path = named.unwrap_or_else(|| home.join("daemon.sock"));
        if fits(&path) {
            return Ok(Self { socket: path });
        }
        let session = std::env::var_os(RUNTIME_FOLDER)
            .filter(|_| !is_named)
            .map(|folder| PathBuf::from(folder).join(short_name(home)))
            .filter(fits);
        session
            .map(|socket| Self { socket })
            .ok_or(PathTooLong { path })
    }

    /// Returns the path of the socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Takes the place: nobody else serves there until the result is dropped.
    ///
    /// # Errors
    /// Another daemon lives, or the system refuses.
    pub fn occupy(&self) -> Result<Occupied, OccupyError> {
        self.make_folder()?;
        let mut lock = self.lock()?;
        let pid = std::process::id().to_string();
        lock.set_len(0)
            .and_then(|()| lock.write_all(pid.as_bytes()))
            .map_err(OccupyError::System)?;
        match fs::symlink_metadata(&self.socket) {
            Ok(there) if there.file_type().is_socket() => {
                fs::remove_file(&self.socket).map_err(OccupyError::System)?;
            }
            Ok(_) => {
                let path = self.socket.clone();
                return Err(OccupyError::NoSocket { path });
            }
            Err(_) => {}
        }
        let bind = || {
            let listener = UnixListener::bind(&self.socket)?;
            let owner_only = std::fs::Permissions::from_mode(OWNER_ONLY);
            fs::set_permissions(&self.socket, owner_only)?;
            Ok(listener)
        };
        let listener = bind().map_err(|source| OccupyError::Bind {
            socket: self.socket.clone(),
            source,
        })?;
        Ok(Occupied {
            listener,
            socket: self.socket.clone(),
            _lock: lock,
        })
    }

    /// Opens a connection to the daemon that serves there; `None` if there is none.
    ///
    /// # Errors
    /// There is something, and it is not to be used.
    pub async fn connect(&self) -> Result<Option<UnixStream>, ConnectError> {
        let socket = || self.socket.clone();
        let stream = match UnixStream::connect(&self.socket).await {
            Ok(stream) => stream,
            Err(error) if is_nobody(&error) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(ConnectError::NotOurs { socket: socket() });
            }
            // Those that wait to be taken are as many as may (connect(2)).
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(ConnectError::Crowded { socket: socket() });
            }
            Err(source) => {
                return Err(ConnectError::System {
                    socket: socket(),
                    source,
                });
            }
        };
        let peer = stream.peer_cred().map_err(|source| ConnectError::System {
            socket: socket(),
            source,
        })?;
        if !is_trusted(peer.uid()) {
            let uid = peer.uid();
            return Err(ConnectError::Foreign {
                socket: socket(),
                uid,
            });
        }
        Ok(Some(stream))
    }

    /// Tells whether a daemon lives there. Keeps none from beginning.
    #[must_use]
    pub fn is_occupied(&self) -> bool {
        let held = |file: fs::File| is_held(&file).unwrap_or(false);
        fs::File::open(self.lock_path()).is_ok_and(held)
    }

    fn make_folder(&self) -> Result<(), OccupyError> {
        let folder = match self.socket.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            Some(_) | None => Path::new("."),
        };
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder);
        made.map_err(|error| {
            let why = format!("make the folder {}: {error}", folder.display());
            OccupyError::System(io::Error::new(error.kind(), why))
        })?;
        let is = fs::metadata(folder).map_err(OccupyError::System)?;
        let others_write = is.mode() & 0o022 != 0;
        if others_write || !is_trusted(is.uid()) {
            let folder = folder.to_owned();
            return Err(OccupyError::Shared { folder });
        }
        Ok(())
    }

    fn lock(&self) -> Result<fs::File, OccupyError> {
        // Whoever can open it can hold it, and keep us out.
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(OWNER_ONLY)
            .open(self.lock_path())
            .map_err(OccupyError::System)?;
        let owner_only = std::fs::Permissions::from_mode(OWNER_ONLY);
        file.set_permissions(owner_only)
            .map_err(OccupyError::System)?;
        for _ in 0..TRIES {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(Errno::WOULDBLOCK) if is_held(&file).map_err(OccupyError::System)? => break,
                // Somebody only looks, and is done in a moment.
                Err(Errno::WOULDBLOCK) => std::thread::sleep(LOOK),
                Err(errno) => return Err(OccupyError::System(errno.into())),
            }
        }
        let mut pid = String::new();
        let read = io::Read::by_ref(&mut file)
            .take(32)
            .read_to_string(&mut pid);
        Err(OccupyError::Served {
            socket: self.socket.clone(),
            pid: read.ok().and_then(|_| pid.trim().parse().ok()),
        })
    }

    fn lock_path(&self) -> PathBuf {
        self.socket.with_extension("lock")
    }
}

/// Tells whether a daemon holds the lock, and not only somebody who looks, as this does.
fn is_held(file: &fs::File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => flock(file, FlockOperation::Unlock)
            .map(|()| false)
            .map_err(io::Error::from),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

/// A place that is taken.
#[derive(Debug)]
pub struct Occupied {
    listener: UnixListener,
    socket: PathBuf,
    _lock: fs::File,
}

impl Occupied {
    /// Waits for the next client that may ask.
    ///
    /// # Errors
    /// The system has no room for one more.
    ///
    /// # Cancel safety
    /// Nobody is lost when this is dropped.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }

    /// Returns where this is.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        // While the lock is held, so that it is no successor's.
        if let Err(error) = fs::remove_file(&self.socket) {
            tracing::warn!(%error, "the daemon's socket stays behind");
        }
    }
}

/// Tells whether a connection failed because no daemon is there.
fn is_nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

/// Tells whether a process or a file of user `uid` is as good as our own.
#[must_use]
pub fn is_trusted(uid: u32) -> bool {
    uid == geteuid().as_raw() || Uid::from_raw(uid).is_root()
}

/// Returns a short name for the socket of a home: the same in every release, and another one for
/// another home (FNV-1a).
fn short_name(home: &Path) -> String {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let bytes = home.as_os_str().as_bytes().iter();
    let hash = bytes.fold(OFFSET, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(PRIME)
    });
    format!("mesosync-{hash:016x}.sock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_too_deep_for_a_socket_is_an_error_that_names_the_path() {
        let home = PathBuf::from("/").join("x".repeat(MAX_PATH));

        let error = Place::find(Some(home.clone()), Path::new("/")).expect_err("too long");

        assert_eq!(error, PathTooLong { path: home });
    }

    #[test]
    fn names_of_two_homes_differ_and_fit() {
        let names = ["/a", "/b"].map(|home| short_name(Path::new(home)));

        assert_ne!(names[0], names[1]);
        assert!(names[0].len() < 40);
    }

    #[tokio::test]
    async fn the_place_of_a_living_daemon_is_not_taken_and_that_of_a_dead_one_is() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = Place::find(None, folder.path()).expect("a short path");
        let first = place.occupy().expect("nobody is there");

        let second = place.occupy().expect_err("somebody is there");
        assert!(
            matches!(second, OccupyError::Served { pid: Some(pid), .. } if pid == std::process::id())
        );

        // As a kill leaves it: the socket without the lock.
        let aside = folder.path().join("aside");
        fs::hard_link(place.socket(), &aside).expect("a second name");
        drop(first);
        fs::rename(&aside, place.socket()).expect("the first name again");
        assert!(place.connect().await.expect("no daemon").is_none());
        let _again = place.occupy().expect("the dead one's socket is replaced");
    }

    #[tokio::test]
    async fn who_looks_keeps_no_daemon_out_and_nobody_else_may_open_the_lock() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = Place::find(None, folder.path()).expect("a short path");
        assert!(!place.is_occupied());
        fs::write(place.lock_path(), b"").expect("as an older release left it");
        let looks = fs::File::open(place.lock_path()).expect("it is there");
        flock(&looks, FlockOperation::NonBlockingLockShared).expect("nobody is there");

        let late = std::thread::scope(|scope| {
            let occupied = scope.spawn(|| place.lock());
            drop(looks);
            occupied.join().expect("no panic")
        });

        let lock = late.expect("nobody serves there");
        assert!(place.is_occupied());
        let mode = lock.metadata().expect("it is open").mode();
        assert_eq!(mode & 0o777, OWNER_ONLY);
        drop(lock);
        assert!(!place.is_occupied());
    }

    #[tokio::test]
    async fn a_folder_that_others_write_to_is_no_place() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let all = std::fs::Permissions::from_mode(0o777);
        fs::set_permissions(folder.path(), all).expect("ours");
        let place = Place::find(None, folder.path()).expect("a short path");

        let refused = place.occupy().expect_err("anybody may write there");

        assert!(matches!(refused, OccupyError::Shared { .. }));
    }
}
