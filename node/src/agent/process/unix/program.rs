//! Which file a command's first word means.
//!
//! Follows `execvp`, with the `PATH` and the working directory of the request. Never falls back to a
//! shell, as `execvp` does for a file without a known format.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};

use crate::agent::process::{OsCode, SpawnError, Unexecutable};

/// Returns the path to execute, to be taken from inside `cwd`.
pub(super) fn find(
    program: &OsStr,
    path: Option<&OsStr>,
    cwd: Option<&Path>,
) -> Result<PathBuf, SpawnError> {
    let not_found = || SpawnError::NotFound {
        program: program.to_owned(),
    };
    if program.is_empty() {
        return Err(not_found());
    }
    if program.as_bytes().contains(&b'/') {
        return Ok(program.into());
    }
    let mut refused = None;
    for dir in std::env::split_paths(path.unwrap_or_default()) {
        // An empty element means the working directory (POSIX.1, 8.3).
        let candidate = if dir.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &dir
        }
        .join(program);
        match look_at(&candidate, cwd) {
            Found::Program => return Ok(candidate),
            Found::Refused(why) => {
                refused.get_or_insert(SpawnError::NotExecutable {
                    program: candidate,
                    why,
                });
            }
            Found::Nothing => {}
        }
    }
    match cwd
        .filter(|_| refused.is_none())
        .map(|cwd| (cwd, fs::metadata(cwd)))
    {
        // Without its directory, a relative element of PATH could not have led anywhere.
        Some((cwd, Err(error))) => Err(SpawnError::Cwd {
            path: cwd.to_owned(),
            why: OsCode::of(&error),
        }),
        Some((_, Ok(_))) | None => Err(refused.unwrap_or_else(not_found)),
    }
}

enum Found {
    Program,
    Refused(Unexecutable),
    Nothing,
}

fn look_at(candidate: &Path, cwd: Option<&Path>) -> Found {
    let at = seen_from(candidate, cwd);
    match fs::metadata(&at) {
        Ok(file) if !file.is_file() => Found::Refused(Unexecutable::NotAFile),
        Ok(_) if access(&at, Access::EXEC_OK).is_ok() => Found::Program,
        Ok(_) => Found::Refused(Unexecutable::Permission),
        Err(_) => Found::Nothing,
    }
}

/// Says why the operating system did not execute `path`, which [`find`] gave out for `program`.
pub(super) fn refusal(program: &OsStr, path: &Path, cwd: Option<&Path>, errno: i32) -> SpawnError {
    let there = fs::metadata(seen_from(path, cwd));
    let why = match errno {
        libc::ENOENT if there.is_ok() => Unexecutable::Interpreter,
        libc::ENOENT | libc::ENOTDIR => {
            return SpawnError::NotFound {
                program: program.to_owned(),
            };
        }
        libc::EACCES if there.is_ok_and(|file| !file.is_file()) => Unexecutable::NotAFile,
        libc::EACCES | libc::EPERM => Unexecutable::Permission,
        libc::ENOEXEC => Unexecutable::Format,
        libc::ETXTBSY => Unexecutable::Busy,
        other => Unexecutable::Other(OsCode(other)),
    };
    SpawnError::NotExecutable {
        program: path.to_owned(),
        why,
    }
}

fn seen_from(path: &Path, cwd: Option<&Path>) -> PathBuf {
    cwd.map_or_else(|| path.to_owned(), |cwd| cwd.join(path))
}
