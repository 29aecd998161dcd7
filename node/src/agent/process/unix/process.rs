//! One run's processes, from the start of the first to the end of the last.

use std::{fmt, io, thread, time::Duration};

use tokio::{net::unix::pipe, time::Instant};

use super::{Launcher, leader::Leader, terminal::Terminal, tree::Tree};
use crate::agent::process::{Exit, TreeEnd};

/// How long the kernel gets to end what was killed, before it is reported as unconfirmed: more than a
/// busy machine needs, and less than a person waits for Ctrl-C.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// How often it is looked for at least, since on a busy machine one search of the table of processes may
/// take as long as the limit.
pub(super) const MIN_ROUNDS: usize = 5;

/// The limit when a [`Process`] is dropped, where the caller's thread stands still meanwhile.
const DROP_LIMIT: Duration = Duration::from_millis(20);

/// The longest pause between two looks at a tree that is ending.
const MAX_PAUSE: Duration = Duration::from_millis(20);

/// A running program, and all that it has started.
///
/// Dropping it kills what is left. Several may run at once; none affects another.
pub struct Process {
    /// Where the program reads from, if it was started with [`Stdin::Piped`]; dropping it is the end
    /// of file. On a terminal it is what is typed, and dropping it means nothing.
    ///
    /// [`Stdin::Piped`]: crate::agent::process::Stdin::Piped
    pub stdin: Option<pipe::Sender>,
    /// What the program prints. Ends when the last process that holds the other end has closed it,
    /// which may be long after the program's own exit.
    ///
    /// Taken out by whoever reads it, since the processes may have to be ended meanwhile.
    pub stdout: Option<pipe::Receiver>,
    /// What it prints as errors; nothing of its own on a terminal, where all is standard output.
    pub stderr: Option<pipe::Receiver>,
    /// The terminal that it was started on, if it was. The last holder's drop hangs it up, and this
    /// process is one.
    pub terminal: Option<Terminal>,
    pub(super) pid: u32,
    pub(super) remains: Option<Remains>,
    pub(super) launcher: Launcher,
}

/// What is to be looked after until it is gone.
pub(super) struct Remains {
    pub(super) leader: Leader,
    pub(super) tree: Tree,
    /// Nothing of the tree is alive, and so it stays.
    pub(super) gone: bool,
}

impl Process {
    /// Returns the id of the first process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until the first process has exited. Others may live on: see [`leftover`](Self::leftover).
    ///
    /// # Errors
    /// If the operating system cannot say, which is a defect.
    ///
    /// # Cancel safety
    /// Can be dropped and called again, also after the exit.
    pub async fn wait(&mut self) -> io::Result<Exit> {
        self.remains().leader.wait().await
    }

    /// Returns the processes that are alive, apart from a first one that has exited.
    ///
    /// Cheap with a control group; otherwise it reads the whole table of processes.
    pub fn leftover(&mut self) -> Vec<u32> {
        let remains = self.remains();
        if remains.gone {
            Vec::new()
        } else {
            remains.tree.alive()
        }
    }

    /// Ends all processes: asks them (SIGTERM), waits for as long as `grace`, kills them, and waits
    /// until nothing is found alive. Without `grace` it does not ask. A terminal is hung up first,
    /// since an interactive shell ignores SIGTERM.
    ///
    /// Works at any time, also after the first process has exited.
    ///
    /// # Cancel safety
    /// Can be dropped and called again, and then begins again.
    pub async fn end(&mut self, grace: Duration) -> TreeEnd {
        let terminal = self.terminal.clone();
        let remains = self.remains();
        if remains.gone || remains.settle() {
            return TreeEnd::Gone;
        }
        if !grace.is_zero() {
            if let Some(terminal) = terminal {
                terminal.hang_up();
            }
            remains.tree.ask_to_end();
            let deadline = Instant::now() + grace;
            let mut pause = Pause::default();
            while !remains.tree.is_empty() && Instant::now() < deadline {
                tokio::time::sleep(pause.next().min(deadline - Instant::now())).await;
            }
        }
        let deadline = Instant::now() + KILL_LIMIT;
        let mut pause = Pause::default();
        let mut rounds = 0;
        while let Some(pids) = remains.kill() {
            rounds += 1;
            if rounds >= MIN_ROUNDS && Instant::now() >= deadline {
                return TreeEnd::Unconfirmed { pids };
            }
            tokio::time::sleep(pause.next()).await;
        }
        TreeEnd::Gone
    }

    /// Lets the processes live on that the first one left behind when it ended by itself, as a
    /// script does that starts a service. From here on nothing ends them, not even this agent's
    /// restart.
    pub fn release(mut self) {
        let Some(mut remains) = self.remains.take() else {
            return;
        };
        if remains.settle() {
            self.launcher.look_after(remains);
        } else {
            remains.leader.reap();
            self.launcher.release(remains.tree);
        }
    }

    fn remains(&mut self) -> &mut Remains {
        self.remains
            .as_mut()
            .expect("only drop and release take it")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(mut remains) = self.remains.take() else {
            return;
        };
        if !remains.gone && !remains.settle() {
            remains.kill_within(DROP_LIMIT);
        }
        self.launcher.look_after(remains);
    }
}

impl Remains {
    /// Takes note if nothing is alive, which is how most runs end.
    fn settle(&mut self) -> bool {
        if self.tree.is_empty() && self.leader.reap() {
            self.tree.marks.leader_was_reaped();
            self.gone = true;
        }
        self.gone
    }

    /// Kills what is there, and returns it; `None` if nothing was.
    pub(super) fn kill(&mut self) -> Option<Vec<u32>> {
        let left = self.tree.kill();
        if left.is_none() && self.leader.reap() {
            self.tree.marks.leader_was_reaped();
            self.gone = true;
        }
        if self.gone {
            None
        } else {
            Some(left.unwrap_or_default())
        }
    }

    /// Kills until nothing is left or time is up, on the caller's thread.
    pub(super) fn kill_within(&mut self, limit: Duration) {
        let deadline = std::time::Instant::now() + limit;
        while self.kill().is_some() && std::time::Instant::now() < deadline {
            thread::sleep(Duration::from_micros(500));
        }
    }
}

/// Growing pauses: most trees are gone within a millisecond or two.
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(Duration::from_millis(1))
    }
}

impl Pause {
    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(MAX_PAUSE);
        pause
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}
