//! Requests: each variant of what they hold, one at a time.

use proto::{
    frame::Frame,
    run::{Environment, Limits, OnLinkLoss, RunRequest, StdinMode, What, Word},
    shell::Shell,
    text::Text,
};

use super::{Sample, each};
use crate::sample::{argv, request};

pub(super) fn run() -> Vec<Sample<Frame>> {
    let whats = whats()
        .into_iter()
        .map(|(what, hex)| (RunRequest { what, ..request() }, hex));
    let stdins = stdins()
        .into_iter()
        .map(|(stdin, hex)| (RunRequest { stdin, ..request() }, hex));
    let losses = link_losses().into_iter().map(|(on_link_loss, hex)| {
        (
            RunRequest {
                on_link_loss,
                ..request()
            },
            hex,
        )
    });
    let all = whats
        .chain(stdins)
        .chain(losses)
        .chain([limited(), placed()]);
    all.map(|(request, hex)| (Frame::Run(Box::new(request)), hex))
        .collect()
}

fn whats() -> Vec<Sample<What>> {
    let odd = vec![Word::from("echo"), Word::from(""), Word(vec![0xff, b'\n'])];
    let script = What::Script {
        shell: Shell::Pwsh,
        text: "Get-Item é".into(),
    };
    each!(What {
        What::Argv(_) => [
            (
                What::Argv(argv(&["true"])),
                "01 00000055 11111111111111111111111111111111 \
                 2222222222222222222222222222222222222222222222222222222222222222 \
                 0373727680d0eab6b733e0d40305616c69636500010474727565000000000000 \
                 0000d00f00",
            ),
            (
                What::Argv(odd.try_into().unwrap()),
                "01 00000059 11111111111111111111111111111111 \
                 2222222222222222222222222222222222222222222222222222222222222222 \
                 0373727680d0eab6b733e0d40305616c6963650003046563686f0002ff0a0000 \
                 000000000000d00f00",
            ),
        ];
        What::Script { .. } => [(
            script,
            "01 0000005c 11111111111111111111111111111111 \
             2222222222222222222222222222222222222222222222222222222222222222 \
             0373727680d0eab6b733e0d40305616c69636501030b4765742d4974656d20c3 \
             a90000000000000000d00f00",
        )];
        What::LoginShell { .. } => [
            (
                What::LoginShell { shell: None },
                "01 00000050 11111111111111111111111111111111 \
                 2222222222222222222222222222222222222222222222222222222222222222 \
                 0373727680d0eab6b733e0d40305616c696365020000000000000000 \
                 00d00f00",
            ),
            (
                What::LoginShell {
                    shell: Some(Shell::Zsh),
                },
                "01 00000051 11111111111111111111111111111111 \
                 2222222222222222222222222222222222222222222222222222222222222222 \
                 0373727680d0eab6b733e0d40305616c69636502010200000000000000 \
                 00d00f00",
            ),
        ];
    })
}

fn stdins() -> Vec<Sample<StdinMode>> {
    each!(StdinMode {
        StdinMode::Closed => [(
            StdinMode::Closed,
            "01 00000055 11111111111111111111111111111111 \
             2222222222222222222222222222222222222222222222222222222222222222 \
             0373727680d0eab6b733e0d40305616c69636500010474727565000000000000 \
             0000d00f00",
        )];
        StdinMode::Piped => [(
            StdinMode::Piped,
            "01 00000055 11111111111111111111111111111111 \
             2222222222222222222222222222222222222222222222222222222222222222 \
             0373727680d0eab6b733e0d40305616c69636500010474727565000001000000 \
             0000d00f00",
        )];
        StdinMode::Terminal { .. } => [(
            StdinMode::Terminal {
                columns: 132,
                rows: 43,
                term: Text::cut("xterm"),
            },
            "01 0000005e 11111111111111111111111111111111 \
             2222222222222222222222222222222222222222222222222222222222222222 \
             0373727680d0eab6b733e0d40305616c696365000104747275650000 \
             0284012b05787465726d0000000000d00f00",
        )];
    })
}

fn link_losses() -> Vec<Sample<OnLinkLoss>> {
    each!(OnLinkLoss {
        OnLinkLoss::End => [(
            OnLinkLoss::End,
            "01 00000055 11111111111111111111111111111111 \
             2222222222222222222222222222222222222222222222222222222222222222 \
             0373727680d0eab6b733e0d40305616c69636500010474727565000000000000 \
             0000d00f00",
        )];
        OnLinkLoss::Keep { .. } => [(
            OnLinkLoss::Keep { orphan_ms: 600_000 },
            "01 00000058 11111111111111111111111111111111 \
             2222222222222222222222222222222222222222222222222222222222222222 \
             0373727680d0eab6b733e0d40305616c69636500010474727565000000000000 \
             0000d00f01c0cf24",
        )];
        OnLinkLoss::Detach => [(
            OnLinkLoss::Detach,
            "01 00000055 11111111111111111111111111111111 \
             2222222222222222222222222222222222222222222222222222222222222222 \
             0373727680d0eab6b733e0d40305616c69636500010474727565000000000000 \
             0000d00f02",
        )];
    })
}

fn limited() -> Sample<RunRequest> {
    let limits = Limits {
        wall_ms: Some(1),
        idle_ms: Some(2),
        output_bytes: Some(3),
        memory_bytes: Some(4),
        cpu_s: Some(u64::MAX),
        grace_ms: 0,
    };
    (
        RunRequest {
            limits,
            ..request()
        },
        "01 00000062 11111111111111111111111111111111 \
             2222222222222222222222222222222222222222222222222222222222222222 \
             0373727680d0eab6b733e0d40305616c69636500010474727565000000010101 \
             020103010401ffffffffffffffffff010000",
    )
}

fn placed() -> Sample<RunRequest> {
    let cwd = Some(Word::from("/srv"));
    let environment = Environment(vec![(Word::from("A"), Word(vec![0xff]))]);
    (
        RunRequest {
            cwd,
            environment,
            ..request()
        },
        "01 0000005e 11111111111111111111111111111111 \
             2222222222222222222222222222222222222222222222222222222222222222 \
             0373727680d0eab6b733e0d40305616c6963650001047472756501042f737276 \
             01014101ff000000000000d00f00",
    )
}
