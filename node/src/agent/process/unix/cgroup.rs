//! Control groups (version 2): one for each run, below one of the agent's own.
//!
//! Owns finding the hierarchy, the directories in it, and killing all that is inside one. Groups are
//! used again by later runs once they are empty, so that a run waits neither for `mkdir` nor `rmdir`.
//!
//! **Invariant:** a group is given to a run only while it is empty.

use std::{
    fs::File,
    io::{self, Write as _},
    os::{fd::AsRawFd as _, unix::fs::FileExt as _},
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use fs_err as fs;

use super::start::Group;

/// How the names of agents' groups begin.
const PREFIX: &str = "mesosync-";

/// Empty groups kept for later runs; more than a few only matter to bursts.
const MAX_IDLE: usize = 4;

/// How long what a dead agent left is waited for after it was killed.
const LEFTOVER_LIMIT: Duration = Duration::from_secs(2);

/// How often the processes of a group are moved before those that are new each time are left.
const RELEASE_ROUNDS: usize = 20;

/// Groups below a run's own that are looked into; a run that makes more is still killed whole.
const MAX_SUBGROUPS: usize = 1000;

/// The group of this agent, and the groups of its runs in it.
pub(super) struct Groups {
    own: PathBuf,
    /// Where released processes live on, beside `own`.
    released: PathBuf,
    /// The directory of `own`, locked for as long as this agent lives.
    _lock: File,
    /// Whether memory can be limited for a group.
    memory: bool,
    made: AtomicU64,
    idle: Mutex<Vec<Cgroup>>,
}

/// The group of one run.
pub(super) struct Cgroup {
    path: PathBuf,
    directory: File,
    procs: File,
    events: File,
    /// Not to be used again: because it has limits, and what it was charged would count against the
    /// next run; or because it was killed, and Linux 6.18 at least kills whatever `clone3` puts into a
    /// group that was killed before (a run would end by SIGKILL at once).
    spent: bool,
}

impl Groups {
    /// Makes the group of the agent of `home` beside this process, and kills what an earlier agent left in it.
    ///
    /// Returns how many processes were left.
    pub(super) fn open(home: &str) -> io::Result<(Self, usize)> {
        let name = format!("{PREFIX}{home}");
        let beside = own_directory()?;
        let mut own = beside.join(&name);
        let released = beside.join(format!("{name}-released"));
        let left = if own.exists() { clear(&own)? } else { 0 };
        if own.exists() {
            // Something in it does not die, which is no reason not to serve.
            own = beside.join(format!("{name}-{}", std::process::id()));
        }
        let lock = make_locked(&own)?;
        remove_abandoned(&beside);
        // Either refusal means that memory cannot be limited here, which `memory` records.
        let _ = fs::write(beside.join("cgroup.subtree_control"), "+memory");
        let memory = fs::write(own.join("cgroup.subtree_control"), "+memory").is_ok();
        let groups = Self {
            own,
            released,
            _lock: lock,
            memory,
            made: AtomicU64::new(0),
            idle: Mutex::default(),
        };
        groups.give_back(groups.make()?);
        Ok((groups, left))
    }

    /// Returns an empty group without limits.
    pub(super) fn take(&self) -> io::Result<Cgroup> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(group) = idle.pop() {
            // One that somebody else has removed does not say that it is empty.
            if !group.is_populated() {
                return Ok(group);
            }
        }
        self.make()
    }

    /// Returns an empty group whose processes may use so many bytes together, if the kernel can.
    pub(super) fn take_limited(&self, memory: u64) -> io::Result<Option<Cgroup>> {
        if !self.memory {
            return Ok(None);
        }
        let mut group = self.make()?;
        group.spent = true;
        fs::write(group.path.join("memory.max"), memory.to_string())?;
        // Swap would only make the limit slow; where it is not accounted, there is no such file.
        let _ = fs::write(group.path.join("memory.swap.max"), "0");
        Ok(Some(group))
    }

    /// Keeps an empty group for a later run, or removes it.
    pub(super) fn give_back(&self, group: Cgroup) {
        let mut idle = self.lock_idle();
        if group.is_removed() {
            // Whoever did that has not spared the others.
            return idle.clear();
        }
        let plain = !group.spent && subgroups(&group.path).len() == 1;
        if plain && idle.len() < MAX_IDLE {
            idle.push(group);
        } else {
            remove(&group.path);
        }
    }

    /// Moves what is alive in `group` to where nothing kills it. What forks faster than it is moved
    /// stays behind, and is killed when the agent starts again.
    pub(super) fn release(&self, group: Cgroup) {
        let procs = self.released.join("cgroup.procs");
        for _ in 0..RELEASE_ROUNDS {
            // Each time: another agent may take it for abandoned while nothing is in it yet.
            if let Err(error) = fs::create_dir_all(&self.released) {
                tracing::warn!(%error, "no control group for released processes");
            }
            let pids = group.pids();
            if pids.is_empty() {
                return self.give_back(group);
            }
            for pid in pids {
                // One that has ended meanwhile cannot be moved, and need not be.
                let _ = write_to(&procs, pid.to_string().as_bytes());
            }
        }
        tracing::warn!(pids = ?group.pids(), "released processes stay in their run's control group");
    }

    #[cfg(test)]
    pub(super) fn own(&self) -> &Path {
        &self.own
    }

    fn make(&self) -> io::Result<Cgroup> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let path = self.own.join(format!("run-{number}"));
        fs::create_dir_all(&path)?;
        Cgroup::open(path)
    }

    fn lock_idle(&self) -> MutexGuard<'_, Vec<Cgroup>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        remove(&self.own);
        if self.released.exists() {
            remove(&self.released);
        }
    }
}

