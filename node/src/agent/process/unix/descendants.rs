//! Finding the processes of a run without a control group, and signalling exactly those.
//!
//! A process belongs to a run if it is in its session or process group, is a child of one that
//! belongs, carries the run's mark in its environment, or was seen to belong before.
//!
//! **Invariant:** no process is signalled unless it was just found to be the one that was meant: a
//! process id is a number that the kernel gives away again, so it goes with the time of its start.

use std::collections::HashMap;
#[cfg(target_os = "linux")]
use std::collections::HashSet;

use proto::id::RunId;
use rustix::process::Signal;

use crate::agent::process::RUN_ID_VARIABLE;

#[cfg(target_os = "linux")]
#[path = "descendants/linux.rs"]
mod table;
#[cfg(target_os = "macos")]
#[path = "descendants/macos.rs"]
mod table;

/// How often a search is repeated while new processes keep turning up; each round stops the ones it
/// finds, so only a race against the search itself needs another.
const MAX_ROUNDS: usize = 20;

/// A line of the system's table of processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    pid: u32,
    parent: u32,
    group: u32,
    session: u32,
    /// Exited, and only waiting for its parent to notice.
    dead: bool,
    /// When it started, in the system's own unit.
    started: u64,
}

/// What marks the processes of one run.
pub(super) struct Marks {
    /// The leader of session and group. `None` before its birth and once it was reaped, when its
    /// number means nothing.
    leader: Option<u32>,
    /// The run's id as an entry of the environment.
    mark: Vec<u8>,
    /// All that were ever found, with the time of their start.
    known: HashMap<u32, u64>,
}

impl Marks {
    pub(super) fn new(run: RunId) -> Self {
        let mark = format!("{RUN_ID_VARIABLE}={run}").into_bytes();
        Self {
            leader: None,
            mark,
            known: HashMap::new(),
        }
    }

    /// Takes the session and the group of `leader`, a child of this process, for the run's.
    pub(super) fn led_by(&mut self, leader: u32) {
        self.leader = Some(leader);
    }

    /// Forgets the leader, since its process id may from now on be another's.
    pub(super) fn leader_was_reaped(&mut self) {
        self.leader = None;
    }

    /// Returns the living processes of the run.
    pub(super) fn find(&mut self) -> Vec<u32> {
        self.look(|_| {})
    }

    /// Stops what is found, on sight, until nothing new turns up, and then sends `signals` to all of
    /// it: no storm of forks outruns the search, and no parent dies before its children were found.
    ///
    /// Returns what was found.
    pub(super) fn signal(&mut self, signals: &[Signal]) -> Vec<u32> {
        let stop = |entry: &Entry| entry.send(Signal::STOP);
        let mut found = self.look(stop);
        for _ in 0..MAX_ROUNDS {
            if found.is_empty() {
                return found;
            }
            self.send_to_known(Signal::STOP);
            let again = self.look(stop);
            let settled = again.iter().all(|pid| found.contains(pid));
            found = again;
            if settled {
                break;
            }
        }
        signals
            .iter()
            .for_each(|signal| self.send_to_known(*signal));
        found
    }

    fn look(&mut self, on_sight: impl Fn(&Entry)) -> Vec<u32> {
        let this_process = std::process::id();
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        table::visit(|entry| {
            if entry.dead || entry.pid == this_process {
                return;
            }
            if self.is_known(&entry) || table::environment_contains(entry.pid, &self.mark) {
                on_sight(&entry);
                inside.push(entry);
            } else {
                outside.push(entry);
            }
        });
        adopt_children(&mut inside, outside);
        self.known = inside
            .iter()
            .map(|entry| (entry.pid, entry.started))
            .collect();
        self.known.keys().copied().collect()
    }

    fn is_known(&self, entry: &Entry) -> bool {
        self.known.get(&entry.pid) == Some(&entry.started)
            || self.leader.is_some_and(|leader| {
                [entry.pid, entry.group, entry.session, entry.parent].contains(&leader)
            })
    }

    fn send_to_known(&self, signal: Signal) {
        for (pid, started) in &self.known {
            send(*pid, signal, || table::started(*pid) == Some(*started));
        }
    }
}

/// Moves from `outside` to `inside` what descends from there.
fn adopt_children(inside: &mut Vec<Entry>, mut outside: Vec<Entry>) {
    loop {
        let is_child = |entry: &Entry| inside.iter().any(|parent| parent.pid == entry.parent);
        let (children, others): (Vec<_>, Vec<_>) = outside.into_iter().partition(is_child);
        if children.is_empty() {
            return;
        }
        inside.extend(children);
        outside = others;
    }
}

impl Entry {
    fn send(&self, signal: Signal) {
        send(self.pid, signal, || {
            table::started(self.pid) == Some(self.started)
        });
    }
}

