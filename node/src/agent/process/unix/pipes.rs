//! What stands between the agent and a program: pipes, or a terminal.

use std::{
    io::{self, PipeReader, PipeWriter},
    os::fd::{AsRawFd as _, OwnedFd, RawFd},
};

use tokio::net::unix::pipe;

use super::terminal::Terminal;
use crate::agent::process::{Stdin, TerminalSize};

/// Bytes that a program can be ahead of the agent: the most that Linux gives without privilege, so
/// that a writer of much is woken rarely.
#[cfg(target_os = "linux")]
const CAPACITY: usize = 1024 * 1024;

/// Both ends of all that a program reads and writes.
pub(super) struct Pipes {
    pub(super) stdin: Option<pipe::Sender>,
    pub(super) stdout: pipe::Receiver,
    pub(super) stderr: Option<pipe::Receiver>,
    pub(super) terminal: Option<Terminal>,
    child: Child,
}

/// The child's ends.
enum Child {
    Pipes {
        stdin: Option<PipeReader>,
        stdout: PipeWriter,
        stderr: PipeWriter,
    },
    Terminal(OwnedFd),
}

impl Pipes {
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub(super) fn open(stdin: Stdin) -> io::Result<Self> {
        match stdin {
            Stdin::Closed => Self::apart(None, None),
            Stdin::Piped => {
                let (theirs, ours) = io::pipe()?;
                let ours = pipe::Sender::from_owned_fd(ours.into())?;
                Self::apart(Some(theirs), Some(ours))
            }
            Stdin::Terminal(size) => Self::together(size),
        }
    }

    fn apart(theirs: Option<PipeReader>, stdin: Option<pipe::Sender>) -> io::Result<Self> {
        let (stdout, child_stdout) = output()?;
        let (stderr, child_stderr) = output()?;
        Ok(Self {
            stdin,
            stdout,
            stderr: Some(stderr),
            terminal: None,
            child: Child::Pipes {
                stdin: theirs,
                stdout: child_stdout,
                stderr: child_stderr,
            },
        })
    }

    fn together(size: TerminalSize) -> io::Result<Self> {
        let (terminal, theirs) = Terminal::open(size)?;
        Ok(Self {
            stdin: Some(terminal.keyboard()?),
            stdout: terminal.screen()?,
            stderr: None,
            terminal: Some(terminal),
            child: Child::Terminal(theirs),
        })
    }

    /// Returns the child's ends, with `null` for what is closed.
    pub(super) fn stdio(&self, null: &OwnedFd) -> [RawFd; 3] {
        match &self.child {
            Child::Pipes {
                stdin,
                stdout,
                stderr,
            } => {
                let stdin = stdin.as_ref();
                let stdin = stdin.map_or(null.as_raw_fd(), |pipe| pipe.as_raw_fd());
                [stdin, stdout.as_raw_fd(), stderr.as_raw_fd()]
            }
            Child::Terminal(theirs) => [theirs.as_raw_fd(); 3],
        }
    }
}

fn output() -> io::Result<(pipe::Receiver, PipeWriter)> {
    let (ours, theirs) = io::pipe()?;
    #[cfg(target_os = "linux")]
    // A user may have only so much in pipes; then this one stays at its default of 64 KiB.
    let _ = rustix::pipe::fcntl_setpipe_size(&ours, CAPACITY);
    Ok((pipe::Receiver::from_owned_fd(ours.into())?, theirs))
}
