//! Either end of a copy is killed before and after each of its durable writes: the old file or all of
//! the new one, and the same copy again makes it whole.

use scenarios::{Lab, PATIENCE, Process, eventually};

use super::{Folders, cp, names, random, remote, words};

/// What has the final name when a process died at a point.
#[derive(Debug, Clone, Copy)]
enum Shows {
    Old,
    New,
}

/// Points of whoever writes the file.
const WRITER: [(&str, Shows); 4] = [
    ("file-before-sync", Shows::Old),
    ("file-after-sync", Shows::Old),
    ("file-after-rename", Shows::New),
    ("file-after-folder-sync", Shows::New),
];

/// Points of an agent that keeps records of what arrives.
const RECORDS: [(&str, Shows); 4] = [
    ("copy-before-note", Shows::Old),
    ("copy-after-note", Shows::Old),
    ("copy-before-forgotten", Shows::New),
    ("copy-after-forgotten", Shows::New),
];

/// All points of copies.
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    WRITER.into_iter().chain(RECORDS).map(|(point, _)| point)
}

/// More than one piece, and more than is written behind the disk's back at once.
const LEN: usize = 9 << 20;

#[test]
fn agent_killed_at_any_point_of_a_put_has_the_old_file_or_the_new_and_takes_it_in_the_end() {
    for (point, shows) in WRITER.into_iter().chain(RECORDS) {
        let mut lab = Lab::loopback();
        let folders = Folders::new();
        let content = random(LEN);
        fs_err::write(folders.here("x"), &content).unwrap();
        fs_err::write(folders.there("x"), "old").unwrap();
        lab.agent(0).restart_with_fault(&format!("{point}:1"));
        let paths = [folders.here("x").into(), remote(&folders.there)];
        let copying = Process::start(lab.controller(words(&[], paths)));
        eventually(PATIENCE, || !lab.agent(0).process().is_running());

        let found = fs_err::read(folders.there("x")).unwrap();
        let is_as_told = match shows {
            Shows::Old => found == b"old",
            Shows::New => found == content,
        };
        assert!(is_as_told, "{point}: {} bytes", found.len());
        lab.agent(0).restart();

        let _ = copying.wait_exit(PATIENCE * 2).expect_success();
        assert!(
            fs_err::read(folders.there("x")).unwrap() == content,
            "{point}"
        );
        assert_eq!(names(&folders.there), ["x"], "{point}");
        let records = lab.agent(0).home().join("copies");
        assert_eq!(names(&records), [""; 0], "{point}");
    }
}

#[test]
fn controller_killed_at_any_point_of_a_get_has_the_old_file_or_the_new_and_can_do_it_again() {
    for (point, shows) in WRITER {
        let lab = Lab::loopback();
        let folders = Folders::new();
        let content = random(LEN);
        fs_err::write(folders.there("x"), &content).unwrap();
        fs_err::write(folders.here("x"), "old").unwrap();
        let paths = || [remote(folders.there("x")), folders.here.clone().into()];
        let mut dying = lab.controller(words(&[], paths()));
        dying.env("MESOSYNC_FAULT", format!("{point}:1"));

        let died = Process::run(dying);

        assert_eq!(died.code(), None, "{point}: {died:?}");
        let found = fs_err::read(folders.here("x")).unwrap();
        let is_as_told = match shows {
            Shows::Old => found == b"old",
            Shows::New => found == content,
        };
        assert!(is_as_told, "{point}: {} bytes", found.len());
        let _ = cp(&lab, &[], paths()).expect_success();
        assert!(
            fs_err::read(folders.here("x")).unwrap() == content,
            "{point}"
        );
        assert_eq!(names(&folders.here), ["x"], "{point}");
    }
}
