//! Agents that lie: whatever they say, nothing is written but what was asked for, where it was asked.

mod liar;

use std::path::Path;

use proto::{
    file::{Attributes, Entry, FileAction, FileKind, FileTime, Start, Sum},
    frame::Frame,
};
use scenarios::{Finished, Lab, Process};
use sha2::{Digest as _, Sha256};

use self::liar::{Liar, bytes_of};
use super::{AGENT, Folders, names, words};

fn attributes(kind: FileKind, size: u64) -> Attributes {
    Attributes {
        kind,
        size,
        mode: 0o644,
        modified: FileTime::default(),
    }
}

fn entry(depth: u16, name: &str, kind: FileKind, target: Option<&str>) -> Frame {
    Frame::FileEntry(Box::new(Entry {
        depth,
        name: name.as_bytes().to_vec().try_into().unwrap(),
        attributes: attributes(kind, 4),
        target: target.map(|target| target.as_bytes().to_vec().try_into().unwrap()),
        fault: None,
    }))
}

fn sum(content: &[u8]) -> Sum {
    Sum {
        bytes: content.len() as u64,
        sha256: Sha256::digest(content).into(),
    }
}

/// The content `evil`, as an honest agent would send it.
fn evil() -> Vec<Frame> {
    vec![
        Frame::FileFound(attributes(FileKind::File, 4)),
        Frame::FileStart(Start { offset: 0 }),
        Frame::FileBytes(b"evil".to_vec().into()),
    ]
}

/// Copies the folder `tree` from a liar that lists it as these bytes.
fn copy_tree(folders: &Folders, listing: Vec<u8>) -> Finished {
    let lab = Lab::new();
    let liar = Liar::start(lab.mesh(), move |action| match action {
        FileAction::Look { .. } => bytes_of(&[Frame::FileFound(attributes(FileKind::Folder, 0))]),
        FileAction::List { .. } => listing.clone(),
        FileAction::Get { .. }
        | FileAction::Put { .. }
        | FileAction::MakeFolder { .. }
        | FileAction::Settle { .. }
        | FileAction::MakeLink { .. } => {
            bytes_of(&[evil(), vec![Frame::FileEnd(sum(b"evil"))]].concat())
        }
    });
    let paths = [
        format!("{AGENT}:/tree").into(),
        folders.here("tree").into_os_string(),
    ];
    let words = words(&["-r", "--links"], paths);
    Process::run(lab.controller_knowing([(AGENT, liar.address())], words))
}

/// Copies one file from a liar that answers a get with these frames.
fn copy_file(folders: &Folders, size: u64, answer: Vec<Frame>) -> Finished {
    let lab = Lab::new();
    let liar = Liar::start(lab.mesh(), move |action| match action {
        FileAction::Look { .. } => bytes_of(&[Frame::FileFound(attributes(FileKind::File, size))]),
        FileAction::List { .. }
        | FileAction::Get { .. }
        | FileAction::Put { .. }
        | FileAction::MakeFolder { .. }
        | FileAction::Settle { .. }
        | FileAction::MakeLink { .. } => bytes_of(&answer),
    });
    let paths = [
        format!("{AGENT}:/x").into(),
        folders.here("x").into_os_string(),
    ];
    Process::run(lab.controller_knowing([(AGENT, liar.address())], words(&[], paths)))
}

#[track_caller]
fn assert_nothing_outside(folders: &Folders) {
    let all = folders.here.parent().unwrap();
    assert_eq!(names(all), ["here", "there"]);
    assert_eq!(names(&folders.there), [""; 0]);
    assert!(!Path::new("/evil").exists());
}

#[test]
fn a_liar_that_tells_the_truth_is_believed() {
    let folders = Folders::new();
    let listing = [
        entry(0, "sub", FileKind::Folder, None),
        entry(1, "file", FileKind::File, None),
        Frame::FileDone,
    ];

    let done = copy_tree(&folders, bytes_of(&listing));

    // What is refused below is refused for what was changed, and for nothing else.
    assert_eq!(done.code(), Some(0), "{}", done.stderr_text());
    let file = folders.here("tree/sub/file");
    assert_eq!(fs_err::read(file).unwrap(), b"evil");
}

#[test]
fn names_that_leave_their_folder_are_no_names() {
    for hostile in [
        &b"../evil"[..],
        b"/../evi",
        b"/evil/x",
        b"a/b/c/d",
        b"evil\0xx",
        b"..\0\0\0\0\0",
    ] {
        let folders = Folders::new();
        let honest = bytes_of(&[entry(0, "HOSTILE", FileKind::File, None), Frame::FileDone]);
        let at = honest
            .windows(7)
            .position(|part| part == b"HOSTILE")
            .unwrap();
        let mut listing = honest.clone();
        listing[at..at + 7].copy_from_slice(hostile);

        let refused = copy_tree(&folders, listing);

        assert_ne!(refused.code(), Some(0), "{hostile:?}");
        assert!(
            refused
                .stderr_text()
                .contains("does not answer as the protocol asks"),
            "{}",
            refused.stderr_text()
        );
        assert_nothing_outside(&folders);
    }
}