impl Cgroup {
    fn open(path: PathBuf) -> io::Result<Self> {
        Ok(Self {
            directory: open(&path, false)?,
            procs: open(&path.join("cgroup.procs"), true)?,
            events: open(&path.join("cgroup.events"), false)?,
            path,
            spent: false,
        })
    }

    pub(super) fn group(&self) -> Group {
        Group {
            directory: self.directory.as_raw_fd(),
            procs: self.procs.as_raw_fd(),
        }
    }

    /// Tells whether somebody else has removed the group.
    pub(super) fn is_removed(&self) -> bool {
        !self.path.exists()
    }

    /// Tells whether a process is alive in the group or below it. Where that cannot be read: no if
    /// somebody has removed the group, which can be done only while it is empty, and else yes.
    pub(super) fn is_populated(&self) -> bool {
        let mut events = [0; 256];
        let Ok(read) = self.events.read_at(&mut events, 0) else {
            return !self.is_removed();
        };
        !events[..read]
            .split(|byte| *byte == b'\n')
            .any(|line| line == b"populated 0")
    }

    /// Returns the processes in the group and below it.
    pub(super) fn pids(&self) -> Vec<u32> {
        subgroups(&self.path)
            .iter()
            .flat_map(|group| pids(group))
            .collect()
    }

    /// Kills all that is in the group, however fast it forks. Where the kernel is older than 5.14 only
    /// stops it: the caller kills by process id then.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        self.spent = true;
        let killed = write_to(&self.path.join("cgroup.kill"), b"1");
        if killed.is_err() {
            let _ = write_to(&self.path.join("cgroup.freeze"), b"1");
        }
        killed
    }

    /// Lets what was stopped by [`kill`](Self::kill) run again, so that it can die.
    pub(super) fn thaw(&self) {
        let _ = write_to(&self.path.join("cgroup.freeze"), b"0");
    }
}

/// The directory of this process's own group, as it is mounted here.
fn own_directory() -> io::Result<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    find_directory(&groups, &mounts).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            "no control group hierarchy version 2",
        )
    })
}

/// Finds the version 2 group in the text of `/proc/self/cgroup`, and its place in that of
/// `/proc/self/mountinfo` (see `proc_pid_mountinfo(5)`).
fn find_directory(groups: &str, mounts: &str) -> Option<PathBuf> {
    let group = Path::new(groups.lines().find_map(|line| line.strip_prefix("0::"))?);
    mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        if kind.split(' ').next() != Some("cgroup2") {
            return None;
        }
        let mut fields = mount.split(' ').skip(3).map(unescape);
        let (root, point) = (fields.next()?, fields.next()?);
        let inside = group.strip_prefix(&root).ok()?;
        // Joining an empty path would append a slash.
        Some(if inside.as_os_str().is_empty() {
            point.into()
        } else {
            Path::new(&point).join(inside)
        })
    })
}

