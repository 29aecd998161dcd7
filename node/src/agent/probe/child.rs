//! Programs that a probe asks.
//!
//! Each gets a built environment, no stdin, a process group of its own, a bounded ear and the
//! deadline of the probing. So few live at once that runs are not slowed on a small machine.
//!
//! **Invariant:** when the future that waits for a child ends, in whatever way, the child is gone,
//! and on Unix its process group too, unless it ended by itself. Guarded by
//! `a_child_that_outlives_its_deadline_is_killed_with_its_children`.

use std::{
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
    sync::Semaphore,
    time::{Instant, timeout_at},
};

/// How much of each stream is heard; a version is one line, the longest answer read whole is
/// `dsregcmd /status`, whose first part matters.
const MAX_HEARD: u64 = 4096;

/// The variables that a child may take from the agent's environment.
const INHERITED: &[&str] = if cfg!(windows) {
    &[
        "PATH",
        "PATHEXT",
        "SystemRoot",
        "SystemDrive",
        "ComSpec",
        "TEMP",
        "USERPROFILE",
        "APPDATA",
        "LOCALAPPDATA",
        "ProgramFiles",
        "ProgramData",
    ]
} else {
    &["PATH", "HOME", "USER"]
};

/// The variables that every child gets: plain English, no colours, no call home.
const GIVEN: &[(&str, &str)] = &[
    ("LC_ALL", "C"),
    ("TERM", "dumb"),
    ("NO_COLOR", "1"),
    ("CHECKPOINT_DISABLE", "1"),
    ("DOTNET_CLI_TELEMETRY_OPTOUT", "1"),
    ("POWERSHELL_TELEMETRY_OPTOUT", "1"),
];

/// The children of one probing.
#[derive(Debug)]
pub(super) struct Children {
    permits: Semaphore,
    deadline: Instant,
    after_ms: u32,
    environment: Vec<(&'static str, OsString)>,
}

/// What a child said, each stream cut at the bound and made UTF-8.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Why a child said nothing of use.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChildError {
    #[error("no answer within {after_ms} ms")]
    TimedOut { after_ms: u32 },
    #[error("start: {0}")]
    Start(io::Error),
    #[error("read: {0}")]
    Read(io::Error),
    #[error("{0}")]
    Failed(ExitStatus),
}

impl Children {
    /// Allows `at_once` children until `after` from now.
    pub(super) fn new(at_once: usize, after: std::time::Duration) -> Self {
        let inherited = INHERITED
            .iter()
            .filter_map(|name| std::env::var_os(name).map(|value| (*name, value)));
        let given = GIVEN
            .iter()
            .map(|(name, value)| (*name, OsString::from(value)));
        Self {
            permits: Semaphore::new(at_once),
            deadline: Instant::now() + after,
            after_ms: u32::try_from(after.as_millis()).unwrap_or(u32::MAX),
            environment: inherited.chain(given).collect(),
        }
    }

    /// Runs `program`, and returns what it said if it succeeded before the deadline.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the child and its process group.
    pub(super) async fn ask<A: AsRef<OsStr>>(
        &self,
        program: &Path,
        args: &[A],
    ) -> Result<Said, ChildError> {
        let asked = async {
            // The semaphore is never closed, so an error cannot happen; no permit would be no harm.
            let _permit = self.permits.acquire().await;
            self.run(program, args).await
        };
        timeout_at(self.deadline, asked)
            .await
            .unwrap_or(Err(ChildError::TimedOut {
                after_ms: self.after_ms,
            }))
    }

    async fn run<A: AsRef<OsStr>>(&self, program: &Path, args: &[A]) -> Result<Said, ChildError> {
        let mut command = Command::new(program);
        command
            .args(args)
            .env_clear()
            .envs(self.environment.iter().cloned())
            .current_dir(neutral_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        let mut child = Leader(command.spawn().map_err(ChildError::Start)?);
        let (stdout, stderr) = (child.0.stdout.take(), child.0.stderr.take());
        let (stdout, stderr) =
            tokio::try_join!(hear(stdout), hear(stderr)).map_err(ChildError::Read)?;
        let status = child.0.wait().await.map_err(ChildError::Read)?;
        if !status.success() && (stdout.len() as u64) < MAX_HEARD {
            return Err(ChildError::Failed(status));
        }
        Ok(Said {
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        })
    }
}

/// A folder that holds no configuration of anybody's project.
fn neutral_dir() -> PathBuf {
    if cfg!(windows) {
        std::env::var_os("SystemRoot").map_or_else(|| PathBuf::from("C:\\"), PathBuf::from)
    } else {
        PathBuf::from("/")
    }
}

/// Reads to the end or the bound, and closes the pipe: who says more is told by its next write.
async fn hear(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut heard = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(MAX_HEARD).read_to_end(&mut heard).await?;
    }
    Ok(heard)
}

