//! Names and paths of files, as bytes: whatever a platform takes, not only UTF-8.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    capability::{List, OsFamily},
    text::escaped,
};

/// One component of a path, as another node may name it: never empty, `.` or `..`, and without `/`
/// and NUL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "List<u8, { FileName::MAX_LEN }>", into = "Vec<u8>")]
pub struct FileName(Vec<u8>);

impl FileName {
    /// The longest name, in bytes: what every common file system takes.
    pub const MAX_LEN: usize = 255;

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Tells whether a node of this family may make a file of this name.
    ///
    /// # Errors
    /// The name means something else there than a file in its folder, and what.
    pub fn check_for(&self, os: OsFamily) -> Result<(), NameFault> {
        match os {
            OsFamily::Windows => windows(&self.0),
            OsFamily::Linux | OsFamily::MacOs | OsFamily::Other => Ok(()),
        }
    }
}

/// Windows takes names for paths, streams and devices (`CON`, also as `con.txt`), and drops dots and
/// spaces at their end, so that two names become one.
fn windows(name: &[u8]) -> Result<(), NameFault> {
    let Ok(text) = std::str::from_utf8(name) else {
        return Err(NameFault::NotUnicode);
    };
    let special = |c: char| c < ' ' || "<>:\"/\\|?*".contains(c);
    if let Some(character) = text.chars().find(|c| special(*c)) {
        return Err(NameFault::Character { character });
    }
    if text.ends_with(['.', ' ']) {
        return Err(NameFault::End);
    }
    let stem = text.split('.').next().unwrap_or_default();
    let stem = stem.trim_end().to_ascii_uppercase();
    let is_device = match stem.as_str() {
        "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" => true,
        port => port
            .strip_prefix("COM")
            .or_else(|| port.strip_prefix("LPT"))
            .is_some_and(|number| {
                let mut digits = number.chars();
                let is_port = |c| matches!(c, '0'..='9' | '¹' | '²' | '³');
                digits.next().is_some_and(is_port) && digits.next().is_none()
            }),
    };
    if is_device {
        return Err(NameFault::Device);
    }
    Ok(())
}

impl TryFrom<Vec<u8>> for FileName {
    type Error = NameFault;

    fn try_from(name: Vec<u8>) -> Result<Self, NameFault> {
        match name.as_slice() {
            [] | b"." | b".." => Err(NameFault::NoName),
            name if name.len() > Self::MAX_LEN => Err(NameFault::TooLong),
            name if name.contains(&0) => Err(NameFault::Character { character: '\0' }),
            name if name.contains(&b'/') => Err(NameFault::Character { character: '/' }),
            _ => Ok(Self(name)),
        }
    }
}

impl TryFrom<List<u8, { Self::MAX_LEN }>> for FileName {
    type Error = NameFault;

    fn try_from(name: List<u8, { Self::MAX_LEN }>) -> Result<Self, NameFault> {
        Vec::from(name).try_into()
    }
}

impl From<FileName> for Vec<u8> {
    fn from(name: FileName) -> Self {
        name.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&escaped(&String::from_utf8_lossy(&self.0)))
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// Why a name is not one of a file in its folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum NameFault {
    /// It is empty, `.` or `..`.
    #[error("it names no file")]
    NoName,
    /// It is longer than [`FileName::MAX_LEN`].
    #[error("it is longer than {} bytes", FileName::MAX_LEN)]
    TooLong,
    /// It holds a character that separates, ends or redirects.
    #[error("it contains {character:?}")]
    Character {
        /// Which.
        character: char,
    },
    /// The platform drops its last character.
    #[error("it ends in a dot or a space, which Windows drops")]
    End,
    /// The platform has a device of this name in every folder.
    #[error("it is a device on Windows")]
    Device,
    /// The platform's names are Unicode.
    #[error("it is not Unicode, which Windows needs")]
    NotUnicode,
}

/// A path as an operator wrote it, for the node on which it is looked up. Empty is the folder from
/// which relative paths start there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "List<u8, { FilePath::MAX_LEN }>", into = "Vec<u8>")]
pub struct FilePath(Vec<u8>);

impl FilePath {
    /// The longest path, in bytes: what Linux takes at once.
    pub const MAX_LEN: usize = 4096;

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Tells whether only a folder can be meant.
    #[must_use]
    pub fn means_folder(&self) -> bool {
        self.0.is_empty() || self.0.ends_with(b"/") || self.split().is_none()
    }

    /// Returns the folder and the name in it; `None` for a path that ends in no name, such as `..`.
    #[must_use]
    pub fn split(&self) -> Option<(Self, FileName)> {
        let end = self.0.iter().rposition(|byte| *byte != b'/')? + 1;
        let whole = &self.0[..end];
        let start = whole.iter().rposition(|byte| *byte == b'/');
        let start = start.map_or(0, |slash| slash + 1);
        let name = FileName::try_from(whole[start..].to_vec()).ok()?;
        Some((Self(whole[..start].to_vec()), name))
    }
}

