//! A real program under test: its output as bytes, its end, and its certain death.
//!
//! Both streams are read by threads of their own the moment they are written, so that a program
//! never waits for its test unless the test asks for that ([`Stdout::Unread`]).
//!
//! **Invariant:** a dropped [`Process`] has been killed, with its process group, and reaped. Only
//! after a [`wait_exit`](Process::wait_exit) that succeeded may something live on: what a program
//! leaves behind is then the test's to look for.

mod capture;

use std::{
    io::Write,
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use capture::{Capture, Stream};

use crate::PATIENCE;

/// What a program finds on its standard input.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Stdin {
    /// Nothing: the end of the file at once.
    #[default]
    Empty,
    /// These bytes, then the end of the file.
    Bytes(Vec<u8>),
    /// A pipe that the test writes to by [`Process::stdin`].
    Open,
}

/// Who reads a program's standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stdout {
    /// The laboratory, at once.
    #[default]
    Captured,
    /// Nobody until [`Process::read_on`]: the reader that stops reading.
    Unread,
}

/// A started program.
#[derive(Debug)]
pub struct Process {
    shown: String,
    child: Child,
    /// How it ended, once it has been reaped: its id belongs to nobody from then on.
    reaped: Option<ExitStatus>,
    stdin: Option<ChildStdin>,
    unread: Option<ChildStdout>,
    capture: Arc<Capture>,
}

/// A program that has ended, with all that it wrote.
#[derive(Debug, Clone)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output; the first [64 MiB](Self::stdout_len) of it.
    pub stdout: Vec<u8>,
    /// Its standard error, likewise.
    pub stderr: Vec<u8>,
    /// How many bytes of standard output there were, kept or not.
    pub stdout_len: u64,
}

impl Process {
    /// Starts `command` with an empty standard input, and captures what it writes.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    #[must_use]
    pub fn start(command: Command) -> Self {
        Self::start_with(command, Stdin::Empty, Stdout::Captured)
    }

    /// Starts `command` in a process group of its own.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    #[must_use]
    pub fn start_with(mut command: Command, stdin: Stdin, stdout: Stdout) -> Self {
        let shown = format!("{command:?}");
        let input = match stdin {
            Stdin::Empty => Stdio::null(),
            Stdin::Bytes(_) | Stdin::Open => Stdio::piped(),
        };
        command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("{shown} cannot be started: {error}"),
        };

