//! A pseudo-terminal: what a person's terminal is to a program, with the agent in the person's place.
//!
//! Owns the agent's side of it. The kernel does the rest: it turns Ctrl-C into a signal for the
//! program in front, and a new size into SIGWINCH. No entry is written to utmp, so `who` does not list
//! who sits here; the agent's log and the controller's audit do.
//!
//! **Invariant:** the agent itself never gets a terminal as its own by opening one. Guarded by
//! `the_terminal_is_that_of_the_programs_session`.

use std::{fmt, io, os::fd::OwnedFd, sync::Arc};

use rustix::{
    fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl, open},
    io::fcntl_dupfd_cloexec,
    process::{Signal, kill_process, kill_process_group},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{
        InputModes, OptionalActions, Winsize, tcgetattr, tcgetpgrp, tcgetsid, tcsetattr,
        tcsetwinsize,
    },
};
use tokio::net::unix::pipe;

use crate::agent::process::TerminalSize;

/// The agent's side of a terminal. Cheap to clone; it is hung up when the last clone is dropped, and
/// what reads and writes it.
#[derive(Clone)]
pub struct Terminal {
    master: Arc<OwnedFd>,
}

impl Terminal {
    /// Opens a new terminal and returns it with the program's side.
    ///
    /// Its modes are the system's own (lines are edited and echoed, Ctrl-C interrupts), for text in
    /// UTF-8, as the environment of a run says.
    pub(super) fn open(size: TerminalSize) -> io::Result<(Self, OwnedFd)> {
        let master = master()?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let path = ptsname(&master, Vec::new())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let theirs = open(path.as_c_str(), flags, Mode::empty())?;
        let mut modes = tcgetattr(&theirs)?;
        modes.input_modes |= InputModes::IUTF8;
        tcsetattr(&theirs, OptionalActions::Now, &modes)?;
        fcntl_setfl(&master, fcntl_getfl(&master)? | OFlags::NONBLOCK)?;
        let terminal = Self {
            master: Arc::new(master),
        };
        terminal.resize(size)?;
        Ok((terminal, theirs))
    }

    /// Gives the terminal another size; the program in front hears of it by SIGWINCH.
    ///
    /// # Errors
    /// If the system refuses, which is a defect.
    pub fn resize(&self, size: TerminalSize) -> io::Result<()> {
        let size = Winsize {
            ws_row: size.rows,
            ws_col: size.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        Ok(tcsetwinsize(&*self.master, size)?)
    }

    /// Tells the session and the program in front that nobody sits here any more, as a lost modem
    /// does (SIGHUP). What they still have to say can be read.
    pub fn hang_up(&self) {
        let leader = tcgetsid(&*self.master).ok();
        // A shell that waits at its prompt is both, and takes a second signal for great haste.
        let front = tcgetpgrp(&*self.master)
            .ok()
            .filter(|front| Some(*front) != leader);
        // The stopped ones are woken, since they could not obey otherwise. Either may be gone already,
        // which is what is wanted.
        for signal in [Signal::HUP, Signal::CONT] {
            let _ = leader.map(|leader| kill_process(leader, signal));
            let _ = front.map(|front| kill_process_group(front, signal));
        }
    }

    /// Returns the way for what is typed.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub(super) fn keyboard(&self) -> io::Result<pipe::Sender> {
        pipe::Sender::from_owned_fd_unchecked(self.descriptor()?)
    }

    /// Returns what is shown. When the last program has closed its side, reading fails with `EIO` on
    /// Linux: that is the end.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub(super) fn screen(&self) -> io::Result<pipe::Receiver> {
        pipe::Receiver::from_owned_fd_unchecked(self.descriptor()?)
    }

    fn descriptor(&self) -> io::Result<OwnedFd> {
        Ok(fcntl_dupfd_cloexec(&*self.master, 3)?)
    }
}

#[cfg(target_os = "linux")]
fn master() -> io::Result<OwnedFd> {
    Ok(openpt(
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )?)
}

#[cfg(not(target_os = "linux"))]
fn master() -> io::Result<OwnedFd> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    rustix::io::fcntl_setfd(&master, rustix::io::FdFlags::CLOEXEC)?;
    Ok(master)
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal").finish_non_exhaustive()
    }
}