/// Undoes the octal escapes of blanks and backslashes.
fn unescape(field: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .iter()
    .fold(field.to_owned(), |text, (escape, plain)| {
        text.replace(escape, plain)
    })
}

/// Kills what is in the group of a dead agent, and removes it.
fn clear(own: &Path) -> io::Result<usize> {
    let left: usize = subgroups(own).iter().map(|group| pids(group).len()).sum();
    let mut group = Cgroup::open(own.to_owned())?;
    let deadline = Instant::now() + LEFTOVER_LIMIT;
    while group.is_populated() {
        if group.kill().is_err() {
            super::descendants::kill_members(&group.pids(), || group.pids());
            group.thaw();
        }
        if Instant::now() > deadline {
            tracing::error!(pids = ?group.pids(), "processes of an earlier agent do not die");
            break;
        }
        thread::sleep(Duration::from_millis(1));
    }
    remove(own);
    Ok(left)
}

/// Removes the empty groups of agents that died and whose home is not used any more: a group is locked
/// while its agent lives. Groups that are not empty are left to the next agent of their home.
fn remove_abandoned(beside: &Path) {
    let entries = fs::read_dir(beside).into_iter().flatten().flatten();
    let agents = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    for path in agents.map(|entry| entry.path()) {
        let Ok(lock) = open(&path, false) else {
            continue;
        };
        let is_abandoned = lock.try_lock().is_ok();
        if is_abandoned && Cgroup::open(path.clone()).is_ok_and(|group| !group.is_populated()) {
            remove(&path);
        }
    }
}

/// Makes a directory and locks it, again if another agent took it for abandoned in between.
fn make_locked(path: &Path) -> io::Result<File> {
    /// Each is a race lost to another agent that starts at the same moment.
    const MAX_TRIES: usize = 8;
    for _ in 0..MAX_TRIES {
        fs::create_dir_all(path)?;
        if let Ok(directory) = open(path, false)
            && directory.try_lock().is_ok()
            && path.exists()
        {
            return Ok(directory);
        }
        thread::sleep(Duration::from_millis(1));
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

/// Returns `path` and the groups below it, outermost first.
fn subgroups(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![path.to_owned()];
    let mut next = 0;
    while let Some(group) = found.get(next).filter(|_| found.len() < MAX_SUBGROUPS) {
        let entries = fs::read_dir(group).into_iter().flatten().flatten();
        let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let below: Vec<_> = below.map(|entry| entry.path()).collect();
        found.extend(below);
        next += 1;
    }
    found
}

/// Removes an empty group; one that is not is left to the next start of the agent.
fn remove(path: &Path) {
    for group in subgroups(path).iter().rev() {
        if let Err(error) = fs::remove_dir(group) {
            tracing::debug!(group = %group.display(), %error, "control group stays");
        }
    }
}

fn pids(group: &Path) -> Vec<u32> {
    let procs = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    procs.lines().filter_map(|line| line.parse().ok()).collect()
}

fn open(path: &Path, write: bool) -> io::Result<File> {
    File::options().read(!write).write(write).open(path)
}

fn write_to(path: &Path, bytes: &[u8]) -> io::Result<()> {
    open(path, true)?.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn the_hierarchy_is_found_on_hybrid_and_unified_systems_and_in_containers() {
        let hybrid = find_directory("4:memory:/x\n0::/\n", HYBRID);
        let unified = find_directory(
            "0::/system.slice/funnelcloud.service\n",
            "24 1 0:22 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n",
        );
        let container = find_directory(
            "0::/docker/abc/agent\n",
            "24 1 0:22 /docker/abc /sys/fs/my\\040cgroup ro - cgroup2 cgroup rw\n",
        );

        assert_eq!(hybrid, Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(
            unified,
            Some("/sys/fs/cgroup/system.slice/funnelcloud.service".into())
        );
        assert_eq!(container, Some("/sys/fs/my cgroup/agent".into()));
    }

    #[test]
    fn no_hierarchy_is_invented() {
        assert_eq!(find_directory("4:memory:/x\n", HYBRID), None);
        assert_eq!(
            find_directory(
                "0::/\n",
                "31 23 0:28 / /sys/fs/cgroup rw - cgroup cgroup rw\n"
            ),
            None
        );
        assert_eq!(find_directory("", ""), None);
    }
}
