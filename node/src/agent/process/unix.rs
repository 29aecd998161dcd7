//! Processes on Linux and macOS.
//!
//! Owns the choice of the best means that the machine offers, made once by [`Launcher::open`]. The
//! parts: `program` finds the file, `image` is what the child does, `start` makes the child, `leader`
//! waits for it, `tree` ends all that came of it, `process` is one run's whole life. `pipes` and
//! `terminal` are what stands between a program and the agent.

use std::{
    fmt, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use proto::id::RunId;
use rustix::process::Signal;

mod account;
#[cfg(target_os = "linux")]
mod cgroup;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod clone3;
mod containment;
mod descendants;
mod image;
mod leader;
mod pipes;
mod process;
mod program;
mod start;
mod terminal;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
mod tree;

use self::{
    containment::Means,
    descendants::Marks,
    image::Image,
    leader::Leader,
    pipes::Pipes,
    process::{Held, MIN_ROUNDS, Remains},
    start::Failed,
};
use super::{Command, Containment, OsCode, SpawnError, Stdin, Step};

pub use self::{process::Process, terminal::Terminal};

/// How long processes of lost runs are waited for after they were killed.
const LOST_LIMIT: Duration = Duration::from_secs(2);

/// The same for what dropped processes left, at the end of the agent.
const CLOSE_LIMIT: Duration = LOST_LIMIT;

/// Starts programs; made once for an agent, and cheap to clone.
#[derive(Clone)]
pub struct Launcher {
    shared: Arc<Shared>,
}

struct Shared {
    means: Means,
    null: OwnedFd,
    /// What was dropped and has not died yet.
    dying: Mutex<Vec<Remains>>,
}

impl Launcher {
    /// Finds out how runs can be held together on this machine, and kills what an earlier agent with
    /// the same `home` left in its control group, because such a run is lost: nobody reads its output
    /// or could end it. The caller holds the lock of `home`.
    ///
    /// `strongest` is what to use at most: with [`Containment::Group`] control groups are not tried.
    ///
    /// # Errors
    /// If `home` is not there, or `/dev/null`.
    pub fn open(home: &Path, strongest: Containment) -> Result<Self, OpenLauncherError> {
        let home = fs_err::canonicalize(home).map_err(|source| OpenLauncherError::Home {
            path: home.to_owned(),
            source,
        })?;
        Self::with(Means::find(&home, strongest))
    }

    fn with(means: Means) -> Result<Self, OpenLauncherError> {
        let null = fs_err::File::open("/dev/null")
            .map_err(|source| OpenLauncherError::Null { source })?
            .into_parts()
            .0
            .into();
        let shared = Shared {
            means,
            null,
            dying: Mutex::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Returns what holds the processes of a run together.
    #[must_use]
    pub fn containment(&self) -> Containment {
        self.shared.means.containment()
    }

    /// Starts a program. It runs when this returns.
    ///
    /// Blocks for as long as the kernel takes to load the program, as every start does.
    ///
    /// # Errors
    /// See [`SpawnError`]; then nothing of it runs.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn spawn(&self, command: &Command) -> Result<Process, SpawnError> {
        self.shared.sweep();
        let mut image = Image::new(command)?;
        let opening = match command.stdin {
            Stdin::Closed | Stdin::Piped => Step::Pipes,
            Stdin::Terminal(_) => Step::Terminal,
        };
        let pipes = Pipes::open(command.stdin).map_err(resources(opening))?;
        let means = &self.shared.means;
        let tree = means.tree(&mut image, command.run);
        let mut tree = tree.map_err(resources(Step::Cgroup))?;
        let stdio = pipes.stdio(&self.shared.null);
        let mut tried = means.start(&image, stdio, &tree);
        if tried.is_err() && tree.is_misplaced() {
            // Somebody tidies up control groups that are empty. The next one is made just now.
            means.give_back(tree);
            tree = means
                .tree(&mut image, command.run)
                .map_err(resources(Step::Cgroup))?;
            tried = means.start(&image, stdio, &tree);
        }
        let started = match tried {
            Ok(started) => started,
            Err(Failed { step, errno }) => {
                means.give_back(tree);
                return Err(image.failure(command, step, errno));
            }
        };
        let pid = started.pid;
        tree.marks.led_by(pid);
        let leader = Leader::new(started).map_err(|error| {
            // Nobody could wait for it, so it must not live.
            tree.kill();
            resources(Step::Pipes)(error)
        })?;
        let Pipes {
            stdin,
            stdout,
            stderr,
            terminal,
            ..
        } = pipes;
        let held = Held::Here(Box::new(Remains {
            leader,
            tree,
            gone: false,
        }));
        Ok(Process {
            stdin,
            stdout: Some(stdout),
            stderr,
            terminal,
            pid,
            held,
            launcher: self.clone(),
        })
    }

    /// Kills what is left of runs whose agent died, found by their mark, and returns the processes
    /// that did not die.
    ///
    /// Blocks until they are dead, a few seconds at the longest: for the start of an agent.
    pub fn kill_lost(&self, runs: &[RunId]) -> Vec<u32> {
        let deadline = Instant::now() + LOST_LIMIT;
        let mut marks: Vec<_> = runs.iter().map(|run| Marks::new(*run)).collect();
        let mut left = Vec::new();
        for round in 0.. {
            left = marks
                .iter_mut()
                .flat_map(|marks| marks.signal(&[Signal::KILL]))
                .collect();
            if left.is_empty() || (round >= MIN_ROUNDS && Instant::now() >= deadline) {
                break;
            }
            tracing::warn!(processes = left.len(), "killed what a lost run had left");
            thread::sleep(Duration::from_millis(5));
        }
        left
    }

    /// Lets what is alive of `tree` live on.
    fn release(&self, tree: tree::Tree) {
        self.shared.means.release(tree);
    }

    /// Ends what is left of a process that nobody waits for any more; blocks for a moment.
    fn end(&self, mut remains: Remains) {
        remains.end();
        self.look_after(remains);
    }

    /// Sees that `remains` die and are reaped, at once or later.
    fn look_after(&self, remains: Remains) {
        if remains.gone {
            self.shared.means.give_back(remains.tree);
        } else {
            self.shared
                .dying
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(remains);
        }
    }
}

impl Shared {
    /// Lets go of what has died meanwhile; returns whether that is all.
    fn sweep(&self) -> bool {
        let mut dying = self.dying.lock().unwrap_or_else(PoisonError::into_inner);
        for mut remains in std::mem::take(&mut *dying) {
            match remains.kill() {
                None => self.means.give_back(remains.tree),
                Some(_) => dying.push(remains),
            }
        }
        dying.is_empty()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let deadline = Instant::now() + CLOSE_LIMIT;
        while !self.sweep() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn resources(step: Step) -> impl Fn(io::Error) -> SpawnError {
    move |error| SpawnError::Resources {
        step,
        why: OsCode::of(&error),
    }
}

/// Why programs cannot be started at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenLauncherError {
    /// The agent's home is not there.
    #[error("find the agent's home {path}")]
    Home {
        /// As configured.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// There is nothing to read for programs without input.
    #[error("open /dev/null")]
    Null {
        /// What the operating system said.
        source: io::Error,
    },
}

impl fmt::Debug for Launcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Launcher")
            .field("means", &self.shared.means)
            .finish_non_exhaustive()
    }
}
