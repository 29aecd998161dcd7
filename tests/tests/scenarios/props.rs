//! What the scenarios of runs need on the stage: marks of runs, counters of starts, gates.
#![cfg(target_os = "linux")]

use std::{
    ffi::OsStr,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use proto::{id::RunId, run::RunRequest};
use rustix::process::{Pid, Signal, kill_process};
use scenarios::{
    Finished, Lab, PATIENCE, Process,
    peer::{self, Peer},
    procfs::processes_of_run,
};

/// The agent of [`Lab::loopback`].
pub(crate) const TARGET: &str = "srv-linux-01";

/// Returns `controller run` on the target, with options and what follows them.
pub(crate) fn run_command<W: AsRef<OsStr>>(
    lab: &Lab,
    options: impl IntoIterator<Item = W>,
    words: impl IntoIterator<Item = W>,
) -> Command {
    let mut command = lab.controller(["run", "-t", TARGET]);
    command.args(options).arg("--").args(words);
    command
}

/// Runs `words` on the target to their end.
#[track_caller]
pub(crate) fn run<W: AsRef<OsStr>>(
    lab: &Lab,
    options: impl IntoIterator<Item = W>,
    words: impl IntoIterator<Item = W>,
) -> Finished {
    Process::run(run_command(lab, options, words))
}

/// Starts `sh -c script` as the run of `mark`, and waits for the line with which it says `ready`.
#[track_caller]
pub(crate) fn start_marked(lab: &Lab, mark: &Mark, options: &[&str], script: &str) -> Process {
    let id = mark.id();
    let mut all = vec!["--run-id", &id];
    all.extend(options);
    let process = Process::start(run_command(lab, all, vec!["sh", "-c", script]));
    let _ = process.wait_for_line("ready", PATIENCE);
    process
}

/// Returns an honest request for `argv` on the target.
#[track_caller]
pub(crate) fn request(lab: &Lab, argv: &[&str]) -> RunRequest {
    Peer::request(lab.mesh().fingerprint(), TARGET, argv)
}

/// Returns the folder of the control groups of the agent's runs, where it has any.
pub(crate) fn run_groups(lab: &Lab) -> Option<PathBuf> {
    let said = run(
        lab,
        vec![],
        vec!["cat", "/proc/self/cgroup", "/proc/self/mountinfo"],
    );
    let text = said.expect_success().stdout_text();
    let group = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mount = text.lines().find(|line| line.contains(" - cgroup2 "))?;
    let group = PathBuf::from(mount.split(' ').nth(4)?).join(group);
    let own = group.parent()?;
    let is_ours = own.file_name()?.to_str()?.starts_with("mesosync-");
    is_ours.then(|| own.to_owned())
}

/// Returns `agent` with a home of this size, in a mount namespace of its own.
pub(crate) fn on_a_disk_of(size: &str, agent: &Command, home: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c"]);
    command.arg("mount -t tmpfs -o size=$1 tmpfs \"$2\" && shift 2 && exec \"$@\"");
    command
        .arg("sh")
        .arg(size)
        .arg(home)
        .arg(agent.get_program())
        .args(agent.get_args());
    command.envs(
        agent
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    command
}

/// The id of a run. What is left of the run's processes at the end of the test is killed.
#[derive(Debug)]
pub(crate) struct Mark(RunId);

impl Mark {
    pub(crate) fn new() -> Self {
        Self(peer::fresh_id())
    }

    pub(crate) fn of(id: RunId) -> Self {
        Self(id)
    }

    pub(crate) fn id(&self) -> String {
        self.0.to_string()
    }

    /// Returns the processes that carry the run's mark.
    pub(crate) fn processes(&self) -> Vec<u32> {
        processes_of_run(&self.id())
    }

    #[track_caller]
    pub(crate) fn assert_nothing_left(&self, of_what: &str) {
        assert_eq!(self.processes(), [0; 0], "left by: {of_what}");
    }

    #[track_caller]
    pub(crate) fn wait_until_nothing_is_left(&self, of_what: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.processes().is_empty() {
            assert!(Instant::now() < deadline, "left by: {of_what}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        // A storm of forks may be quicker than one look.
        for _ in 0..20 {
            let left = self.processes();
            for pid in &left {
                let pid = i32::try_from(*pid).ok().and_then(Pid::from_raw);
                // One that has ended meanwhile is what is wanted.
                let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
            }
            if left.is_empty() {
                return;
            }
        }
    }
}

/// A file on the target with a line for each start of a program.
#[derive(Debug)]
pub(crate) struct Counter(PathBuf);

impl Counter {
    pub(crate) fn new(lab: &Lab) -> Self {
        Self(lab.mesh().folder().join("starts"))
    }

    /// Returns a script that notes its start and then does what `rest` says.
    pub(crate) fn script(&self, rest: &str) -> String {
        format!("echo started >>'{}'; {rest}", self.0.display())
    }

    pub(crate) fn starts(&self) -> usize {
        match fs_err::read_to_string(&self.0) {
            Ok(lines) => lines.lines().count(),
            Err(_) => 0,
        }
    }
}

/// A FIFO at which a program on the target waits until the test opens it.
#[derive(Debug)]
pub(crate) struct Gate(PathBuf);

impl Gate {
    pub(crate) fn new(folder: &Path) -> Self {
        let path = folder.join("gate");
        let made = Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        Self(path)
    }

    /// Returns the shell command that waits until the gate has been opened.
    pub(crate) fn wait(&self) -> String {
        format!("read -r _ <'{}'", self.0.display())
    }

    /// Opens the gate for one who waits. What it returns keeps the gate open until it is dropped.
    #[must_use]
    pub(crate) fn open(&self) -> File {
        // Opened for both ways, a FIFO does not wait for its reader.
        let mut gate = fs_err::OpenOptions::new();
        gate.read(true).write(true);
        let (mut gate, _) = gate.open(&self.0).unwrap().into_parts();
        gate.write_all(b"\n").unwrap();
        gate
    }
}
