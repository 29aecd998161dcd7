//! A person at a terminal: types, reads, resizes the window, hangs up.
//!
//! The program is started as a terminal's own shell starts it: the terminal is that of its session, so
//! that the kernel tells it of a new size and of a hang-up.
//!
//! **Invariant:** a dropped [`Seat`] has killed its program and reaped it.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::{
    process::{Pid, Signal, kill_process},
    termios::{
        Action, OptionalActions, Termios, Winsize, tcflow, tcgetattr, tcsetattr, tcsetwinsize,
    },
};

use crate::{PATIENCE, terminal::pair};

/// A program on a terminal at which a test sits.
#[derive(Debug)]
pub struct Seat {
    ours: Option<File>,
    /// The program's side, so that the terminal outlives the program.
    theirs: Option<OwnedFd>,
    child: Child,
    status: Option<ExitStatus>,
    screen: Arc<Screen>,
    reader: Option<JoinHandle<()>>,
    /// How much of what was shown has been looked at.
    seen: usize,
}

/// The modes of a terminal.
#[derive(Debug, Clone)]
pub struct Modes(Termios);

impl PartialEq for Modes {
    fn eq(&self, other: &Self) -> bool {
        // Their parts have no comparison of their own, and all of them are shown.
        format!("{:?}", self.0) == format!("{:?}", other.0)
    }
}

#[derive(Debug, Default)]
struct Screen {
    shown: Mutex<Vec<u8>>,
    more: Condvar,
    /// Whether nobody sits here any more.
    left: AtomicBool,
}

impl Seat {
    /// Starts `command`, which names all of its environment, on a new terminal.
    ///
    /// # Panics
    /// When there is no terminal to be had, or the program cannot be started.
    #[must_use]
    #[track_caller]
    pub fn take(command: &Command, columns: u16, rows: u16) -> Self {
        Self::take_at_rest(command, columns, rows).0
    }

