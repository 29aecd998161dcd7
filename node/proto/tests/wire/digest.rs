//! What a retry with the same run id must repeat: everything but its issue time and window.

use proptest::prelude::*;
use proto::{
    id::{Fingerprint, RunId},
    run::{Argv, Environment, OnLinkLoss, RunRequest, StdinMode, What, Word},
    shell::Shell,
    text::Text,
};

use crate::{
    any_frame,
    golden::hex,
    sample::{argv, request},
};

proptest! {
    #[test]
    fn a_retry_with_a_later_window_has_the_same_digest(
        first in any_frame::request(),
        issued_at_ms in any::<u64>(),
        valid_for_ms in any::<u32>(),
    ) {
        let retry = RunRequest { issued_at_ms, valid_for_ms, ..first.clone() };

        prop_assert_eq!(retry.digest(), first.digest());
    }
}

#[test]
fn each_changed_field_changes_the_digest() {
    let mut digests = vec![request().digest()];
    for (field, change) in CHANGES {
        let mut changed = request();
        change(&mut changed);

        let digest = changed.digest();

        assert!(
            !digests.contains(&digest),
            "a changed {field} passes as a retry"
        );
        digests.push(digest);
    }
}

#[test]
fn no_field_is_forgotten_by_the_test_above() {
    let RunRequest {
        id: _,
        audience: _,
        issued_at_ms: _,
        valid_for_ms: _,
        principal: _,
        what: _,
        cwd: _,
        environment: _,
        stdin: _,
        limits: _,
        on_link_loss: _,
    } = request();
    let fields = [
        "id",
        "audience",
        "principal",
        "what",
        "cwd",
        "environment",
        "stdin",
        "limits",
        "on_link_loss",
    ];

    for field in fields {
        assert!(
            CHANGES.iter().any(|(name, _)| name.starts_with(field)),
            "{field}"
        );
    }
}

#[test]
fn the_digest_is_the_same_for_ever() {
    // Ledgers keep digests across updates of the agent: another value would turn a retry into
    // "this run id was used for another request".
    let kept = "cde549a56d83195e41395179d7dfdbaea16ff1a9e506584b8fae9cf8bba97f2b";

    assert_eq!(hex(&request().digest()), kept);
}

type Change = fn(&mut RunRequest);

const CHANGES: [(&str, Change); 29] = [
    ("id", |r| r.id = RunId::from_bytes([0x12; 16])),
    ("audience.mesh", |r| {
        r.audience.mesh = Fingerprint::from_bytes([0x23; 32])
    }),
    ("audience.agent", |r| {
        r.audience.agent = "srv-2".parse().unwrap()
    }),
    ("principal", |r| r.principal = Text::cut("bob")),
    ("what: another program", |r| {
        r.what = What::Argv(argv(&["false"]))
    }),
    ("what: one word more", |r| {
        r.what = What::Argv(argv(&["true", ""]))
    }),
    ("what: words cut elsewhere", |r| {
        r.what = What::Argv(argv(&["tru", "e"]))
    }),
    ("what: a script", |r| r.what = script(Shell::Bash)),
    ("what: a script for another shell", |r| {
        r.what = script(Shell::Sh)
    }),
    ("cwd", |r| r.cwd = Some(Word::from("/"))),
    ("cwd: empty", |r| r.cwd = Some(Word::from(""))),
    ("environment", |r| {
        r.environment = Environment(vec![(Word::from("A"), Word::from("b"))])
    }),
    ("environment: a value", |r| {
        r.environment = Environment(vec![(Word::from("A"), Word::from("c"))]);
    }),
    ("what: a login shell", |r| {
        r.what = What::LoginShell { shell: None };
    }),
    ("what: a login shell by name", |r| {
        r.what = What::LoginShell {
            shell: Some(Shell::Bash),
        };
    }),
    ("stdin", |r| r.stdin = StdinMode::Piped),
    ("stdin: a terminal", |r| r.stdin = terminal(80, 24, "xterm")),
    ("stdin: its width", |r| r.stdin = terminal(81, 24, "xterm")),
    ("stdin: its height", |r| r.stdin = terminal(80, 25, "xterm")),
    ("stdin: its kind", |r| r.stdin = terminal(80, 24, "vt100")),
    ("limits.wall_ms", |r| r.limits.wall_ms = Some(1)),
    ("limits.idle_ms", |r| r.limits.idle_ms = Some(1)),
    ("limits.output_bytes", |r| r.limits.output_bytes = Some(1)),
    ("limits.memory_bytes", |r| r.limits.memory_bytes = Some(1)),
    ("limits.cpu_s", |r| r.limits.cpu_s = Some(1)),
    ("limits.grace_ms", |r| r.limits.grace_ms += 1),
    ("on_link_loss", |r| {
        r.on_link_loss = OnLinkLoss::Keep { orphan_ms: 1 };
    }),
    ("on_link_loss: on purpose", |r| {
        r.on_link_loss = OnLinkLoss::Detach;
    }),
    ("what: bytes that are not UTF-8", |r| {
        r.what = What::Argv(Argv::try_from(vec![Word(vec![0xff])]).unwrap());
    }),
];

fn terminal(columns: u16, rows: u16, term: &str) -> StdinMode {
    StdinMode::Terminal {
        columns,
        rows,
        term: Text::cut(term),
    }
}

fn script(shell: Shell) -> What {
    What::Script {
        shell,
        text: "true".into(),
    }
}
