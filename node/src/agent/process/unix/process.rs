//! One run's processes, from the start of the first to the end of the last.

use std::{fmt, io, thread, time::Duration};

use tokio::{
    net::unix::pipe,
    sync::oneshot,
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

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
    pub(super) held: Held,
    pub(super) launcher: Launcher,
}

/// What is to be looked after until it is gone.
pub(super) struct Remains {
    pub(super) leader: Leader,
    pub(super) tree: Tree,
    /// Nothing of the tree is alive, and so it stays.
    pub(super) gone: bool,
}

/// Where the remains of a process are: to look after them may take long, and one that reads the
/// memory of processes may hang with them, so that is done on a thread.
pub(super) enum Held {
    Here(Box<Remains>),
    /// On a thread, which sends them back.
    Away(oneshot::Receiver<Box<Remains>>),
    /// Somebody else's, or lost with a thread that broke.
    Elsewhere,
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
        match self.back().await {
            Some(remains) => remains.leader.wait().await,
            None => Err(io::Error::other("nobody looks after the process any more")),
        }
    }

    /// Returns the processes that are alive, apart from a first one that has exited; `None` if that is
    /// not to be found out in time.
    ///
    /// Cheap with a control group; otherwise it reads the whole table of processes.
    pub async fn leftover(&mut self) -> Option<Vec<u32>> {
        self.look(Instant::now() + KILL_LIMIT, Remains::left).await
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
        let asked_until = Instant::now() + grace;
        if self.is_settled(asked_until + KILL_LIMIT).await {
            return TreeEnd::Gone;
        }
        if !grace.is_zero() {
            if let Some(terminal) = terminal {
                terminal.hang_up();
            }
            let ask = |remains: &mut Remains| remains.tree.ask_to_end();
            self.work(asked_until, ask).await;
            let mut pause = Pause::default();
            while Instant::now() < asked_until && !self.is_empty(asked_until).await {
                let left = asked_until.saturating_duration_since(Instant::now());
                tokio::time::sleep(pause.next().min(left)).await;
            }
        }
        let deadline = Instant::now() + KILL_LIMIT;
        let (mut pause, mut rounds, mut found) = (Pause::default(), 0, Vec::new());
        loop {
            match self.work(deadline, Remains::kill).await {
                Some(None) => return TreeEnd::Gone,
                Some(Some(pids)) => found = pids,
                // The thread hangs with what it looks at.
                None => return TreeEnd::Unconfirmed { pids: found },
            }
            rounds += 1;
            if rounds >= MIN_ROUNDS && Instant::now() >= deadline {
                return TreeEnd::Unconfirmed { pids: found };
            }
            tokio::time::sleep(pause.next()).await;
        }
    }

    /// Lets the processes live on that the first one left behind when it ended by itself, as a
    /// script does that starts a service. From here on nothing ends them, not even this agent's
    /// restart.
    pub fn release(mut self) {
        let Held::Here(mut remains) = std::mem::replace(&mut self.held, Held::Elsewhere) else {
            return;
        };
        if remains.gone || (remains.tree.is_quickly_seen() && remains.settle()) {
            self.launcher.look_after(*remains);
        } else {
            remains.leader.reap();
            self.launcher.release(remains.tree);
        }
    }

    async fn is_settled(&mut self, until: Instant) -> bool {
        let settled = |remains: &mut Remains| remains.gone || remains.settle();
        self.look(until, settled).await.unwrap_or(false)
    }

    async fn is_empty(&mut self, until: Instant) -> bool {
        let empty = |remains: &mut Remains| remains.tree.is_empty();
        self.look(until, empty).await.unwrap_or(false)
    }

    /// Looks at the remains: here where that is quick, else as [`work`](Self::work) does.
    async fn look<T: Send + 'static>(
        &mut self,
        until: Instant,
        look: impl FnOnce(&mut Remains) -> T + Send + 'static,
    ) -> Option<T> {
        let remains = timeout_at(until, self.back()).await.ok()??;
        if remains.tree.is_quickly_seen() {
            return Some(look(remains));
        }
        self.work(until, look).await
    }

    /// Works on the remains on a thread; `None` if that is not done by `until`.
    async fn work<T: Send + 'static>(
        &mut self,
        until: Instant,
        work: impl FnOnce(&mut Remains) -> T + Send + 'static,
    ) -> Option<T> {
        // What was begun before is waited for no longer than this.
        timeout_at(until, self.back()).await.ok()??;
        let Held::Here(mut remains) = std::mem::replace(&mut self.held, Held::Elsewhere) else {
            return None;
        };
        let (to, away) = oneshot::channel();
        self.held = Held::Away(away);
        let launcher = self.launcher.clone();
        let working = spawn_blocking(move || {
            let done = work(&mut remains);
            if let Err(remains) = to.send(remains) {
                launcher.end(*remains);
            }
            done
        });
        timeout_at(until, working).await.ok()?.ok()
    }

    /// Waits for the remains to be back from a thread.
    ///
    /// # Cancel safety
    /// Can be dropped and called again.
    async fn back(&mut self) -> Option<&mut Remains> {
        if let Held::Away(away) = &mut self.held {
            self.held = match away.await {
                Ok(remains) => Held::Here(remains),
                Err(_) => Held::Elsewhere,
            };
        }
        match &mut self.held {
            Held::Here(remains) => Some(remains),
            Held::Away(_) | Held::Elsewhere => None,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.held, Held::Elsewhere) {
            Held::Here(remains) if remains.gone || remains.tree.is_quickly_seen() => {
                self.launcher.end(*remains);
            }
            Held::Here(remains) => {
                let launcher = self.launcher.clone();
                match tokio::runtime::Handle::try_current() {
                    Ok(runtime) => drop(runtime.spawn_blocking(move || launcher.end(*remains))),
                    Err(_) => launcher.end(*remains),
                }
            }
            // The thread that has them finds nobody to send them to.
            Held::Away(_) | Held::Elsewhere => {}
        }
    }
}

impl Remains {
    /// Takes note if nothing is alive, which is how most runs end.
    fn settle(&mut self) -> bool {
        if self.tree.is_empty() {
            self.bury();
        }
        self.gone
    }

    /// Returns what is alive apart from the leader.
    fn left(&mut self) -> Vec<u32> {
        if self.gone {
            return Vec::new();
        }
        let alive = self.tree.alive();
        if alive.is_empty() {
            self.bury();
        }
        alive
    }

    /// Takes leave of the leader, if it has exited: nothing else is alive.
    fn bury(&mut self) {
        if self.leader.reap() {
            self.tree.marks.leader_was_reaped();
            self.gone = true;
        }
    }

    /// Kills what is there, and returns it; `None` if nothing was.
    pub(super) fn kill(&mut self) -> Option<Vec<u32>> {
        let left = self.tree.kill();
        if left.is_none() {
            self.bury();
        }
        if self.gone {
            None
        } else {
            Some(left.unwrap_or_default())
        }
    }

    /// Kills for a moment, if anything is alive, on the caller's thread.
    pub(super) fn end(&mut self) {
        if self.gone || self.settle() {
            return;
        }
        let deadline = std::time::Instant::now() + DROP_LIMIT;
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