/// Kills those of `pids` that `members` still names after their process can no longer be mistaken.
#[cfg(target_os = "linux")]
pub(super) fn kill_members(pids: &[u32], members: impl Fn() -> Vec<u32>) {
    signal_members(pids, &[Signal::KILL], members);
}

/// Sends `signals` to those of `pids` that `members` still names after their process can no longer be
/// mistaken.
///
/// Many are pinned before the members are read once: to read them for each would take the square of
/// their number.
#[cfg(target_os = "linux")]
pub(super) fn signal_members(pids: &[u32], signals: &[Signal], members: impl Fn() -> Vec<u32>) {
    /// Descriptors held at once.
    const PINNED: usize = 256;
    for some in pids.chunks(PINNED) {
        let pinned: Vec<Pinned> = some.iter().filter_map(|pid| Pinned::new(*pid)).collect();
        let members: HashSet<u32> = members().into_iter().collect();
        for process in pinned.iter().filter(|one| members.contains(&one.pid)) {
            signals.iter().for_each(|signal| process.send(*signal));
        }
    }
}

/// A process whose number means nobody else while this is held, where the system can.
#[cfg(target_os = "linux")]
struct Pinned {
    pid: u32,
    /// `None` before Linux 5.3.
    process: Option<std::os::fd::OwnedFd>,
}

#[cfg(target_os = "linux")]
impl Pinned {
    /// Returns `None` if there is no such process.
    fn new(pid: u32) -> Option<Self> {
        use rustix::process::{PidfdFlags, pidfd_open};
        let process = match pidfd_open(raw(pid)?, PidfdFlags::empty()) {
            Ok(process) => Some(process),
            Err(rustix::io::Errno::NOSYS) => None,
            Err(error) => {
                tracing::debug!(pid, %error, "process not signalled");
                return None;
            }
        };
        Some(Self { pid, process })
    }

    fn send(&self, signal: Signal) {
        use rustix::process::{kill_process, pidfd_send_signal};
        let sent = match (&self.process, raw(self.pid)) {
            (Some(process), _) => pidfd_send_signal(process, signal),
            (None, Some(pid)) => kill_process(pid, signal),
            (None, None) => return,
        };
        if let Err(error) = sent {
            tracing::debug!(pid = self.pid, %error, "process not signalled");
        }
    }
}

/// Sends `signal` to `pid` if `is_meant` says so after the process was pinned.
#[cfg(target_os = "linux")]
fn send(pid: u32, signal: Signal, is_meant: impl Fn() -> bool) {
    if let Some(process) = Pinned::new(pid).filter(|_| is_meant()) {
        process.send(signal);
    }
}

/// Sends `signal` to `pid` if `is_meant` says so.
#[cfg(not(target_os = "linux"))]
fn send(pid: u32, signal: Signal, is_meant: impl Fn() -> bool) {
    if let Some(pid) = raw(pid).filter(|_| is_meant())
        && let Err(error) = rustix::process::kill_process(pid, signal)
    {
        tracing::debug!(?pid, %error, "process not signalled");
    }
}

fn raw(pid: u32) -> Option<rustix::process::Pid> {
    i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leader_session_group_and_known_processes_belong_and_others_do_not() {
        let mut marks = Marks::new(RunId::from_bytes([7; 16]));
        marks.led_by(100);
        marks.known = HashMap::from([(600, 6), (700, 99)]);

        assert!(marks.is_known(&entry(100, 1, 100, 100)));
        assert!(marks.is_known(&entry(101, 1, 100, 1)), "its group");
        assert!(marks.is_known(&entry(102, 1, 102, 100)), "its session");
        assert!(marks.is_known(&entry(103, 100, 103, 103)), "its child");
        assert!(marks.is_known(&entry(600, 1, 600, 600)), "seen before");
        assert!(
            !marks.is_known(&entry(700, 1, 700, 700)),
            "the same number, another process"
        );
        assert!(!marks.is_known(&entry(1, 0, 1, 1)));
    }

    #[test]
    fn a_reaped_leader_claims_nobody() {
        let mut marks = Marks::new(RunId::from_bytes([7; 16]));
        marks.led_by(100);

        marks.leader_was_reaped();

        assert!(!marks.is_known(&entry(100, 1, 100, 100)));
    }

    #[test]
    fn descendants_are_adopted_in_whatever_order_they_are_listed() {
        let mut inside = vec![entry(100, 1, 100, 100)];
        let outside = vec![
            entry(300, 200, 1, 1),
            entry(200, 100, 1, 1),
            entry(400, 1, 1, 1),
        ];

        adopt_children(&mut inside, outside);

        let pids: Vec<_> = inside.iter().map(|entry| entry.pid).collect();
        assert_eq!(pids, [100, 200, 300]);
    }

    fn entry(pid: u32, parent: u32, group: u32, session: u32) -> Entry {
        Entry {
            pid,
            parent,
            group,
            session,
            dead: false,
            started: u64::from(pid) / 100,
        }
    }
}
