//! From the words of `controller cp` to a wish. Parsed once, here.

use std::{ffi::OsString, os::unix::ffi::OsStrExt as _};

use anyhow::{Context as _, bail, ensure};
use node::files::Times;
use proto::{
    file::{FilePath, FilePathError},
    id::NodeName,
    text::escaped,
};

use super::CpArgs;
use crate::{
    config::DEFAULT_CONNECT_TIMEOUT,
    orchestrator::{Copy, Folders, SymbolicLinks, Way},
};

/// One word: a path here, or one at a target.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Side {
    Here(FilePath),
    There(NodeName, FilePath),
}

/// Reads the words.
pub(super) fn wish(args: &CpArgs) -> anyhow::Result<Copy> {
    let sides: Vec<Side> = args.paths.iter().map(side).collect::<Result<_, _>>()?;
    let (target, way, from, to) = split(sides)?;
    Ok(Copy {
        target,
        way,
        from,
        to,
        folders: match args.recursive {
            true => Folders::Recurse,
            false => Folders::Refuse,
        },
        links: match args.links {
            true => SymbolicLinks::Copy,
            false => SymbolicLinks::Skip,
        },
        times: match args.preserve {
            true => Times::Kept,
            false => Times::Now,
        },
        start: std::env::current_dir().context("find the current folder")?,
        principal: principal(),
        window: DEFAULT_CONNECT_TIMEOUT,
    })
}

/// Finds the direction, and the one target.
fn split(mut sides: Vec<Side>) -> anyhow::Result<(NodeName, Way, Vec<FilePath>, FilePath)> {
    let to = sides.pop().context("name a source and a destination")?;
    let mut from = Vec::new();
    let mut target: Option<NodeName> = None;
    let is_mixed = sides.iter().any(|side| matches!(side, Side::Here(_)))
        && sides.iter().any(|side| matches!(side, Side::There(..)));
    ensure!(
        !is_mixed,
        "some sources are here and some at a target; copy in one direction at a time"
    );
    for side in sides {
        match side {
            Side::Here(path) => from.push(path),
            Side::There(name, path) => {
                ensure!(
                    target.as_ref().is_none_or(|other| *other == name),
                    "the sources are on several targets; copy from one at a time"
                );
                target = Some(name);
                from.push(path);
            }
        }
    }
    match (target, to) {
        (None, Side::There(name, to)) => Ok((name, Way::Put, from, to)),
        (Some(name), Side::Here(to)) => Ok((name, Way::Get, from, to)),
        (None, Side::Here(_)) => {
            bail!("nothing here names a target: write it as NAME:PATH on one of both sides")
        }
        (Some(_), Side::There(..)) => {
            bail!("both sides name a target; copy to this host first, and from here on")
        }
    }
}

/// Reads one word: a colon before any slash makes it remote.
fn side(word: &OsString) -> anyhow::Result<Side> {
    let bytes = word.as_bytes();
    let shown = || escaped(&word.to_string_lossy());
    let path = |bytes: &[u8]| -> Result<FilePath, FilePathError> { bytes.to_vec().try_into() };
    let colon = bytes.iter().position(|byte| matches!(byte, b':' | b'/'));
    match colon.filter(|at| bytes[*at] == b':') {
        None => {
            ensure!(!bytes.is_empty(), "an empty path names no file");
            Ok(Side::Here(path(bytes).with_context(shown)?))
        }
        Some(at) => {
            let name = String::from_utf8_lossy(&bytes[..at]);
            let name = name.parse().with_context(|| {
                format!(
                    "{}: no target is called so; a file here is ./{}",
                    shown(),
                    shown()
                )
            })?;
            Ok(Side::There(
                name,
                path(&bytes[at + 1..]).with_context(shown)?,
            ))
        }
    }
}

/// Returns who asks, for the record: the user's name here.
fn principal() -> String {
    ["USER", "LOGNAME", "USERNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok())
        .unwrap_or_else(|| "unknown".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> anyhow::Result<(NodeName, Way, Vec<FilePath>, FilePath)> {
        let sides = words.iter().map(|word| side(&OsString::from(word)));
        split(sides.collect::<Result<_, _>>()?)
    }

    fn path(text: &str) -> FilePath {
        text.as_bytes().to_vec().try_into().unwrap()
    }

    #[test]
    fn one_side_is_remote() {
        let srv: NodeName = "srv".parse().unwrap();

        assert_eq!(
            read(&["a", "./b:c", "srv:"]).unwrap(),
            (
                srv.clone(),
                Way::Put,
                vec![path("a"), path("./b:c")],
                path("")
            )
        );
        assert_eq!(
            read(&["srv:/x", "srv:y:z", "."]).unwrap(),
            (srv, Way::Get, vec![path("/x"), path("y:z")], path("."))
        );
    }

    #[test]
    fn words_that_make_no_sense_are_refused() {
        for words in [
            &["a", "b"][..],
            &["srv:a", "srv:b"],
            &["srv:a", "other:b", "c"],
            &["Not A Name:x", "y"],
            &["a", "srv:b", "c"],
            &["", "srv:x"],
            &[":x", "y"],
        ] {
            assert!(read(words).is_err(), "{words:?}");
        }
    }
}