impl TryFrom<Vec<u8>> for FilePath {
    type Error = FilePathError;

    fn try_from(path: Vec<u8>) -> Result<Self, FilePathError> {
        if path.len() > Self::MAX_LEN {
            return Err(FilePathError::TooLong);
        }
        if path.contains(&0) {
            return Err(FilePathError::Nul);
        }
        Ok(Self(path))
    }
}

impl TryFrom<List<u8, { Self::MAX_LEN }>> for FilePath {
    type Error = FilePathError;

    fn try_from(path: List<u8, { Self::MAX_LEN }>) -> Result<Self, FilePathError> {
        Vec::from(path).try_into()
    }
}

impl From<FilePath> for Vec<u8> {
    fn from(path: FilePath) -> Self {
        path.0
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&escaped(&String::from_utf8_lossy(&self.0)))
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// Why bytes are no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FilePathError {
    /// It is longer than [`FilePath::MAX_LEN`].
    #[error("the path is longer than {} bytes", FilePath::MAX_LEN)]
    TooLong,
    /// No operating system passes a NUL byte on.
    #[error("the path contains a NUL byte")]
    Nul,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(bytes: &[u8]) -> Result<FileName, NameFault> {
        bytes.to_vec().try_into()
    }

    fn path(text: &str) -> FilePath {
        text.as_bytes().to_vec().try_into().unwrap()
    }

    #[test]
    fn what_leaves_its_folder_is_no_name() {
        for hostile in ["", ".", "..", "/", "../x", "/etc/passwd", "a/b", "a\0b"] {
            assert!(name(hostile.as_bytes()).is_err(), "{hostile:?}");
        }
        assert_eq!(name(&[b'x'; 256]), Err(NameFault::TooLong));
        for honest in ["...", "a b", "\u{1b}[2J\n", "\\\\?\\C:"] {
            assert!(name(honest.as_bytes()).is_ok(), "{honest:?}");
        }
        assert!(name(&[0xff, 0xfe]).is_ok());
    }

    #[test]
    fn windows_takes_no_device_stream_or_path_for_a_name() {
        let on_windows = |text: &[u8]| name(text).unwrap().check_for(OsFamily::Windows);
        let hostile = [
            "CON",
            "con",
            "Con.txt",
            "NUL.tar.gz",
            "aux ",
            "COM1",
            "lpt9.log",
            "COM¹",
            "CONIN$",
            "a:b",
            "C:",
            "\\\\?\\x",
            "..\\x",
            "a\\b",
            "x.",
            "x ",
            "a*",
            "\u{1}",
            "a|b",
            "\u{1b}[2J",
        ];

        for text in hostile {
            assert!(on_windows(text.as_bytes()).is_err(), "{text:?}");
        }
        assert_eq!(on_windows(b"\xff"), Err(NameFault::NotUnicode));
        for text in ["COM", "COM10", "console", "cone.txt", ".x", "ü", "a b"] {
            assert_eq!(on_windows(text.as_bytes()), Ok(()), "{text:?}");
        }
    }

    #[test]
    fn unix_takes_what_windows_does_not() {
        for text in ["CON", "a:b", "x ", "a\\b"] {
            let name = name(text.as_bytes()).unwrap();
            assert_eq!(name.check_for(OsFamily::Linux), Ok(()), "{text:?}");
        }
    }

    #[test]
    fn a_path_is_split_at_its_last_name() {
        let split = |text| {
            let (folder, name) = path(text).split()?;
            Some((folder.to_string(), name.to_string()))
        };
        let some = |folder: &str, name: &str| Some((folder.to_owned(), name.to_owned()));

        assert_eq!(split("a"), some("", "a"));
        assert_eq!(split("/a"), some("/", "a"));
        assert_eq!(split("x/y/a//"), some("x/y/", "a"));
        for folder in ["", "/", ".", "..", "a/..", "a/./"] {
            assert_eq!(split(folder), None, "{folder:?}");
            assert!(path(folder).means_folder());
        }
        assert!(path("a/").means_folder() && !path("a").means_folder());
    }

    #[test]
    fn names_are_shown_escaped() {
        assert_eq!(name(b"a\x1b[2J\n").unwrap().to_string(), "a\\u{1b}[2J\\n");
    }

    proptest! {
        #[test]
        fn no_name_leaves_its_folder(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let Ok(name) = name(&bytes) else { return Ok(()) };

            let text = String::from_utf8_lossy(name.as_bytes()).into_owned();
            let joined = std::path::Path::new("folder").join(&text);
            prop_assert_eq!(joined.components().count(), 2);
            prop_assert!(joined.starts_with("folder"));
            if name.check_for(OsFamily::Windows).is_ok() {
                prop_assert!(!text.contains(['\\', ':', '/']));
            }
        }
    }
}