#[test]
fn an_entry_below_what_is_no_folder_is_a_violation() {
    for listing in [
        vec![entry(1, "x", FileKind::File, None)],
        vec![
            entry(0, "x", FileKind::File, None),
            entry(1, "y", FileKind::File, None),
        ],
        vec![
            entry(0, "x", FileKind::Folder, None),
            entry(2, "y", FileKind::File, None),
        ],
        vec![
            entry(0, "x", FileKind::Link, Some("/")),
            entry(1, "y", FileKind::File, None),
        ],
    ] {
        let folders = Folders::new();

        let refused = copy_tree(&folders, bytes_of(&listing));

        assert_ne!(refused.code(), Some(0));
        assert_eq!(names(&folders.here), [""; 0]);
        assert_nothing_outside(&folders);
    }
}

#[test]
fn a_link_and_then_a_folder_of_its_name_lead_nowhere() {
    let folders = Folders::new();
    let outside = folders.there.to_str().unwrap().to_owned();
    let listing = [
        entry(0, "sub", FileKind::Link, Some(&outside)),
        entry(0, "sub", FileKind::Folder, None),
        entry(1, "evil", FileKind::File, None),
        Frame::FileDone,
    ];

    let refused = copy_tree(&folders, bytes_of(&listing));

    let said = refused.expect_code(1).stderr_text();
    assert!(said.contains("symbolic link"), "{said}");
    assert_nothing_outside(&folders);
}

#[test]
fn a_listing_that_does_not_end_is_not_believed() {
    let folders = Folders::new();
    let listing = [entry(0, "x", FileKind::File, None)];

    let lost = copy_tree(&folders, bytes_of(&listing)).expect_code(255);

    assert!(
        lost.stderr_text().contains("ended the stream"),
        "{}",
        lost.stderr_text()
    );
    assert_eq!(names(&folders.here), [""; 0]);
}

#[test]
fn content_that_is_damaged_or_too_long_leaves_nothing() {
    let damaged = [evil(), vec![Frame::FileEnd(sum(b"good"))]].concat();
    let more = Frame::FileBytes(b"more than was said".to_vec().into());
    let too_long = [evil(), vec![more]].concat();
    let wrong_start = [
        evil()[..1].to_vec(),
        vec![Frame::FileStart(Start { offset: 3 })],
    ]
    .concat();
    for (answer, code, why) in [
        (damaged, 1, "arrived damaged"),
        (too_long, 255, "does not answer as the protocol asks"),
        (wrong_start, 255, "does not answer as the protocol asks"),
        (
            vec![Frame::FileHeld(sum(b""))],
            255,
            "does not answer as the protocol asks",
        ),
        (
            vec![Frame::FileDone],
            255,
            "does not answer as the protocol asks",
        ),
    ] {
        let folders = Folders::new();
        fs_err::write(folders.here("x"), "old").unwrap();

        let refused = copy_file(&folders, 4, answer);

        let said = refused.stderr_text();
        assert_eq!(refused.code(), Some(code), "{said}");
        assert!(said.contains(why), "{said}");
        assert_eq!(fs_err::read(folders.here("x")).unwrap(), b"old");
        assert_eq!(names(&folders.here), ["x"]);
    }
}

#[test]
fn content_that_is_cut_gets_no_name() {
    let folders = Folders::new();
    fs_err::write(folders.here("x"), "old").unwrap();

    let lost = copy_file(&folders, 4, evil()).expect_code(255);

    let said = lost.stderr_text();
    assert!(said.contains("ended the stream"), "{said}");
    assert_eq!(fs_err::read(folders.here("x")).unwrap(), b"old");
}

#[test]
fn what_a_liar_says_of_a_refusal_is_shown_harmlessly() {
    use proto::{
        file::{FileFault, FileRefusal},
        text::Text,
    };
    let folders = Folders::new();
    let fault = FileFault::Other {
        doing: Text::cut("\u{1b}[2J"),
        why: Text::cut("no\ncontroller: all is well\u{9b}"),
    };
    let path = Text::cut("/x\r\u{1b}]0;owned\u{7}");
    let refusal = FileRefusal::File { path, fault };

    let refused = copy_file(&folders, 4, vec![Frame::FileRefused(Box::new(refusal))]);

    let said = refused.expect_code(1).stderr_text();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        !said.contains(['\u{1b}', '\r', '\u{7}', '\u{9b}']),
        "{said}"
    );
}
