//! Folders: all that is in them, their attributes, and what is in them besides files.

use std::{
    ffi::OsStr,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use scenarios::Lab;

use super::{Folders, cp, mode, names, remote, report, set_mode};

/// A tree with everything in it that a copy has to get right.
fn plant(root: &Path) {
    let path = |name: &[u8]| root.join(OsStr::from_bytes(name));
    fs_err::create_dir_all(path(b"deep/er")).unwrap();
    fs_err::create_dir_all(path(b"empty")).unwrap();
    fs_err::write(path(b"deep/er/file"), "content").unwrap();
    fs_err::write(path(b"\xff\x1b[2J\nname"), "bytes").unwrap();
    fs_err::write(path(b"script"), "#!/bin/sh\n").unwrap();
    set_mode(&path(b"script"), 0o755);
    set_mode(&path(b"deep/er/file"), 0o600);
    set_mode(&path(b"deep/er"), 0o555);
    set_mode(&path(b"empty"), 0o2770);
}

#[track_caller]
fn assert_planted(root: &Path) {
    let path = |name: &[u8]| root.join(OsStr::from_bytes(name));
    assert_eq!(fs_err::read(path(b"deep/er/file")).unwrap(), b"content");
    assert_eq!(fs_err::read(path(b"\xff\x1b[2J\nname")).unwrap(), b"bytes");
    let modes =
        [&b"script"[..], b"deep/er/file", b"deep/er", b"empty"].map(|name| mode(&path(name)));
    assert_eq!(modes, [0o755, 0o600, 0o555, 0o770]);
    assert_eq!(names(root).len(), 4);
}

#[test]
fn a_tree_arrives_with_its_modes_in_both_directions() {
    let lab = Lab::loopback();
    let folders = Folders::new();
    plant(&folders.here("tree"));

    // Into a folder that is there, and under a name that is not.
    let _ = cp(
        &lab,
        &["-r"],
        [folders.here("tree").into(), remote(&folders.there)],
    )
    .expect_success();
    let back = folders.here("back");
    let _ = cp(
        &lab,
        &["-r"],
        [remote(folders.there("tree")), back.clone().into()],
    )
    .expect_success();

    assert_planted(&folders.there("tree"));
    assert_planted(&back);
}

#[test]
fn a_tree_that_is_copied_again_is_the_same() {
    let lab = Lab::loopback();
    let folders = Folders::new();
    plant(&folders.here("tree"));

    for _ in 0..2 {
        let done = cp(
            &lab,
            &["-r", "--json"],
            [folders.here("tree").into(), remote(&folders.there)],
        );
        assert_eq!(report(&done.expect_success())["files"], 3);
    }

    assert_planted(&folders.there("tree"));
}

#[test]
fn a_folder_is_copied_only_on_demand() {
    let lab = Lab::loopback();
    let folders = Folders::new();
    plant(&folders.here("tree"));
    plant(&folders.there("tree"));

    let put = cp(
        &lab,
        &[],
        [folders.here("tree").into(), remote(folders.there("x"))],
    )
    .expect_code(1);
    let got = cp(
        &lab,
        &[],
        [remote(folders.there("tree")), folders.here("x").into()],
    )
    .expect_code(1);

    assert!(
        put.stderr_text().contains("is a folder"),
        "{}",
        put.stderr_text()
    );
    assert!(
        got.stderr_text().contains("is a folder"),
        "{}",
        got.stderr_text()
    );
    assert!(!folders.there("x").exists() && !folders.here("x").exists());
}

#[test]
fn what_has_no_content_is_left_out_and_said_to_be() {
    let lab = Lab::loopback();
    let folders = Folders::new();
    let tree = folders.there("tree");
    fs_err::create_dir_all(&tree).unwrap();
    fs_err::write(tree.join("file"), "x").unwrap();
    symlink("/etc/passwd", tree.join("link\u{1b}[2J")).unwrap();
    let fifo = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, tree.join("fifo"), fifo).unwrap();

    let done = cp(&lab, &["-r"], [remote(&tree), folders.here("back").into()]).expect_success();

    assert_eq!(names(&folders.here("back")), ["file"]);
    let said = done.stderr_text();
    assert!(said.contains("fifo: left out: is a named pipe"), "{said}");
    assert!(
        said.contains("link\\u{1b}[2J: left out: is a symbolic link"),
        "{said}"
    );
    assert!(!said.contains('\u{1b}'), "{said}");
}

#[test]
fn links_are_copied_as_links_on_demand() {
    let lab = Lab::loopback();
    let folders = Folders::new();
    fs_err::create_dir_all(folders.here("tree")).unwrap();
    symlink("/etc/passwd", folders.here("tree/out")).unwrap();
    symlink("../nowhere", folders.here("tree/dangling")).unwrap();

    for _ in 0..2 {
        let paths = [folders.here("tree").into(), remote(&folders.there)];
        let _ = cp(&lab, &["-r", "--links"], paths).expect_success();
    }

    let target = |name: &str| fs_err::read_link(folders.there("tree").join(name)).unwrap();
    assert_eq!(target("out"), Path::new("/etc/passwd"));
    assert_eq!(target("dangling"), Path::new("../nowhere"));
}

#[test]
fn a_link_where_a_folder_is_to_be_is_not_followed() {
    let lab = Lab::loopback();
    let folders = Folders::new();
    plant(&folders.here("tree"));
    let outside = folders.there("outside");
    fs_err::create_dir_all(&outside).unwrap();
    fs_err::create_dir_all(folders.there("dst/tree")).unwrap();
    symlink(&outside, folders.there("dst/tree/deep")).unwrap();

    let paths = [folders.here("tree").into(), remote(folders.there("dst"))];
    let refused = cp(&lab, &["-r"], paths).expect_code(1);

    let said = refused.stderr_text();
    assert!(said.contains("symbolic link"), "{said}");
    assert_eq!(names(&outside), [""; 0]);
    // The rest got there.
    assert!(folders.there("dst/tree/script").exists());
}

/// Another user of the host swaps a folder for a link in the middle of copies, again and again.
#[test]
fn a_folder_that_is_swapped_for_a_link_leads_nowhere() {
    let lab = Lab::loopback();
    let folders = Folders::new();
    let sub = folders.here("tree/sub");
    fs_err::create_dir_all(&sub).unwrap();
    for number in 0..20 {
        fs_err::write(sub.join(number.to_string()), "x").unwrap();
    }
    let (outside, tree) = (folders.there("outside"), folders.there("tree"));
    fs_err::create_dir_all(&outside).unwrap();
    fs_err::create_dir_all(tree.join("sub")).unwrap();
    symlink(&outside, tree.join("link")).unwrap();
    let is_over = AtomicBool::new(false);

    thread::scope(|scope| {
        scope.spawn(|| {
            let open = rustix::fs::open(
                &tree,
                rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::RDONLY,
                rustix::fs::Mode::empty(),
            );
            let folder = open.unwrap();
            while !is_over.load(Ordering::Relaxed) {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(&folder, "sub", &folder, "link", exchange).unwrap();
            }
        });
        for _ in 0..10 {
            let paths = [folders.here("tree").into(), remote(&folders.there)];
            let done = cp(&lab, &["-r"], paths);
            assert!(matches!(done.code(), Some(0 | 1)), "{done:?}");
        }
        is_over.store(true, Ordering::Relaxed);
    });

    assert_eq!(names(&outside), [""; 0]);
}
