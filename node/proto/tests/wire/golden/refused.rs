//! Every reason of a refusal.

use proto::{
    frame::Frame,
    run::{Refusal, StartFailure, Unstarted},
    text::Text,
};

use super::{Sample, each};

pub(super) fn refused() -> Vec<Sample<Frame>> {
    reasons()
        .into_iter()
        .map(|(reason, hex)| (Frame::Refused(reason), hex))
        .collect()
}

fn reasons() -> Vec<Sample<Refusal>> {
    let agent = Text::cut("srv-2");
    let request = Text::cut("nul");
    let ledger = Text::cut("disk full");
    each!(Refusal {
        Refusal::Role => [(Refusal::Role, "09 00000001 00")];
        Refusal::Audience { .. } => [(Refusal::Audience { agent }, "09 00000007 01057372762d32")];
        Refusal::Request { .. } => [(Refusal::Request { why: request }, "09 00000005 02036e756c")];
        Refusal::TooOld { .. } => [
            (
                Refusal::TooOld { age_ms: 86_400_000, valid_for_ms: 60_000 },
                "09 00000008 0380b89929e0d403",
            ),
        ];
        Refusal::FromTheFuture { .. } => [
            (Refusal::FromTheFuture { ahead_ms: 90_000 }, "09 00000004 0490bf05"),
        ];
        Refusal::OlderThanMemory => [(Refusal::OlderThanMemory, "09 00000001 05")];
        Refusal::DifferentRequest => [(Refusal::DifferentRequest, "09 00000001 06")];
        Refusal::OtherController => [(Refusal::OtherController, "09 00000001 07")];
        Refusal::GivenUp => [(Refusal::GivenUp, "09 00000001 08")];
        Refusal::Ledger { .. } => [
            (Refusal::Ledger { why: ledger }, "09 0000000b 09096469736b2066756c6c"),
        ];
        Refusal::NotStartedEarlier(_) => [
            (Refusal::NotStartedEarlier(Unstarted::NotFound), "09 00000002 0a00"),
            (Refusal::NotStartedEarlier(Unstarted::NotExecutable), "09 00000002 0a01"),
            (Refusal::NotStartedEarlier(Unstarted::Other), "09 00000002 0a02"),
        ];
        Refusal::UnknownRun => [(Refusal::UnknownRun, "09 00000001 0b")];
        Refusal::Stopping => [(Refusal::Stopping, "09 00000001 0c")];
        Refusal::Busy { .. } => [(Refusal::Busy { limit: 256 }, "09 00000003 0d8002")];
        Refusal::Start(_) => start_failures();
    })
}

fn start_failures() -> Vec<Sample<Refusal>> {
    let program = || Text::cut("ls");
    let why = || Text::cut("no");
    let failures = each!(StartFailure {
        StartFailure::NotFound { .. } => [
            (StartFailure::NotFound { program: program() }, "09 00000005 0e00026c73"),
        ];
        StartFailure::NotExecutable { .. } => [
            (
                StartFailure::NotExecutable { program: program(), why: why() },
                "09 00000008 0e01026c73026e6f",
            ),
        ];
        StartFailure::Cwd { .. } => [
            (
                StartFailure::Cwd { cwd: Text::cut("/x"), why: why() },
                "09 00000008 0e02022f78026e6f",
            ),
        ];
        StartFailure::Environment { .. } => [
            (
                StartFailure::Environment { why: why() },
                "09 00000005 0e03026e6f",
            ),
        ];
        StartFailure::Other { .. } => [
            (
                StartFailure::Other { program: program(), why: why() },
                "09 00000008 0e04026c73026e6f",
            ),
        ];
    });
    failures
        .into_iter()
        .map(|(failure, hex)| (Refusal::Start(failure), hex))
        .collect()
}
