//! One command on a hundred agents, folded, against what people use for that over ssh: ClusterShell
//! and Ansible, each as it comes (64 and 50 hosts at a time; Ansible keeps its connections).
//!
//! The agents are emulated, in one process; each starts a process of its own. Their opponents have as
//! many hosts `127.0.1.1` …, which the client's configuration leads to one sshd.

use std::process::Command;

use scenarios::{Emulation, Lab, Place};
use tempfile::TempDir;

use crate::{
    Options,
    report::{Bound, Report, Unit},
    rounds::{Contender, medians, ratio, whole_process},
    sshd::Sshd,
};

/// How many hosts there are.
const HOSTS: usize = 100;

/// What runs on each of them: what they print is the same, so that it is folded.
const COMMAND: [&str; 2] = ["uname", "-n"];

/// The share of ClusterShell's time that a run may take.
const OF_CLUSTERSHELL: f64 = 1.0 / 10.0;

/// The share of Ansible's.
const OF_ANSIBLE: f64 = 1.0 / 15.0;

/// Ansible takes seconds for each round.
const ROUNDS: usize = 5;

/// What the opponents need, and how to have it.
const TOOLS: [(&str, &str); 2] = [
    (
        "clush",
        "ClusterShell (`pip install ClusterShell`, or Debian's clustershell)",
    ),
    (
        "ansible",
        "Ansible (`pip install ansible-core`, or Debian's ansible-core)",
    ),
];

pub(crate) fn measure(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    for (tool, package) in TOOLS {
        if Command::new(tool).arg("--version").output().is_err() {
            report.left_out(
                "fleet",
                &format!("there is no {tool}: install {package}, and put it on the PATH"),
            );
            return Ok(());
        }
    }
    let sshd = Sshd::start(options.ssh_user.as_deref())?;
    let folder = tempfile::Builder::new().prefix("bench-fleet-").tempdir()?;
    let mut clush = clush(&sshd);
    let by_clush: Contender<'_> = Box::new(move || whole_process(&mut clush));
    let mut ansible = ansible(&sshd, &folder)?;
    let by_ansible: Contender<'_> = Box::new(move || whole_process(&mut ansible));
    let rounds = options.rounds.min(ROUNDS);
    if options.peers_only {
        let [clush, ansible] = medians(rounds, [by_clush, by_ansible])?;
        report.time("100 hosts by clush", clush);
        report.time("100 hosts by ansible", ansible);
        return Ok(());
    }

    let lab = Lab::new();
    let _agents = Emulation::start(lab.mesh(), HOSTS);
    let words = ["run", "-t", "emu-[001-100]", "-b", "--"];
    let words = words.into_iter().chain(COMMAND);
    let mut run = lab.mesh().controller_at(&Place::here_unguarded(), words);
    run.env("MESOSYNC_MDNS", "false");
    if let Err(error) = whole_process(&mut run) {
        report.left_out(
            "fleet",
            &format!("this controller does not run on many targets: {error}"),
        );
        return Ok(());
    }
    let by_us: Contender<'_> = Box::new(move || whole_process(&mut run));
    let [clush, ansible, run] = medians(rounds, [by_clush, by_ansible, by_us])?;
    report.time("100 hosts by clush", clush);
    report.time("100 hosts by ansible", ansible);
    report.time("100 emulated agents by controller run", run);
    let figures = [
        ("100 agents / ClusterShell over ssh", clush, OF_CLUSTERSHELL),
        ("100 agents / Ansible over ssh", ansible, OF_ANSIBLE),
    ];
    for (name, peer, share) in figures {
        report.figure(name, ratio(run, peer), Unit::Times, Bound::AtMost(share));
    }
    Ok(())
}

fn clush(sshd: &Sshd) -> Command {
    let mut clush = Command::new("clush");
    clush
        .args(["-b", "-w", &format!("127.0.1.[1-{HOSTS}]"), "-o"])
        .arg(format!("-F {}", sshd.configuration().display()))
        .args(COMMAND)
        .env_remove("SSH_AUTH_SOCK");
    clush
}

fn ansible(sshd: &Sshd, folder: &TempDir) -> anyhow::Result<Command> {
    let inventory = folder.path().join("hosts");
    let hosts: String = (1..=HOSTS)
        .map(|host| format!("127.0.1.{host}\n"))
        .collect();
    fs_err::write(&inventory, hosts)?;
    let mut ansible = Command::new("ansible");
    ansible
        .args([
            "all",
            "-m",
            "raw",
            "-a",
            &COMMAND.join(" "),
            "-f",
            "50",
            "-i",
        ])
        .arg(&inventory)
        .current_dir(folder.path())
        .env("ANSIBLE_HOME", folder.path().join("home"))
        // Its own, and our configuration.
        .env(
            "ANSIBLE_SSH_ARGS",
            format!(
                "-C -o ControlMaster=auto -o ControlPersist=60s -F {}",
                sshd.configuration().display()
            ),
        )
        .env_remove("SSH_AUTH_SOCK");
    Ok(ansible)
}
