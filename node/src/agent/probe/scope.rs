//! What the probes of one probing share: children, looks, and where programs are searched.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::PathBuf,
    time::Duration,
};

use super::{
    ProbeLimits,
    blocking::Blocking,
    child::{Children, Said},
    found::ProbeError,
};

/// Where programs are searched when the agent was given no `PATH`.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the probes of one probing share.
#[derive(Debug)]
pub(super) struct Scope {
    /// How long one probe may take.
    pub(super) limit: Duration,
    pub(super) blocking: Blocking,
    pub(super) search_path: OsString,
    children: Children,
}

impl Scope {
    /// Begins a probing: its deadlines count from now.
    pub(super) fn new(limits: &ProbeLimits, blocking: Blocking) -> Self {
        Self {
            limit: limits.probe,
            blocking,
            search_path: search_path(env::var_os("PATH").as_deref()),
            children: Children::new(limits.children, limits.child),
        }
    }

    /// Runs a program and returns what it said; see [`Children::ask`].
    pub(super) async fn ask<A: AsRef<OsStr>>(
        &self,
        program: impl Into<PathBuf>,
        args: &[A],
    ) -> Result<Said, ProbeError> {
        let program = program.into();
        self.children
            .ask(&program, args)
            .await
            .map_err(|source| ProbeError::Child { program, source })
    }
}

/// Returns the path of a program that belongs to Windows.
pub(super) fn system32(program: &str) -> PathBuf {
    let root = env::var_os("SystemRoot").unwrap_or_else(|| "C:\\Windows".into());
    PathBuf::from(root).join("System32").join(program)
}

/// Keeps the absolute folders: what a relative one means depends on where the agent was started.
fn search_path(path: Option<&OsStr>) -> OsString {
    let path = path.unwrap_or(OsStr::new(USUAL_PATH));
    let absolute = env::split_paths(path).filter(|folder| folder.is_absolute());
    env::join_paths(absolute).expect("folders that were split can be joined")
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn programs_are_searched_in_absolute_folders_only() {
        let path = |text: &str| search_path(Some(OsStr::new(text)));

        assert_eq!(path(".:/usr/bin::bin:/bin"), "/usr/bin:/bin");
        assert_eq!(path("."), "");
        assert_eq!(search_path(None), USUAL_PATH);
    }
}
