//! Runs as real processes, with each means of starting them and of holding them together.
//!
//! What must be dead is looked for by its mark in `/proc`, not by asking the code under test.

mod attributes;
mod failures;
mod hanging;
mod machine;
mod terminal;
mod trees;

use std::{
    ffi::{OsStr, OsString},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use proto::id::RunId;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

use super::{Launcher, Process, containment::Means, start::Method};
use crate::agent::process::{
    Base, Command, Containment, Environment, Exit, Limits, LoaderNames, Stdin,
};

/// How long a condition is waited for; generous, since the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// A launcher with a home of its own.
struct Agent {
    launcher: Launcher,
    _home: TempDir,
}

impl Agent {
    fn with(strongest: Containment, method: Method) -> Self {
        let home = TempDir::new().unwrap();
        let means = Means::find(home.path(), strongest).forced(method);
        Self {
            launcher: Launcher::with(means).unwrap(),
            _home: home,
        }
    }

    /// The best that this machine offers.
    fn best() -> Self {
        let home = TempDir::new().unwrap();
        Self {
            launcher: Launcher::open(home.path(), Containment::Cgroup).unwrap(),
            _home: home,
        }
    }

    /// One of each kind that this machine can be made to be.
    fn each() -> impl Iterator<Item = Self> {
        let kinds = [Containment::Cgroup, Containment::Group];
        kinds
            .into_iter()
            .flat_map(|kind| Method::ALL.iter().map(move |how| Self::with(kind, *how)))
    }

    fn spawn(&self, command: &Command) -> Process {
        self.launcher.spawn(command).unwrap()
    }

    /// Runs to the end; returns the exit and what was printed.
    async fn run(&self, command: &Command) -> (Exit, Vec<u8>) {
        let mut process = self.spawn(command);
        let output = read(&mut process).await;
        let exit = process.wait().await.unwrap();
        (exit, output)
    }
}

async fn read(process: &mut Process) -> Vec<u8> {
    let mut output = Vec::new();
    process
        .stdout
        .as_mut()
        .unwrap()
        .read_to_end(&mut output)
        .await
        .unwrap();
    output
}

fn command<W: AsRef<OsStr>>(argv: impl IntoIterator<Item = W>) -> Command {
    static RUNS: AtomicU64 = AtomicU64::new(1);
    let mut id = [0; 16];
    id[..8].copy_from_slice(&RUNS.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    id[8..12].copy_from_slice(&std::process::id().to_le_bytes());
    Command {
        run: RunId::from_bytes(id),
        argv: argv
            .into_iter()
            .map(|word| word.as_ref().to_owned())
            .collect(),
        arg0: None,
        environment: environment(&[]),
        cwd: None,
        stdin: Stdin::Closed,
        limits: Limits::default(),
    }
}

fn shell(script: &str) -> Command {
    command(["/bin/sh", "-c", script])
}

fn environment(set: &[(&str, &str)]) -> Environment {
    let set = set
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Environment::new(&Base::of_this_process(), set, LoaderNames::Refuse).unwrap()
}

/// The living processes that carry the mark of `run`.
fn marked(run: RunId) -> Vec<u32> {
    let mark = format!("MESOSYNC_RUN_ID={run}");
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let environment = fs_err::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|entry| entry == mark.as_bytes())
        })
        .collect()
}

/// Waits for `condition`, which is expected to come true soon.
async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn is_alive(pid: u32) -> bool {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.starts_with(" Z"))
}

fn mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
