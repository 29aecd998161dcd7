//! Everything that a run has become: its control group if it has one, and its descendants.
//!
//! Each call is one step and returns at once; who calls decides how long to go on.

use rustix::process::Signal;

use super::descendants::Marks;
#[cfg(target_os = "linux")]
use super::{
    cgroup::Cgroup,
    descendants::{kill_members, signal_members},
};

pub(super) struct Tree {
    #[cfg(target_os = "linux")]
    pub(super) cgroup: Option<Cgroup>,
    pub(super) marks: Marks,
}

impl Tree {
    /// Tells whether its control group was removed by somebody else.
    pub(super) fn is_misplaced(&self) -> bool {
        #[cfg(target_os = "linux")]
        if let Some(cgroup) = &self.cgroup {
            return cgroup.is_removed();
        }
        false
    }

    /// Tells whether looking takes no time and cannot block, as reading other processes' memory can.
    pub(super) fn is_quickly_seen(&self) -> bool {
        #[cfg(target_os = "linux")]
        if self.cgroup.is_some() {
            return true;
        }
        false
    }

    /// Returns the living processes, of the control group alone if there is one.
    pub(super) fn alive(&mut self) -> Vec<u32> {
        #[cfg(target_os = "linux")]
        if let Some(cgroup) = &self.cgroup {
            return if cgroup.is_populated() {
                cgroup.pids()
            } else {
                Vec::new()
            };
        }
        self.marks.find()
    }

    /// Tells whether nothing is alive, as [`alive`](Self::alive) sees it but cheaper.
    pub(super) fn is_empty(&mut self) -> bool {
        #[cfg(target_os = "linux")]
        if let Some(cgroup) = &self.cgroup {
            return !cgroup.is_populated();
        }
        self.marks.find().is_empty()
    }

    /// Asks all to end. The stopped ones are woken, since they could not obey otherwise.
    pub(super) fn ask_to_end(&mut self) {
        #[cfg(target_os = "linux")]
        if let Some(cgroup) = &self.cgroup {
            let signals = [Signal::TERM, Signal::CONT];
            signal_members(&cgroup.pids(), &signals, || cgroup.pids());
            return;
        }
        self.marks.signal(&[Signal::TERM, Signal::CONT]);
    }

    /// Kills what is there, and returns it; `None` only if nothing was found at all.
    ///
    /// With a control group, processes that carry the run's mark are looked for as well once it is
    /// empty: root can move itself into another group.
    pub(super) fn kill(&mut self) -> Option<Vec<u32>> {
        #[cfg(target_os = "linux")]
        if let Some(cgroup) = self.cgroup.as_mut().filter(|cgroup| cgroup.is_populated()) {
            if cgroup.kill().is_err() {
                kill_members(&cgroup.pids(), || cgroup.pids());
                cgroup.thaw();
            }
            return Some(cgroup.pids());
        }
        Some(self.marks.signal(&[Signal::KILL])).filter(|found| !found.is_empty())
    }
}
