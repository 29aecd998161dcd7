//! What a destination means, what cannot be one, and what cannot be a source.

use std::os::unix::fs::symlink;

use scenarios::{Lab, Process};

use super::{Folders, cp, names, remote};

#[track_caller]
fn assert_refused(lab: &Lab, options: &[&str], paths: [std::ffi::OsString; 2], why: &str) {
    let said = cp(lab, options, paths).expect_code(1).stderr_text();
    assert!(said.contains(why), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_destination_is_a_folder_that_is_there_or_a_name_that_is_free() {
    let lab = Lab::loopback();
    let folders = Folders::new();
    for name in ["a", "b"] {
        fs_err::write(folders.here(name), name).unwrap();
    }
    fs_err::create_dir_all(folders.there("folder")).unwrap();
    symlink(folders.there("folder"), folders.there("link-to-folder")).unwrap();
    let (a, b) = (folders.here("a"), folders.here("b"));

    let _ = cp(
        &lab,
        &[],
        [
            a.clone().into(),
            b.clone().into(),
            remote(folders.there("folder")),
        ],
    )
    .expect_success();
    let _ = cp(&lab, &[], [a.clone().into(), remote(folders.there("name"))]).expect_success();
    let through = remote(folders.there("link-to-folder"));
    let _ = cp(&lab, &[], [a.into(), through]).expect_success();

    assert_eq!(names(&folders.there("folder")), ["a", "b"]);
    assert_eq!(fs_err::read(folders.there("name")).unwrap(), b"a");
}

#[test]
fn a_relative_remote_path_starts_in_the_agents_home() {
    let lab = Lab::loopback();
    let folders = Folders::new();

    // The host's user database says where that is; a name that is there in none is looked for.
    let missing = cp(
        &lab,
        &[],
        [remote("no-such-file-of-mesosync"), folders.here("x").into()],
    );

    let said = missing.expect_code(1).stderr_text();
    assert!(
        said.contains("srv-linux-01:no-such-file-of-mesosync: no such file or folder"),
        "{said}"
    );
}

#[test]
fn places_where_nothing_can_be_put_are_named_with_the_reason() {
    let lab = Lab::loopback();
    let folders = Folders::new();
    fs_err::write(folders.here("a"), "new").unwrap();
    fs_err::write(folders.there("file"), "old").unwrap();
    fs_err::create_dir_all(folders.there("taken/a/full")).unwrap();
    let a = || folders.here("a").into();
    let there = |name: &str| remote(folders.there(name));

    assert_refused(
        &lab,
        &[],
        [a(), there("missing/x")],
        "the folder for it is not there",
    );
    assert_refused(
        &lab,
        &[],
        [a(), there("missing/")],
        "no such file or folder",
    );
    assert_refused(&lab, &[], [a(), there("file/")], "not a folder");
    assert_refused(&lab, &[], [a(), there("file/x")], "not a folder");
    assert_refused(
        &lab,
        &[],
        [a(), there("taken")],
        "a folder of this name is there already",
    );
    assert_refused(&lab, &[], [a(), remote("/proc/x")], "/proc/x: ");
    assert_eq!(fs_err::read(folders.there("file")).unwrap(), b"old");
    assert_eq!(names(&folders.there("taken")), ["a"]);
}

#[test]
fn places_here_where_nothing_can_be_put_are_named_with_the_reason() {
    let lab = Lab::loopback();
    let folders = Folders::new();
    fs_err::write(folders.there("a"), "new").unwrap();
    fs_err::create_dir_all(folders.here("taken/a/full")).unwrap();
    let a = || remote(folders.there("a"));

    let here = |name: &str| folders.here(name).into();
    assert_refused(
        &lab,
        &[],
        [a(), here("missing/x")],
        "the folder for it is not there",
    );
    assert_refused(
        &lab,
        &[],
        [a(), here("taken")],
        "a folder of this name is there already",
    );
    assert_eq!(names(&folders.here("taken")), ["a"]);
}

#[test]
fn what_has_no_end_is_no_source_and_holds_nobody_up() {
    let lab = Lab::loopback();
    let folders = Folders::new();
    let fifo = rustix::fs::Mode::from_raw_mode(0o600);
    for folder in [&folders.here, &folders.there] {
        rustix::fs::mkfifoat(rustix::fs::CWD, folder.join("fifo"), fifo).unwrap();
    }
    let x = || folders.here("x").into();
    let there = || remote(folders.there("x"));

    assert_refused(
        &lab,
        &[],
        [remote(folders.there("fifo")), x()],
        "is a named pipe, not a file",
    );
    assert_refused(
        &lab,
        &[],
        [remote("/dev/zero"), x()],
        "is a device, not a file",
    );
    assert_refused(
        &lab,
        &[],
        [folders.here("fifo").into(), there()],
        "is a named pipe, not a file",
    );
    assert_refused(
        &lab,
        &[],
        ["/dev/zero".into(), there()],
        "is a device, not a file",
    );
    assert_refused(
        &lab,
        &[],
        [folders.here("no").into(), there()],
        "no such file or folder",
    );
    assert!(!folders.here("x").exists() && !folders.there("x").exists());
}

#[test]
fn a_file_of_the_kernel_is_copied_as_it_is_read() {
    let lab = Lab::loopback();
    let folders = Folders::new();

    let _ = cp(
        &lab,
        &[],
        [remote("/proc/version"), folders.here("x").into()],
    )
    .expect_success();

    assert_eq!(
        fs_err::read(folders.here("x")).unwrap(),
        fs_err::read("/proc/version").unwrap()
    );
}

#[test]
fn words_that_make_no_sense_are_usage_errors() {
    let lab = Lab::new();
    for words in [
        &["cp", "a"][..],
        &["cp", "a", "b"],
        &["cp", "srv:a", "srv:b"],
        &["cp", "srv:a", "other:b", "c"],
        &["cp", "a", "srv:b", "c"],
        &["cp", "a", "Not a name:b"],
    ] {
        let refused = Process::run(lab.controller(words));
        assert_eq!(
            refused.code(),
            Some(64),
            "{words:?}: {}",
            refused.stderr_text()
        );
    }
}

#[test]
fn a_target_that_is_not_there_is_unreachable() {
    let lab = Lab::loopback();
    let folders = Folders::new();
    fs_err::write(folders.here("a"), "x").unwrap();

    let words = ["cp", "--json", "--connect-timeout", "1s"].map(std::ffi::OsString::from);
    let paths = [folders.here("a").into(), "nobody:/tmp/x".into()];
    let lost = Process::run(lab.controller(words.into_iter().chain(paths))).expect_code(255);

    assert_eq!(super::report(&lost)["outcome"], "unreachable");
    assert!(lost.stderr_text().contains("nobody is not reachable"));
}
