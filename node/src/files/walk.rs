//! Lists a folder and all below it. Symbolic links are listed and never followed.

use std::path::Path;

use proto::file::{Entry, FileFault, FileKind, FileName, Place};
use rustix::fs::Dir;

use super::folder::{Folder, attributes, fault};

/// Calls `each` with every entry of the folder `place`, a folder before what is in it, in the order
/// of their names. Ends early when `each` wants no more.
///
/// # Errors
/// The folder cannot be listed, or holds more than one listing carries. A folder below it that cannot
/// be looked into is an entry that says so.
pub fn list(
    start: &Path,
    place: &Place,
    each: &mut dyn FnMut(Entry) -> Wanted,
) -> Result<(), FileFault> {
    let folder = Folder::of(start, place)?;
    let depth = place.below().len();
    let mut walk = Walk {
        each,
        count: 0,
        base: depth,
    };
    walk.folder(&folder, 0).map(drop)
}

/// Whether a listing goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// It does.
    More,
    /// Whoever listened is gone.
    NoMore,
}

struct Walk<'a> {
    each: &'a mut dyn FnMut(Entry) -> Wanted,
    count: usize,
    /// How deep the folder lies that is listed.
    base: usize,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Folder, depth: u16) -> Result<Wanted, FileFault> {
        for name in self.names(folder)? {
            if self.entry(folder, name, depth)? == Wanted::NoMore {
                return Ok(Wanted::NoMore);
            }
        }
        Ok(Wanted::More)
    }

    fn entry(&mut self, within: &Folder, name: FileName, depth: u16) -> Result<Wanted, FileFault> {
        let stat = match within.stat(&name) {
            Ok(stat) => stat,
            // It went away since its name was read.
            Err(FileFault::NotFound) => return Ok(Wanted::More),
            Err(fault) => return Err(fault),
        };
        let attributes = attributes(&stat);
        let mut entry = Entry {
            depth,
            name,
            attributes,
            target: None,
            fault: None,
        };
        if attributes.kind == FileKind::Link {
            entry.target = within.target(&entry.name).ok();
        }
        if attributes.kind != FileKind::Folder {
            return Ok((self.each)(entry));
        }
        if self.base + usize::from(depth) + 2 > Entry::MAX_DEPTH {
            entry.fault = Some(FileFault::TooDeep);
            return Ok((self.each)(entry));
        }
        let opened = within.enter(&entry.name);
        entry.fault = opened.as_ref().err().cloned();
        match ((self.each)(entry), opened) {
            (Wanted::More, Ok(folder)) => self.folder(&folder, depth + 1),
            (wanted, _) => Ok(wanted),
        }
    }

    /// Reads the names of a folder, sorted. They count against the bound before they are kept.
    fn names(&mut self, folder: &Folder) -> Result<Vec<FileName>, FileFault> {
        let mut names = Vec::new();
        let entries = Dir::read_from(folder.fd()).map_err(|error| fault("list", error))?;
        for entry in entries {
            let entry = entry.map_err(|error| fault("list", error))?;
            // `.` and `..` are no names.
            let Ok(name) = FileName::try_from(entry.file_name().to_bytes().to_vec()) else {
                continue;
            };
            self.count += 1;
            if self.count > Entry::MAX_ENTRIES {
                return Err(FileFault::TooMany);
            }
            names.push(name);
        }
        names.sort_unstable();
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn listed(folder: &Path) -> Vec<(u16, String, FileKind)> {
        let mut entries = Vec::new();
        let here = Place::at(Vec::new().try_into().unwrap());
        list(folder, &here, &mut |entry| {
            let kind = entry.attributes.kind;
            entries.push((entry.depth, entry.name.to_string(), kind));
            Wanted::More
        })
        .unwrap();
        entries
    }

    #[test]
    fn a_folder_comes_before_what_is_in_it_and_no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(folder.path().join("a/b")).unwrap();
        fs_err::write(folder.path().join("a/b/x"), "").unwrap();
        fs_err::write(folder.path().join("c"), "").unwrap();
        symlink("/", folder.path().join("root")).unwrap();

        let expected = [
            (0, "a", FileKind::Folder),
            (1, "b", FileKind::Folder),
            (2, "x", FileKind::File),
            (0, "c", FileKind::File),
            (0, "root", FileKind::Link),
        ];
        let expected = expected.map(|(depth, name, kind)| (depth, name.to_owned(), kind));
        assert_eq!(listed(folder.path()), expected);
    }

    #[test]
    fn a_tree_without_end_is_cut_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let mut path = folder.path().to_owned();
        for _ in 0..Entry::MAX_DEPTH + 5 {
            path.push("d");
        }
        fs_err::create_dir_all(&path).unwrap();

        let mut last = None;
        let here = Place::at(Vec::new().try_into().unwrap());
        list(folder.path(), &here, &mut |entry| {
            last = Some(entry);
            Wanted::More
        })
        .unwrap();

        assert_eq!(last.and_then(|entry| entry.fault), Some(FileFault::TooDeep));
    }
}
