//! Hidden files: whole, broken, raced and trapped.

use std::{
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use super::*;

const TRANSFER: TransferId = TransferId::from_bytes([7; 16]);

fn open(folder: &Path) -> Partial {
    open_as(folder, TRANSFER)
}

fn open_as(folder: &Path, transfer: TransferId) -> Partial {
    let opened = Folder::open(folder, &Vec::new().try_into().unwrap()).unwrap();
    let name = b"final".to_vec().try_into().unwrap();
    Partial::open(opened, &name, transfer).unwrap()
}

fn finish(content: &[u8]) -> Finish {
    Finish {
        sum: Sum {
            bytes: content.len() as u64,
            sha256: Sha256::digest(content).into(),
        },
        mode: 0o640,
        modified: None,
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(folder).unwrap();
    let name = |entry: std::io::Result<fs_err::DirEntry>| {
        entry.unwrap().file_name().to_string_lossy().into_owned()
    };
    entries.map(name).collect()
}

#[test]
fn a_file_has_its_name_only_when_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut partial = open(folder.path());
    partial.write(b"hello").unwrap();
    assert!(!folder.path().join("final").exists());

    partial.finish(finish(b"hello")).unwrap();

    let path = folder.path().join("final");
    assert_eq!(fs_err::read(&path).unwrap(), b"hello");
    let mode = fs_err::metadata(&path).unwrap().permissions().mode();
    assert_eq!((mode & 0o7777, names(folder.path()).len()), (0o640, 1));
}

#[test]
fn a_broken_copy_goes_on_where_it_broke() {
    let folder = tempfile::tempdir().unwrap();
    let mut broken = open(folder.path());
    broken.write(b"hel").unwrap();
    drop(broken);

    let mut again = open(folder.path());
    assert_eq!(again.held().bytes, 3);
    again.start_at(3).unwrap();
    again.write(b"lo").unwrap();
    again.finish(finish(b"hello")).unwrap();

    assert_eq!(names(folder.path()), ["final"]);
}

#[test]
fn what_is_held_of_another_content_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let mut broken = open(folder.path());
    broken.write(b"something longer").unwrap();
    drop(broken);

    let mut again = open(folder.path());
    again.start_at(0).unwrap();
    again.write(b"short").unwrap();

    assert_eq!(again.finish(finish(b"short")).unwrap().sum.bytes, 5);
}

#[test]
fn a_file_that_is_written_while_it_arrives_is_the_same_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let odd = WRITE_BEHIND as usize / 3 + 1;
    let content: Vec<u8> = (0..odd * 7).map(|at| (at % 251) as u8).collect();
    let mut partial = open(folder.path());
    for piece in content.chunks(odd) {
        partial.write(piece).unwrap();
    }

    partial.finish(finish(&content)).unwrap();

    assert!(fs_err::read(folder.path().join("final")).unwrap() == content);
}

#[cfg(target_os = "linux")]
#[test]
fn what_was_replaced_stays_until_it_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("final");
    fs_err::write(&path, "old").unwrap();
    let old = rustix::fs::stat(&path).unwrap();
    let mut partial = open(folder.path());
    partial.write(b"new").unwrap();

    let finished = partial.finish(finish(b"new")).unwrap();

    let held = stat_open(&finished.replaced.unwrap()).unwrap();
    assert_eq!((held.st_ino, held.st_nlink), (old.st_ino, 0));
    assert_eq!(fs_err::read(&path).unwrap(), b"new");
}

#[test]
fn damaged_content_changes_nothing_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("final"), "old").unwrap();
    let mut partial = open(folder.path());
    partial.write(b"hellO").unwrap();

    let refused = partial.finish(finish(b"hello")).unwrap_err();

    assert_eq!(refused, FileFault::Damaged);
    assert_eq!(names(folder.path()), ["final"]);
    assert_eq!(fs_err::read(folder.path().join("final")).unwrap(), b"old");
}

#[test]
fn two_copies_at_once_do_not_share_a_hidden_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = open(folder.path());
    first.write(b"first").unwrap();
    let mut second = open(folder.path());
    second.write(b"second").unwrap();
    assert!(!second.is_resumable());

    second.finish(finish(b"second")).unwrap();
    first.finish(finish(b"first")).unwrap();

    assert_eq!(fs_err::read(folder.path().join("final")).unwrap(), b"first");
    assert_eq!(names(folder.path()), ["final"]);
}

#[test]
fn a_hidden_name_that_somebody_prepared_is_not_written_through() {
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    fs_err::write(&victim, "untouched").unwrap();
    let trap: [fn(&Path, &Path); 2] = [
        |victim, at| symlink(victim, at).unwrap(),
        |victim, at| fs_err::hard_link(victim, at).unwrap(),
    ];
    for set in trap {
        let folder = tempfile::tempdir().unwrap();
        let name = b"final".to_vec().try_into().unwrap();
        let hidden = hidden_name(&name, &TRANSFER.to_string());
        set(
            &victim,
            &folder.path().join(String::from_utf8(hidden).unwrap()),
        );

        let mut partial = open(folder.path());
        partial.write(b"evil").unwrap();
        partial.finish(finish(b"evil")).unwrap();

        assert_eq!(fs_err::read(&victim).unwrap(), b"untouched");
        let path = folder.path().join("final");
        assert!(fs_err::symlink_metadata(&path).unwrap().is_file());
    }
}

#[test]
fn a_link_under_the_final_name_is_replaced_and_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    fs_err::write(&victim, "untouched").unwrap();
    let folder = tempfile::tempdir().unwrap();
    symlink(&victim, folder.path().join("final")).unwrap();

    let mut partial = open(folder.path());
    partial.write(b"new").unwrap();
    partial.finish(finish(b"new")).unwrap();

    assert_eq!(fs_err::read(&victim).unwrap(), b"untouched");
    assert_eq!(fs_err::read(folder.path().join("final")).unwrap(), b"new");
}

#[test]
fn a_folder_under_the_final_name_stays_and_nothing_hidden_does() {
    let folder = tempfile::tempdir().unwrap();
    fs_err::create_dir_all(folder.path().join("final/full")).unwrap();

    let mut partial = open(folder.path());
    partial.write(b"new").unwrap();
    let taken = partial.finish(finish(b"new"));

    assert!(matches!(taken, Err(FileFault::Taken(_))), "{taken:?}");
    assert_eq!(names(folder.path()), ["final"]);
}

#[test]
fn the_longest_name_has_a_hidden_one() {
    let name = FileName::try_from(vec![b'x'; FileName::MAX_LEN]).unwrap();

    let hidden = hidden_name(&name, &TRANSFER.to_string());

    assert!(FileName::try_from(hidden).is_ok());
}