    /// Does the same, and returns the terminal's [modes](Self::modes) before the program began.
    ///
    /// # Panics
    /// When there is no terminal to be had, or the program cannot be started.
    #[must_use]
    #[track_caller]
    pub fn take_at_rest(command: &Command, columns: u16, rows: u16) -> (Self, Modes) {
        let (ours, theirs) = match pair() {
            Ok(pair) => pair,
            Err(error) => panic!("no pseudo-terminal: {error}"),
        };
        let stream = || match theirs.try_clone() {
            Ok(fd) => Stdio::from(fd),
            Err(error) => panic!("no pseudo-terminal: {error}"),
        };
        let mut on_terminal = Command::new("setsid");
        on_terminal
            .arg("--ctty")
            .arg(command.get_program())
            .args(command.get_args())
            .env_clear()
            .stdin(stream())
            .stdout(stream())
            .stderr(stream());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => on_terminal.env(name, value),
                None => on_terminal.env_remove(name),
            };
        }
        set_size(&ours, columns, rows);
        let before = modes_of(&theirs);
        let child = match on_terminal.spawn() {
            Ok(child) => child,
            Err(error) => panic!("{on_terminal:?} cannot be started: {error}"),
        };
        let ours = File::from(ours);
        let screen = Arc::new(Screen::default());
        let reader = match ours.try_clone() {
            Ok(from) => thread::spawn({
                let screen = Arc::clone(&screen);
                move || screen.follow(from)
            }),
            Err(error) => panic!("the terminal cannot be read: {error}"),
        };
        let seat = Self {
            ours: Some(ours),
            theirs: Some(theirs),
            child,
            status: None,
            screen,
            reader: Some(reader),
            seen: 0,
        };
        (seat, before)
    }

    /// Types.
    ///
    /// # Panics
    /// When the terminal was hung up.
    #[track_caller]
    pub fn type_in(&mut self, bytes: impl AsRef<[u8]>) {
        let Some(mut keyboard) = self.ours.as_ref() else {
            panic!("the terminal was hung up")
        };
        if let Err(error) = keyboard.write_all(bytes.as_ref()) {
            panic!("nothing can be typed: {error}");
        }
    }

    /// Waits until `text` has been shown, after all that was awaited before.
    ///
    /// # Panics
    /// When it is not shown in time.
    #[track_caller]
    pub fn wait_for(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        let deadline = Instant::now() + PATIENCE;
        let mut shown = self.screen.lock();
        loop {
            let new = &shown[self.seen..];
            if let Some(at) = new.windows(text.len()).position(|window| window == text) {
                self.seen += at + text.len();
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let text = String::from_utf8_lossy(text).into_owned();
                let new = String::from_utf8_lossy(new).into_owned();
                drop(shown);
                panic!("{text:?} was not shown within {PATIENCE:?}, but: {new:?}");
            }
            shown = match self.screen.more.wait_timeout(shown, left) {
                Ok((shown, _)) => shown,
                Err(broken) => broken.into_inner().0,
            };
        }
    }

    /// Returns what was shown after all that was awaited.
    #[must_use]
    pub fn shown_since(&self) -> Vec<u8> {
        self.screen.lock()[self.seen..].to_vec()
    }

    /// Gives the terminal another size.
    ///
    /// # Panics
    /// When the terminal was hung up.
    #[track_caller]
    pub fn resize(&self, columns: u16, rows: u16) {
        let Some(ours) = &self.ours else {
            panic!("the terminal was hung up")
        };
        set_size(ours, columns, rows);
    }

    /// Returns the terminal's modes, for a comparison.
    ///
    /// # Panics
    /// When the terminal was hung up.
    #[must_use]
    #[track_caller]
    pub fn modes(&self) -> Modes {
        modes_of(self.theirs())
    }

    /// Sets the terminal's modes, as a shell does when a program of it has stopped.
    ///
    /// # Panics
    /// When the terminal was hung up.
    #[track_caller]
    pub fn set_modes(&self, modes: &Modes) {
        if let Err(error) = tcsetattr(self.theirs(), OptionalActions::Now, &modes.0) {
            panic!("the terminal keeps its modes: {error}");
        }
    }

    #[track_caller]
    fn theirs(&self) -> &OwnedFd {
        match &self.theirs {
            Some(theirs) => theirs,
            None => panic!("the terminal was hung up"),
        }
    }

    /// Stops the terminal: it shows nothing more, and who writes to it waits.
    ///
    /// # Panics
    /// When the terminal was hung up.
    #[track_caller]
    pub fn freeze(&self) {
        if let Err(error) = tcflow(self.theirs(), Action::OOff) {
            panic!("the terminal cannot be stopped: {error}");
        }
    }

    /// Sends the program a signal.
    ///
    /// # Panics
    /// When it has ended.
    #[track_caller]
    pub fn signal(&mut self, signal: Signal) {
        assert!(!self.has_ended(), "ended before {signal:?}");
        if let Err(error) = kill_process(Pid::from_child(&self.child), signal) {
            panic!("{signal:?}: {error}");
        }
    }

    /// Takes the terminal away, as a closed window does.
    ///
    /// # Panics
    /// When it was hung up before.
    #[track_caller]
    pub fn hang_up(&mut self) {
        let (Some(ours), Some(theirs)) = (self.ours.take(), self.theirs.take()) else {
            panic!("the terminal was hung up before")
        };
        // The reader holds our side too, and waits for something to read.
        self.screen.left.store(true, Ordering::Relaxed);
        let woken = rustix::io::write(&theirs, b"\0");
        assert!(woken.is_ok(), "nothing can be shown: {woken:?}");
        if let Some(reader) = self.reader.take() {
            assert!(reader.join().is_ok(), "the reader broke");
        }
        drop((ours, theirs));
    }

    /// Waits for the program's end and returns its exit code; nothing for the victim of a signal.
    ///
    /// # Panics
    /// When it does not end in time.
    #[track_caller]
    pub fn wait_exit(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        while !self.has_ended() {
            if Instant::now() >= deadline {
                let shown = self.shown_since();
                let shown = String::from_utf8_lossy(&shown).into_owned();
                panic!("still running after {PATIENCE:?}: {shown:?}");
            }
            thread::sleep(Duration::from_millis(2));
        }
        self.status.and_then(|status| status.code())
    }

    fn has_ended(&mut self) -> bool {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status.is_some()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.has_ended() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

impl Screen {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads until the terminal ends, which is an error (EIO) on Linux.
    fn follow(&self, mut from: File) {
        let mut buffer = [0; 4096];
        while let Ok(len @ 1..) = from.read(&mut buffer) {
            self.lock().extend_from_slice(&buffer[..len]);
            self.more.notify_all();
            if self.left.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

#[track_caller]
fn modes_of(terminal: &OwnedFd) -> Modes {
    match tcgetattr(terminal) {
        Ok(modes) => Modes(modes),
        Err(error) => panic!("the terminal has no modes: {error}"),
    }
}

#[track_caller]
fn set_size(terminal: &impl std::os::fd::AsFd, columns: u16, rows: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    if let Err(error) = tcsetwinsize(terminal, size) {
        panic!("the terminal keeps its size: {error}");
    }
}