/// A child that leads its process group; what has not ended when this is dropped is killed.
struct Leader(Child);

impl Drop for Leader {
    fn drop(&mut self) {
        // A child that has been waited for has no id; until then nobody else can have its number.
        #[cfg(unix)]
        if let Some(pid) = self
            .0
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(rustix::process::Pid::from_raw)
        {
            // It may have ended a moment ago: then there is nobody to kill.
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::time::Duration;

    use super::*;

    const SH: &str = "/bin/sh";

    fn patient() -> Children {
        Children::new(2, Duration::from_secs(20))
    }

    #[tokio::test]
    async fn a_child_hears_nothing_and_sees_a_built_environment() {
        let said = patient()
            .ask(Path::new(SH), &["-c", "cat; pwd; env | cut -d= -f1 | sort"])
            .await
            .unwrap();

        let mut lines = said.stdout.lines();
        assert_eq!(lines.next(), Some("/"), "{said:?}");
        let allowed = |name: &str| {
            INHERITED.contains(&name)
                || GIVEN.iter().any(|(given, _)| *given == name)
                || ["PWD", "OLDPWD", "SHLVL", "_"].contains(&name)
        };
        assert!(lines.clone().any(|name| name == "LC_ALL"));
        assert!(lines.all(allowed), "{said:?}");
    }

    #[tokio::test]
    async fn a_child_that_says_too_much_is_heard_up_to_the_bound() {
        let said = patient()
            .ask(Path::new(SH), &["-c", "while :; do echo yes; done"])
            .await
            .unwrap();

        assert_eq!(said.stdout.len() as u64, MAX_HEARD);
    }

    #[tokio::test]
    async fn a_child_that_fails_is_not_believed() {
        let failed = patient()
            .ask(Path::new(SH), &["-c", "echo 1; exit 3"])
            .await;

        assert!(matches!(failed, Err(ChildError::Failed(s)) if s.code() == Some(3)));
    }

    #[tokio::test]
    async fn no_more_children_live_at_once_than_allowed() {
        let dir = tempfile::tempdir().unwrap();
        let alone = dir.path().join("alone");
        let script = format!("mkdir {0} || exit 9; sleep 0.1; rmdir {0}", alone.display());
        let children = Children::new(1, Duration::from_secs(20));
        let words = ["-c", &script];
        let ask = || children.ask(Path::new(SH), &words);

        let (first, second, third) = tokio::join!(ask(), ask(), ask());

        assert!(first.is_ok() && second.is_ok() && third.is_ok());
    }

    #[tokio::test]
    async fn a_child_that_outlives_its_deadline_is_killed_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let pids = dir.path().join("pids");
        let script = format!(
            "trap '' TERM; sleep 600 & echo $! $$ > {}; wait",
            pids.display()
        );
        let children = Children::new(1, Duration::from_millis(800));

        let hung = children.ask(Path::new(SH), &["-c", &script]).await;

        assert!(
            matches!(hung, Err(ChildError::TimedOut { after_ms: 800 })),
            "{hung:?}"
        );
        let pids = fs_err::read_to_string(&pids).unwrap();
        for pid in pids.split_whitespace() {
            gone(pid).await;
        }
        assert_eq!(pids.split_whitespace().count(), 2);
    }

    /// Waits until the process is gone, or is a zombie that waits for its reaper.
    async fn gone(pid: &str) {
        let stat = format!("/proc/{pid}/stat");
        let deadline = Instant::now() + Duration::from_secs(10);
        while let Ok(stat) = fs_err::read_to_string(&stat) {
            if stat.contains(") Z ") {
                return;
            }
            assert!(Instant::now() < deadline, "{pid} still lives: {stat}");
            tokio::task::yield_now().await;
        }
    }
}
