//! `controller quickstart`: whole on any machine, and nothing left afterwards, however it ends.

use std::{path::Path, process::Command};

use rustix::process::Signal;
use scenarios::{Binaries, Lan, PATIENCE, Place, Process, eventually, procfs};
use tempfile::TempDir;

use crate::identity::{assert_harmless, assert_says};

/// A machine with one interface, and a folder for the demonstration's files.
struct Machine {
    lan: Lan,
    folder: TempDir,
}

impl Machine {
    fn new() -> Self {
        Self {
            lan: Lan::new(1),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn place(&self) -> Place {
        self.lan.place(self.lan.host(1))
    }

    fn quickstart(&self) -> Command {
        let mut command = self
            .place()
            .clean_command(&Binaries::get().controller, self.folder.path());
        command.arg("quickstart").env("TMPDIR", self.folder.path());
        command
    }

    /// The processes that have inherited this machine's folder: the quickstart and its agent.
    fn processes(&self) -> Vec<u32> {
        procfs::processes_with("TMPDIR", self.folder.path().to_str().unwrap())
    }

    fn files(&self) -> Vec<String> {
        files(self.folder.path())
    }

    /// Waits until neither a process nor a file of the demonstration is left.
    #[track_caller]
    fn assert_empty(&self) {
        eventually(PATIENCE, || self.processes().is_empty());
        assert_eq!(self.files(), [""; 0]);
    }
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

/// The process of the demonstration's agent, from what the quickstart wrote.
fn agent_of(quickstart: &Process) -> u32 {
    let line = quickstart.wait_for_line("UDP port", PATIENCE);
    let number = line.trim().strip_prefix("process ").unwrap();
    number.split(',').next().unwrap().parse().unwrap()
}

/// The processes below `pid`, which end with it or not.
fn below(pid: u32) -> Vec<u32> {
    // A thread of its own has started each.
    let tasks = fs_err::read_dir(format!("/proc/{pid}/task"));
    let children: Vec<u32> = tasks
        .into_iter()
        .flatten()
        .filter_map(|task| fs_err::read_to_string(task.ok()?.path().join("children")).ok())
        .flat_map(|pids| {
            pids.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .map(|pid| pid.parse().unwrap())
        .collect();
    let grandchildren: Vec<u32> = children.iter().flat_map(|child| below(*child)).collect();
    [children, grandchildren].concat()
}

/// Starts the quickstart and waits until its command streams; returns the processes of its own.
fn streaming(machine: &Machine) -> (Process, Vec<u32>) {
    let quickstart = Process::start(machine.quickstart());
    let agent = agent_of(&quickstart);
    let _ = quickstart.wait_for_line("2: ", PATIENCE);
    let mut all = below(agent);
    assert!(!all.is_empty(), "the command runs below the agent");
    all.push(agent);
    (quickstart, all)
}

#[track_caller]
fn assert_shows_all(said: &str) {
    assert_says(
        said,
        &[
            "1/5  ",
            "fingerprint ",
            "2/5  ",
            "3/5  ",
            "4/5  ",
            "5: ",
            "exit code 0",
            "5/5  ",
            "linux",
            "controller pki init",
            "controller pki issue agent srv-linux-01",
            "controller run -t srv-linux-01 -- uname -a",
        ],
    );
    assert_harmless(said);
}

#[test]
fn quickstart_on_a_lan_finds_its_agent_by_mdns_and_leaves_nothing() {
    let machine = Machine::new();

    let shown = Process::run(machine.quickstart()).expect_success();

    let said = shown.stdout_text();
    assert_shows_all(&said);
    assert_says(
        &said,
        &["agent/this-machine at 10.77.0.1:", " by mDNS, verified"],
    );
    assert_eq!(shown.stderr_text(), "");
    machine.assert_empty();
}

#[test]
fn quickstart_without_a_network_falls_back_to_the_loopback_and_says_so() {
    let machine = Machine::new();
    machine.lan.remove_link(machine.lan.host(1));

    let shown = Process::run(machine.quickstart()).expect_success();

    let said = shown.stdout_text();
    assert_shows_all(&said);
    assert_says(
        &said,
        &[
            "no mDNS here: no network interface with an IPv4 address can multicast",
            "agent/this-machine at 127.0.0.1:",
            " by known address, verified",
        ],
    );
    assert_eq!(shown.stderr_text(), "");
    machine.assert_empty();
}

#[test]
fn quickstart_keeps_its_files_where_it_is_told_to() {
    let machine = Machine::new();
    let kept = machine.folder.path().join("kept");
    let mut command = machine.quickstart();
    command.arg("--dir").arg(&kept);

    let shown = Process::run(command).expect_success();

    assert_says(&shown.stdout_text(), &[kept.to_str().unwrap()]);
    assert_eq!(machine.files(), ["kept"]);
    assert!(files(&kept).contains(&"agent.identity".to_owned()));
    assert!(machine.processes().is_empty());
    let mut again = machine.quickstart();
    again.arg("--dir").arg(&kept);
    let refused = Process::run(again);
    assert_ne!(refused.code(), Some(0));
    assert_says(&refused.stderr_text(), &[kept.to_str().unwrap()]);
}

#[test]
fn a_killed_quickstart_leaves_neither_process_nor_file() {
    let machine = Machine::new();
    let (mut quickstart, all) = streaming(&machine);

    quickstart.signal(Signal::KILL);

    eventually(PATIENCE, || !all.iter().any(|pid| procfs::is_alive(*pid)));
    machine.assert_empty();
}

#[test]
fn a_quickstart_killed_before_it_links_leaves_neither_process_nor_file() {
    let machine = Machine::new();
    let mut quickstart = Process::start(machine.quickstart());
    let agent = agent_of(&quickstart);

    quickstart.signal(Signal::KILL);

    eventually(PATIENCE, || !procfs::is_alive(agent));
    machine.assert_empty();
}

#[test]
fn an_interrupted_quickstart_leaves_neither_process_nor_file() {
    for signal in [Signal::INT, Signal::TERM] {
        let machine = Machine::new();
        let (mut quickstart, all) = streaming(&machine);

        quickstart.signal(signal);

        let ended = quickstart.wait_exit(PATIENCE);
        assert_ne!(ended.code(), Some(0), "{signal:?}");
        eventually(PATIENCE, || !all.iter().any(|pid| procfs::is_alive(*pid)));
        machine.assert_empty();
    }
}

#[test]
fn an_unprivileged_user_runs_the_quickstart() {
    let machine = Machine::new();
    let program = machine.folder.path().join("controller");
    let work = machine.folder.path().join("work");
    fs_err::copy(&Binaries::get().controller, &program).unwrap();
    fs_err::create_dir(&work).unwrap();
    let mut command = machine.place().clean_command(
        // A test that is not root itself shows the same without it.
        if rustix::process::geteuid().is_root() {
            give_away(machine.folder.path());
            "setpriv"
        } else {
            "env"
        },
        &work,
    );
    if rustix::process::geteuid().is_root() {
        command.args([
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
            "--",
        ]);
    }
    command.arg(&program).arg("quickstart").env("TMPDIR", &work);

    let shown = Process::run(command).expect_success();

    assert_shows_all(&shown.stdout_text());
    assert_says(&shown.stdout_text(), &["by mDNS, verified"]);
    assert_eq!(files(&work), [""; 0]);
    assert!(procfs::processes_with("TMPDIR", work.to_str().unwrap()).is_empty());
}

/// Lets the user `nobody` use a folder.
fn give_away(folder: &Path) {
    for path in [folder.to_owned(), folder.join("work")] {
        std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
    }
}
