//! Small files that a probe reads. Blocks: called within [`Blocking::look`](super::blocking) only.

use std::{
    io::{self, Read as _},
    path::Path,
};

use super::found::ProbeError;

/// Far more than any of the files that are read; a mount table of a large container host may have
/// 200 KiB.
const MAX_READ: u64 = 1024 * 1024;

/// Returns the text of the file at `path`, or nothing where there is none.
pub(super) fn read(path: impl AsRef<Path>) -> Result<Option<String>, ProbeError> {
    let path = path.as_ref();
    let text = fs_err::File::open(path).and_then(|file| {
        let mut bytes = Vec::new();
        file.take(MAX_READ).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    });
    match text {
        Ok(text) => Ok(Some(text)),
        Err(error) if is_absence(&error) => Ok(None),
        Err(source) => Err(ProbeError::Read {
            path: path.to_owned(),
            source: source.kind().into(),
        }),
    }
}

/// Returns the text of the file at `path` where it can be read: for hints that may be missing.
pub(super) fn hint(path: impl AsRef<Path>) -> Option<String> {
    read(path).ok().flatten()
}

fn is_absence(error: &io::Error) -> bool {
    [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind())
}
