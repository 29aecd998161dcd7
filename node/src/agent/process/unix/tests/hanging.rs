//! File systems that hang: a start on one holds up nobody else.

use std::{ffi::CString, os::fd::AsRawFd as _, os::unix::ffi::OsStrExt as _, path::PathBuf};

use super::*;
use crate::agent::process::SpawnError;

/// A file system whose server never answers, as a network mount whose host is gone. Seen by the
/// calling thread and its children only, and answers with errors once it is dropped.
struct DeadMount {
    server: fs_err::File,
    folder: TempDir,
}

impl DeadMount {
    /// Returns `None` where that takes a right that this process has not got.
    #[allow(unsafe_code, reason = "mounting is only reachable through libc")]
    fn here() -> Option<Self> {
        let mut options = fs_err::OpenOptions::new();
        let server = options.read(true).write(true).open("/dev/fuse").ok()?;
        let folder = TempDir::new().unwrap();
        let path = CString::new(folder.path().as_os_str().as_bytes()).unwrap();
        let fd = server.as_raw_fd();
        let data = format!("fd={fd},rootmode=40000,user_id=0,group_id=0");
        let data = CString::new(data).unwrap();
        let (kind, none) = (c"fuse".as_ptr(), std::ptr::null());
        // SAFETY: the strings live until the calls return; nothing is mounted for any other thread.
        let mounted = unsafe {
            let root = c"/".as_ptr();
            let private = libc::MS_REC | libc::MS_PRIVATE;
            libc::unshare(libc::CLONE_NEWNS) == 0
                && libc::mount(none, root, none, private, std::ptr::null()) == 0
                && libc::mount(kind, path.as_ptr(), kind, 0, data.as_ptr().cast()) == 0
        };
        mounted.then_some(Self { server, folder })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("x")
    }
}

#[allow(unsafe_code, reason = "thread ids are only reachable through libc")]
fn this_thread() -> i32 {
    // SAFETY: a system call without arguments.
    unsafe { libc::gettid() }
}

fn has_a_child(thread: i32) -> bool {
    let children = format!("/proc/self/task/{thread}/children");
    !fs_err::read_to_string(children).unwrap().is_empty()
}

#[tokio::test]
async fn a_start_that_hangs_holds_no_pipe_of_another_run_open() {
    for agent in Agent::each() {
        let mut reader = agent.spawn(&Command {
            stdin: Stdin::Piped,
            ..command(["cat"])
        });
        let (runtime, launcher) = (tokio::runtime::Handle::current(), agent.launcher.clone());
        let (to, server) = std::sync::mpsc::sync_channel(1);
        let starting = std::thread::spawn(move || {
            let dead = DeadMount::here()?;
            let hanging = Command {
                cwd: Some(dead.path()),
                ..command(["true"])
            };
            to.send((dead.server, this_thread())).unwrap();
            let _runtime = runtime.enter();
            Some(launcher.spawn(&hanging).map(drop))
        });
        let Ok((server, thread)) = server.recv() else {
            assert!(starting.join().unwrap().is_none());
            return; // Without the right to mount.
        };
        eventually("the start hangs", || has_a_child(thread)).await;

        drop(reader.stdin.take());

        let read_to_the_end = tokio::time::timeout(PATIENCE, reader.wait()).await;
        assert_eq!(read_to_the_end.unwrap().unwrap(), Exit::Code(0));
        assert!(!starting.is_finished());
        drop(server);
        let failed = starting.join().unwrap().unwrap();
        assert!(matches!(failed, Err(SpawnError::Cwd { .. })), "{failed:?}");
    }
}
