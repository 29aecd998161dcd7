//! Probe: the folders where work is likely, as seen from where the agent stands.
//!
//! Nobody configures them: the home of the agent's user, the folder it was started in, and the
//! checkouts directly within either.

use std::{
    env,
    path::{Path, PathBuf},
};

use proto::{
    capability::{List, Workspace, WorkspaceKind},
    text::Text,
};

use super::{
    found::{Found, ProbeError},
    scope::Scope,
};

/// Entries of a folder that are looked at; a home has a few dozen, a spool would have thousands.
const MAX_ENTRIES: usize = 512;

/// What a checkout holds.
const MARKS: [&str; 4] = [".git", ".hg", ".jj", ".svn"];

/// Returns the folders that exist now.
pub(super) async fn probe(scope: &Scope) -> Result<Found<List<Workspace, 16>>, ProbeError> {
    let found = scope
        .blocking
        .look("workspaces", || {
            let home = env::home_dir().filter(|home| home.is_absolute());
            look(home, env::current_dir().ok())
        })
        .await?;
    Ok(Found::listed(found, Vec::new()))
}

fn look(home: Option<PathBuf>, current: Option<PathBuf>) -> Vec<Workspace> {
    let is_root = |path: &Path| path.parent().is_none();
    let current = current.filter(|path| Some(path) != home.as_ref() && !is_root(path));
    let stands: Vec<(PathBuf, WorkspaceKind)> = [
        (home, WorkspaceKind::Home),
        (current, WorkspaceKind::Current),
    ]
    .into_iter()
    .filter_map(|(path, kind)| path.filter(|path| path.is_dir()).map(|path| (path, kind)))
    .collect();

    let mut checkouts: Vec<PathBuf> = stands
        .iter()
        .flat_map(|(path, _)| checkouts_in(path))
        .filter(|path| !stands.iter().any(|(stand, _)| stand == path))
        .collect();
    checkouts.sort();
    checkouts.dedup();

    let checkouts = checkouts
        .into_iter()
        .map(|path| (path, WorkspaceKind::Checkout));
    stands
        .into_iter()
        .chain(checkouts)
        .map(|(path, kind)| Workspace {
            path: Text::cut(&path.to_string_lossy()),
            kind,
        })
        .collect()
}

/// Returns the checkouts directly within `folder`; none if it may not be read.
fn checkouts_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs_err::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .take(MAX_ENTRIES)
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| MARKS.iter().any(|mark| path.join(mark).exists()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_current_folder_and_checkouts_are_listed_once() {
        let home = tempfile::tempdir().unwrap();
        let project = home.path().join("project");
        for folder in ["project/.git", "tools/.hg", "music"] {
            fs_err::create_dir_all(home.path().join(folder)).unwrap();
        }

        let found = look(Some(home.path().to_owned()), Some(project.clone()));

        let kinds: Vec<WorkspaceKind> = found.iter().map(|found| found.kind).collect();
        assert_eq!(
            kinds,
            [
                WorkspaceKind::Home,
                WorkspaceKind::Current,
                WorkspaceKind::Checkout
            ]
        );
        assert!(found[2].path.untrusted().ends_with("tools"));
    }

    #[test]
    fn what_is_not_there_is_not_listed() {
        assert_eq!(look(Some("/no/such/home".into()), None), []);
        assert_eq!(look(None, Some("/".into())), []);
    }
}
