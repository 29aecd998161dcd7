//! Where a program of the laboratory runs: on this machine as it is, or on a host of a LAN.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::Path,
    process::Command,
};

/// A place to run programs in.
///
/// A program is found by its final process id: every wrapper replaces itself by it.
#[derive(Debug, Clone)]
pub struct Place {
    /// The command that enters the place and runs what follows; empty on this machine.
    enter: Vec<OsString>,
    guard: Guard,
}

/// What happens to a program whose test is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guard {
    /// It is killed too.
    DiesWithItsTest,
    /// It lives on.
    None,
}

impl Place {
    /// Returns this machine, with the network of the test itself.
    #[must_use]
    pub fn here() -> Self {
        Self::entered_by(Vec::new())
    }

    /// Returns this machine, for programs whose time is measured: they are started without the
    /// wrapper that makes them die with their test, which costs about a millisecond.
    #[must_use]
    pub fn here_unguarded() -> Self {
        Self {
            enter: Vec::new(),
            guard: Guard::None,
        }
    }

    pub(crate) fn entered_by(enter: Vec<OsString>) -> Self {
        Self {
            enter,
            guard: Guard::DiesWithItsTest,
        }
    }

    /// Returns a command for `program` in this place, with the environment of the test.
    ///
    /// On Linux the program dies with the thread that starts it, so that a killed test leaves
    /// nothing behind: start programs from a thread that outlives them. (Killed in the very
    /// millisecond in which the program starts, it may leave that one.)
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut words: Vec<&OsStr> = self.enter.iter().map(OsString::as_os_str).collect();
        if cfg!(target_os = "linux") && self.guard == Guard::DiesWithItsTest {
            // After entering: a change of credentials clears the signal again.
            words.extend(["setpriv", "--pdeathsig", "KILL", "--"].map(OsStr::new));
        }
        words.push(program.as_ref());

        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command
    }

    /// Returns a command with an environment made for it: a path, a home and a language.
    #[must_use]
    pub fn clean_command(&self, program: impl AsRef<OsStr>, home: &Path) -> Command {
        let mut command = self.command(program);
        command.env_clear().env("HOME", home).env("LANG", "C.UTF-8");
        for kept in ["PATH", "SystemRoot", "TMPDIR", "LLVM_PROFILE_FILE"] {
            if let Some(value) = env::var_os(kept) {
                command.env(kept, value);
            }
        }
        command
    }
}
