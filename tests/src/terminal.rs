//! A pseudo-terminal: what a program shows to a person, byte by byte.
//!
//! The kernel's line discipline is as a shell leaves it, but that output passes unchanged, so that a
//! test sees exactly what the program wrote.

use std::{
    fs::File,
    io::Read as _,
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
};

use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{OptionalActions, OutputModes, tcgetattr, tcsetattr},
};

use crate::PATIENCE;

/// Which streams of a program are the terminal. The others are pipes that nobody looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    /// Both.
    Both,
    /// Standard error alone, as with `program > file`.
    StderrOnly,
}

/// What a program showed.
#[derive(Debug, Clone)]
pub struct Terminal {
    /// All bytes that reached the terminal.
    pub shown: Vec<u8>,
    /// How the program ended.
    pub status: ExitStatus,
}

impl Terminal {
    /// Runs `command` on a new terminal to its end.
    ///
    /// # Panics
    /// When there is no terminal to be had, or the program hangs.
    #[must_use]
    #[track_caller]
    pub fn run(command: Command, screen: Screen) -> Self {
        Self::run_with(command, screen, None)
    }

    /// Runs `command` on a new terminal, all of it, at which a person has typed `typed`.
    ///
    /// # Panics
    /// When there is no terminal to be had, or the program hangs.
    #[must_use]
    #[track_caller]
    pub fn run_typing(command: Command, typed: &str) -> Self {
        Self::run_with(command, Screen::Both, Some(typed))
    }

    #[track_caller]
    fn run_with(mut command: Command, screen: Screen, typed: Option<&str>) -> Self {
        let (ours, theirs) = match pair() {
            Ok(pair) => pair,
            Err(error) => panic!("no pseudo-terminal: {error}"),
        };
        let clone = |fd: &OwnedFd| match fd.try_clone() {
            Ok(fd) => Stdio::from(fd),
            Err(error) => panic!("no pseudo-terminal: {error}"),
        };
        command.stderr(clone(&theirs));
        command.stdin(match typed {
            Some(_) => clone(&theirs),
            None => Stdio::null(),
        });
        if let Some(typed) = typed
            && let Err(error) = rustix::io::write(&ours, typed.as_bytes())
        {
            panic!("nothing can be typed: {error}");
        }
        command.stdout(match screen {
            Screen::Both => clone(&theirs),
            Screen::StderrOnly => Stdio::null(),
        });
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("{command:?} cannot be started: {error}"),
        };
        // The end of the output shows only when nobody holds the program's side any more.
        drop((command, theirs));

        let shown = read_to_end(File::from(ours), &mut child);
        match child.wait() {
            Ok(status) => Self { shown, status },
            Err(error) => panic!("the program cannot be reaped: {error}"),
        }
    }

    /// Returns what was shown as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown).into_owned()
    }
}

/// Opens a terminal whose output passes unchanged, and returns our side and the program's.
pub(crate) fn pair() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let theirs = open(name.as_c_str(), flags, Mode::empty())?;
    let mut modes = tcgetattr(&theirs)?;
    modes.output_modes.remove(OutputModes::OPOST);
    tcsetattr(&theirs, OptionalActions::Now, &modes)?;
    Ok((ours, theirs))
}

#[track_caller]
fn read_to_end(mut from: File, child: &mut Child) -> Vec<u8> {
    let (done, shown) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut shown = Vec::new();
        // The last close of the other side is an error (EIO) on Linux, and the end elsewhere.
        drop(from.read_to_end(&mut shown));
        drop(done.send(shown));
    });
    match shown.recv_timeout(PATIENCE) {
        Ok(shown) => shown,
        Err(_) => {
            drop(child.kill());
            drop(child.wait());
            panic!("still running after {PATIENCE:?}")
        }
    }
}