        let capture = Arc::new(Capture::default());
        capture.follow(Stream::Stderr, child.stderr.take());
        let mut process = Self {
            shown,
            stdin: child.stdin.take(),
            unread: child.stdout.take(),
            child,
            reaped: None,
            capture,
        };
        if stdout == Stdout::Captured {
            process.read_on();
        }
        if let Stdin::Bytes(bytes) = stdin {
            process.feed(bytes);
        }
        process
    }

    /// Runs `command` to its end.
    ///
    /// # Panics
    /// When it cannot be started, or has not ended within [`PATIENCE`].
    #[track_caller]
    #[must_use]
    pub fn run(command: Command) -> Finished {
        Self::start(command).wait_exit(PATIENCE)
    }

    /// Returns the id of the program itself: wrappers such as `nsenter` are replaced by it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the pipe to an [open](Stdin::Open) standard input; taking it and dropping it closes it.
    pub fn stdin(&mut self) -> &mut Option<ChildStdin> {
        &mut self.stdin
    }

    /// Reads an [unread](Stdout::Unread) standard output from now on.
    pub fn read_on(&mut self) {
        if let Some(stdout) = self.unread.take() {
            self.capture.follow(Stream::Stdout, Some(stdout));
        }
    }

    /// Returns what standard output has shown so far.
    #[must_use]
    pub fn stdout(&self) -> Vec<u8> {
        self.capture.bytes(Stream::Stdout)
    }

    /// Returns what standard error has shown so far.
    #[must_use]
    pub fn stderr(&self) -> Vec<u8> {
        self.capture.bytes(Stream::Stderr)
    }

    /// Waits for a whole line that contains `part`, on either stream, and returns it.
    ///
    /// # Panics
    /// When both streams end, or time runs out, before such a line came.
    #[track_caller]
    #[must_use]
    pub fn wait_for_line(&self, part: &str, within: Duration) -> String {
        match self.capture.wait_for_line(part, Instant::now() + within) {
            Some(line) => line,
            None => panic!(
                "no line with `{part}` within {within:?} from {}",
                self.describe()
            ),
        }
    }

    /// Waits for the end of the program and of its output.
    ///
    /// # Panics
    /// When it is still there after `within`, or something that it left behind still holds its
    /// output open.
    #[track_caller]
    #[must_use]
    pub fn wait_exit(mut self, within: Duration) -> Finished {
        let deadline = Instant::now() + within;
        if !self.has_ended_by(deadline) {
            panic!("still running after {within:?}: {}", self.describe());
        }
        self.read_on();
        if !self.capture.wait_for_end(deadline) {
            panic!(
                "ended, but something holds its output open: {}",
                self.describe()
            );
        }
        let Some(status) = self.reap() else {
            panic!("cannot be reaped: {}", self.describe());
        };

        let (stdout, stdout_len) = self.capture.take(Stream::Stdout);
        let (stderr, _) = self.capture.take(Stream::Stderr);
        Finished {
            status,
            stdout,
            stderr,
            stdout_len,
        }
    }

    /// Whether the program still runs.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        !self.has_ended()
    }

    /// Sends a signal to the program alone, as a service manager does.
    ///
    /// # Panics
    /// When it has ended already.
    #[cfg(unix)]
    #[track_caller]
    pub fn signal(&mut self, signal: rustix::process::Signal) {
        assert!(
            self.is_running(),
            "ended before {signal:?}: {}",
            self.describe()
        );
        if let Err(error) = rustix::process::kill_process(self.pid(), signal) {
            panic!("{signal:?} to {}: {error}", self.describe());
        }
    }

    /// Kills the program and its process group at once, as a power cut would, and reaps it.
    pub fn kill(&mut self) {
        if self.reaped.is_some() {
            return;
        }
        // Not reaped yet, so neither its id nor its group's can belong to anybody else.
        #[cfg(unix)]
        let _ = rustix::process::kill_process_group(self.pid(), rustix::process::Signal::KILL);
        #[cfg(not(unix))]
        let _ = self.child.kill();
        self.reap();
    }

    /// Returns the command and its last output, for the text of a failure.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{}\n{}", self.shown, self.capture.describe())
    }

    #[cfg(unix)]
    fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    /// Writes from a thread of its own: a program need not read its input before it writes.
    fn feed(&mut self, bytes: Vec<u8>) {
        if let Some(mut pipe) = self.stdin.take() {
            // A program that ends without reading all of its input is the test's business.
            thread::spawn(move || drop(pipe.write_all(&bytes)));
        }
    }

    fn has_ended_by(&mut self, deadline: Instant) -> bool {
        while !self.has_ended() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(2));
        }
        true
    }

    /// Looks whether the program has ended, and does not reap it: its group must stay ours.
    #[cfg(unix)]
    fn has_ended(&mut self) -> bool {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.reaped.is_some() || matches!(waitid(WaitId::Pid(self.pid()), look), Ok(Some(_)))
    }

    #[cfg(not(unix))]
    fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Waits for a program that has ended or was killed, and gives its id back.
    fn reap(&mut self) -> Option<ExitStatus> {
        self.reaped = self.child.wait().ok();
        self.reaped
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Finished {
    /// Returns the exit code, or nothing for the victim of a signal.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Returns standard output as text.
    #[must_use]
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Returns standard error as text.
    #[must_use]
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Returns itself when the exit code is `code`.
    ///
    /// # Panics
    /// When it is another; the message carries all output.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(
            self.code(),
            Some(code),
            "{}\nstdout: {}\nstderr: {}",
            self.status,
            self.stdout_text(),
            self.stderr_text()
        );
        self
    }

    /// Returns itself when the program succeeded.
    ///
    /// # Panics
    /// When it did not; the message carries all output.
    #[track_caller]
    pub fn expect_success(self) -> Self {
        self.expect_code(0)
    }
}
