//! Programs on the search path and their versions: what shells, package managers and tools share.

use std::{
    env,
    path::{Path, PathBuf},
    sync::Arc,
};

use proto::{
    capability::{List, Program},
    text::Text,
};
use tokio::task::JoinSet;

use super::{
    child::Said,
    found::{Found, Gap, ProbeError},
    scope::Scope,
};

/// A program that may be there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) name: &'static str,
    pub(super) version: Version,
}

/// How a program tells its version.
#[derive(Debug, Clone, Copy)]
pub(super) enum Version {
    /// It has no way, or one that is slow, changes something, or calls home.
    Unasked,
    /// By these words, in the first line of what it says.
    By(&'static [&'static str]),
}

/// Names a program that tells its version by `words`.
pub(super) const fn says(name: &'static str, words: &'static [&'static str]) -> Candidate {
    Candidate {
        name,
        version: Version::By(words),
    }
}

/// Names a program that is not asked for its version.
pub(super) const fn silent(name: &'static str) -> Candidate {
    Candidate {
        name,
        version: Version::Unasked,
    }
}

/// Returns those of `candidates` that are on the search path, in their order.
///
/// A program that does not tell its version is listed without it, and is a gap.
pub(super) async fn find<const MAX: usize>(
    scope: Arc<Scope>,
    place: &'static str,
    candidates: &'static [Candidate],
) -> Result<Found<List<Program, MAX>>, ProbeError> {
    let search_path = scope.search_path.clone();
    let present = scope
        .blocking
        .look(place, move || on_path(candidates, &search_path))
        .await?;

    let mut asked = JoinSet::new();
    for (order, (candidate, path)) in present.into_iter().enumerate() {
        let scope = Arc::clone(&scope);
        asked.spawn(async move {
            let version = ask(&scope, candidate, &path).await;
            (order, candidate, path, version)
        });
    }
    let mut answers = asked.join_all().await;
    answers.sort_by_key(|(order, ..)| *order);

    let mut gaps = Vec::new();
    let programs = answers
        .into_iter()
        .map(|(_, candidate, path, version)| Program {
            name: Text::cut(candidate.name),
            path: Text::cut(&path.to_string_lossy()),
            version: version.unwrap_or_else(|error| {
                gaps.push(Gap {
                    part: Some(format!("version of {}", candidate.name)),
                    reason: error.into(),
                });
                None
            }),
        })
        .collect();
    Ok(Found::listed(programs, gaps))
}

fn on_path(
    candidates: &'static [Candidate],
    search_path: &std::ffi::OsStr,
) -> Vec<(Candidate, PathBuf)> {
    let root = if cfg!(windows) { "C:\\" } else { "/" };
    candidates
        .iter()
        .filter_map(|candidate| {
            let path = which::which_in(candidate.name, Some(search_path), root).ok()?;
            (!is_stub(&path)).then_some((*candidate, path))
        })
        .collect()
}

/// Tells whether `path` only offers to install the program: without the developer tools, those in
/// `/usr/bin` of macOS open a dialog when they are run.
fn is_stub(path: &Path) -> bool {
    const STUBS: [&str; 4] = ["git", "python3", "make", "gcc"];
    cfg!(target_os = "macos")
        && path.parent() == Some(Path::new("/usr/bin"))
        && path
            .file_name()
            .is_some_and(|name| STUBS.iter().any(|stub| name == *stub))
        && !Path::new("/Library/Developer/CommandLineTools/usr/bin").exists()
        && !Path::new("/Applications/Xcode.app").exists()
}

async fn ask(
    scope: &Scope,
    candidate: Candidate,
    path: &Path,
) -> Result<Option<Text<128>>, ProbeError> {
    let Version::By(words) = candidate.version else {
        return Ok(None);
    };
    if is_boot_loader(path) {
        return Ok(None);
    }
    let said = scope.ask(path, words).await?;
    match first_line(&said) {
        Some(line) => Ok(Some(Text::cut(line))),
        None => Err(ProbeError::Unreadable {
            place: path.to_owned(),
            wanted: "version",
        }),
    }
}

/// Tells whether running `path` would start a Linux: `bash` of `System32` is the door of WSL.
fn is_boot_loader(path: &Path) -> bool {
    cfg!(windows)
        && path.file_stem().is_some_and(|name| name == "bash")
        && env::var_os("SystemRoot").is_some_and(|root| path.starts_with(root))
}

fn first_line(said: &Said) -> Option<&str> {
    [&said.stdout, &said.stderr]
        .into_iter()
        .flat_map(|stream| stream.lines())
        .map(str::trim)
        .find(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_first_line_on_either_stream() {
        let said = |stdout: &str, stderr: &str| Said {
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
        };

        assert_eq!(
            first_line(&said("\n git 2.39 \nmore", "warning")),
            Some("git 2.39")
        );
        assert_eq!(first_line(&said(" \n", "openjdk 21\n")), Some("openjdk 21"));
        assert_eq!(first_line(&said("", "")), None);
    }
}
