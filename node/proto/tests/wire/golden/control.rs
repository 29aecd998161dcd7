//! Frames with a small body.

use proto::{
    capability::{
        Capabilities, Capability, FailureReason, List, OsFamily, Privilege, PrivilegeLevel,
        ProbeFailure, Program,
    },
    frame::{Cancel, Frame, Hello, Resize},
    run::{Earlier, Started},
    text::Text,
};

use super::{Sample, each};
use crate::sample;

const CLOCK_MS: u64 = 1_767_225_600_000;

pub(super) fn hello() -> Vec<Sample<Frame>> {
    let hello = |os| {
        Frame::Hello(Hello {
            version: Text::cut("0.1.0"),
            os,
            clock_ms: CLOCK_MS,
        })
    };
    let systems = each!(OsFamily {
        OsFamily::Linux => [(OsFamily::Linux, "00 0000000d 05302e312e300080d0eab6b733")];
        OsFamily::Windows => [(OsFamily::Windows, "00 0000000d 05302e312e300180d0eab6b733")];
        OsFamily::MacOs => [(OsFamily::MacOs, "00 0000000d 05302e312e300280d0eab6b733")];
        OsFamily::Other => [(OsFamily::Other, "00 0000000d 05302e312e300380d0eab6b733")];
    });
    systems
        .into_iter()
        .map(|(os, hex)| (hello(os), hex))
        .collect()
}

pub(super) fn started() -> Vec<Sample<Frame>> {
    let started = |pid, at_ms| Frame::Started(Started { pid, at_ms });
    vec![
        (started(4711, CLOCK_MS), "04 00000008 e72480d0eab6b733"),
        (
            started(u32::MAX, u64::MAX),
            "04 0000000f ffffffff0fffffffffffffffffff01",
        ),
    ]
}

pub(super) fn cancel() -> Vec<Sample<Frame>> {
    let cancel = Frame::Cancel(Cancel {
        run: sample::run_id(),
        grace_ms: 2000,
    });
    vec![(cancel, "08 00000012 11111111111111111111111111111111d00f")]
}

pub(super) fn earlier() -> Vec<Sample<Frame>> {
    vec![(
        Frame::Earlier(Earlier {
            accepted_at_ms: CLOCK_MS,
        }),
        "0c 00000006 80d0eab6b733",
    )]
}

pub(super) fn resize() -> Vec<Sample<Frame>> {
    let resize = |columns, rows| Frame::Resize(Resize { columns, rows });
    vec![
        (resize(132, 43), "11 00000003 84012b"),
        (resize(0, 0), "11 00000002 0000"),
        (resize(u16::MAX, u16::MAX), "11 00000006 ffff03ffff03"),
    ]
}

/// What little an agent may say. Its parts have golden bytes beside the document's own tests.
pub(super) fn capabilities() -> Vec<Sample<Frame>> {
    let nothing = Capabilities {
        agent_version: Text::cut("0.1.0"),
        probed_at_ms: CLOCK_MS,
        os: None,
        architecture: None,
        hostname: None,
        shells: None,
        package_managers: None,
        init: None,
        tools: None,
        domain: None,
        privilege: None,
        mounts: None,
        workspaces: None,
        enclosure: None,
        failures: List::default(),
    };
    let failure = ProbeFailure {
        capability: Capability::Tools,
        part: None,
        reason: FailureReason::TimedOut { after_ms: 2000 },
    };
    let sh = Program {
        name: Text::cut("sh"),
        path: Text::cut("/bin/sh"),
        version: None,
    };
    let little = Capabilities {
        hostname: Some(Text::cut("srv")),
        shells: Some(List::cut(vec![sh]).0),
        privilege: Some(Privilege {
            level: PrivilegeLevel::Root,
            user: Text::cut("root"),
            uid: Some(0),
        }),
        failures: List::cut(vec![failure]).0,
        ..nothing.clone()
    };
    let frame = |document| Frame::Capabilities(Box::new(document));
    vec![
        (
            frame(nothing),
            "0b 00000019 05302e312e3080d0eab6b73300000000000000000000000000",
        ),
        (
            frame(little),
            "0b 00000037 \
             05302e312e3080d0eab6b733000001037372760101027368072f62696e2f7368 \
             0000000000010204726f6f74010000000001060000d00f",
        ),
    ]
}
