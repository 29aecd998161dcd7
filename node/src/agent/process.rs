//! Starting a program, and ending everything that it has become.
//!
//! Owns what a run looks like to the operating system: argv, environment, working directory, pipes,
//! limits, and the tree of processes that grows from it. Does not know requests, policy or the
//! network, and never uses a shell: the bytes of argv reach the program unchanged.
//!
//! The types here are the same on every platform; `unix` does the work on Linux and macOS.
//!
//! **Invariant:** [`TreeEnd::Gone`] is said only after nothing of the tree was found alive. Guarded
//! by the tests of `unix`, which look for the run's mark in `/proc` afterwards.

use std::{ffi::OsString, fmt, io, path::PathBuf, time::Duration};

use proto::id::RunId;

mod environment;
#[cfg(unix)]
mod unix;

pub use environment::{Base, Environment, EnvironmentError, LoaderNames};
#[cfg(unix)]
pub use unix::{Launcher, OpenLauncherError, Process, Terminal};

/// The variable that every process of a run finds in its environment, with the run's id.
///
/// It is how strays are recognised, so a request cannot set it.
pub const RUN_ID_VARIABLE: &str = "MESOSYNC_RUN_ID";

/// What to start.
#[derive(Debug, Clone)]
pub struct Command {
    /// The run that the process belongs to.
    pub run: RunId,
    /// The program and its arguments, byte for byte.
    pub argv: Vec<OsString>,
    /// What the program finds as its own name, if not the word by which it is found: a login shell
    /// knows by a hyphen that it is one.
    pub arg0: Option<OsString>,
    /// All of the environment; nothing is inherited.
    pub environment: Environment,
    /// Where to start; the agent's own directory if `None`.
    pub cwd: Option<PathBuf>,
    /// What the program reads.
    pub stdin: Stdin,
    /// What it may use.
    pub limits: Limits,
}

/// What a program finds on its standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdin {
    /// The end of file, at once.
    Closed,
    /// A pipe, written through [`Process::stdin`].
    Piped,
    /// A terminal of this size, which its standard output and standard error are as well, and which
    /// becomes its session's own.
    Terminal(TerminalSize),
}

/// The size of a terminal, in characters; zero where nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Its width.
    pub columns: u16,
    /// Its height.
    pub rows: u16,
}

/// What a run may use; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes of memory.
    ///
    /// For the tree as a whole where a cgroup memory controller is ours to use, else for the address
    /// space of each process by itself (`RLIMIT_AS`).
    pub memory: Option<u64>,
    /// Processor time, in whole seconds rounded up, for each process by itself (`RLIMIT_CPU`).
    pub cpu: Option<Duration>,
}

/// What holds the processes of a run together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Containment {
    /// A control group of the run's own, which no descendant leaves by `setsid` or a double fork.
    Cgroup,
    /// A session, and a search for descendants and for the run's mark.
    ///
    /// A process escapes if it has left the session, lost its parent and dropped its environment
    /// before the first search.
    Group,
}

/// How the first process of a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

/// What is known about a tree of processes after it was told to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeEnd {
    /// Nothing of it is alive.
    Gone,
    /// These were still there when patience ran out.
    Unconfirmed {
        /// The ids of the surviving processes.
        pids: Vec<u32>,
    },
}

/// Why a program was not started. In every case nothing of it runs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpawnError {
    /// No word at all.
    #[error("the command is empty")]
    Empty,
    /// A word that the operating system could only cut short.
    #[error("word {index} of the command contains a NUL byte")]
    Nul {
        /// The place of the word, the program being 0.
        index: usize,
    },
    /// There is no such program.
    #[error("program {program:?} not found")]
    NotFound {
        /// As the request names it.
        program: OsString,
    },
    /// There is such a file, but it cannot be executed.
    #[error("cannot execute {program:?}: {why}")]
    NotExecutable {
        /// The file that was found.
        program: PathBuf,
        /// What stands in the way.
        why: Unexecutable,
    },
    /// The working directory cannot be entered.
    #[error("cannot enter working directory {path:?}: {why}")]
    Cwd {
        /// As the request names it.
        path: PathBuf,
        /// What the operating system said.
        why: OsCode,
    },
    /// Arguments and environment exceed what the operating system passes to a program.
    #[error("arguments and environment are too long for this system ({bytes} bytes)")]
    TooLong {
        /// The bytes of both.
        bytes: usize,
    },
    /// The operating system has no room for one more.
    #[error("cannot {step}: {why}")]
    Resources {
        /// What was being done.
        step: Step,
        /// What the operating system said.
        why: OsCode,
    },
}

/// Why a file that exists cannot be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unexecutable {
    /// No permission, or a file system mounted `noexec`.
    #[error("permission denied")]
    Permission,
    /// A directory, or something else that is not a file.
    #[error("not a regular file")]
    NotAFile,
    /// Neither a program of this machine nor a script with a `#!` line.
    #[error("not a program for this system (a script needs a #! line)")]
    Format,
    /// The interpreter or the loader that it asks for is missing.
    #[error("the interpreter that it names does not exist")]
    Interpreter,
    /// It is being written.
    #[error("the file is open for writing")]
    Busy,
    /// Anything else.
    #[error("{0}")]
    Other(OsCode),
}

/// A step of starting a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Opening the pipes.
    Pipes,
    /// Opening a terminal, or making it the session's own.
    Terminal,
    /// Making a control group.
    Cgroup,
    /// Making a process.
    Fork,
    /// Joining the control group.
    Join,
    /// Leaving the agent's session.
    Session,
    /// Setting the limits.
    Limits,
    /// Putting the pipes in their places.
    Stdio,
    /// Entering the working directory.
    Cwd,
    /// Executing the program.
    Execute,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pipes => "open the pipes",
            Self::Terminal => "make a terminal",
            Self::Cgroup => "make a control group",
            Self::Fork => "make a process",
            Self::Join => "join the control group",
            Self::Session => "make a session",
            Self::Limits => "set the limits",
            Self::Stdio => "connect the pipes",
            Self::Cwd => "enter the working directory",
            Self::Execute => "execute the program",
        })
    }
}

/// An error number of the operating system, shown as its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OsCode(pub i32);

impl OsCode {
    /// Takes the number out of `error`; zero if it has none.
    pub(crate) fn of(error: &io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(0))
    }
}

impl fmt::Display for OsCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from_raw_os_error(self.0).fmt(f)
    }
}
