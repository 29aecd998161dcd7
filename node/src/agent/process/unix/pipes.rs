//! The pipes between the agent and a program.

use std::{
    io::{self, PipeReader, PipeWriter},
    os::fd::{AsRawFd as _, OwnedFd, RawFd},
};

use tokio::net::unix::pipe;

use crate::agent::process::Stdin;

/// Bytes that a program can be ahead of the agent: the most that Linux gives without privilege, so
/// that a writer of much is woken rarely.
#[cfg(target_os = "linux")]
const CAPACITY: usize = 1024 * 1024;

/// Both ends of all pipes of a program.
pub(super) struct Pipes {
    pub(super) stdin: Option<pipe::Sender>,
    pub(super) stdout: pipe::Receiver,
    pub(super) stderr: pipe::Receiver,
    child_stdin: Option<PipeReader>,
    child_stdout: PipeWriter,
    child_stderr: PipeWriter,
}

impl Pipes {
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub(super) fn open(stdin: Stdin) -> io::Result<Self> {
        let (child_stdin, stdin) = match stdin {
            Stdin::Closed => (None, None),
            Stdin::Piped => {
                let (theirs, ours) = io::pipe()?;
                (
                    Some(theirs),
                    Some(pipe::Sender::from_owned_fd(ours.into())?),
                )
            }
        };
        let (stdout, child_stdout) = output()?;
        let (stderr, child_stderr) = output()?;
        Ok(Self {
            stdin,
            stdout,
            stderr,
            child_stdin,
            child_stdout,
            child_stderr,
        })
    }

    /// Returns the child's ends, with `null` for what is closed.
    pub(super) fn stdio(&self, null: &OwnedFd) -> [RawFd; 3] {
        let stdin = self
            .child_stdin
            .as_ref()
            .map_or(null.as_raw_fd(), |pipe| pipe.as_raw_fd());
        [
            stdin,
            self.child_stdout.as_raw_fd(),
            self.child_stderr.as_raw_fd(),
        ]
    }
}

fn output() -> io::Result<(pipe::Receiver, PipeWriter)> {
    let (ours, theirs) = io::pipe()?;
    #[cfg(target_os = "linux")]
    // A user may have only so much in pipes; then this one stays at its default of 64 KiB.
    let _ = rustix::pipe::fcntl_setpipe_size(&ours, CAPACITY);
    Ok((pipe::Receiver::from_owned_fd(ours.into())?, theirs))
}
