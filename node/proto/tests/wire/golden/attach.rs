//! Attaching to a run, and hearing where it goes on.

use proto::{
    frame::Frame,
    run::{Attach, Attached, Hold},
};

use super::{Sample, each};
use crate::sample;

pub(super) fn attach() -> Vec<Sample<Frame>> {
    let attach = |hold| Attach {
        run: sample::run_id(),
        stdout_from: 300,
        stderr_from: 2,
        hold,
    };
    let holds = each!(Hold {
        Hold::Take => [(Hold::Take, "0d 00000014 11111111111111111111111111111111 ac020200")];
        Hold::Watch => [(Hold::Watch, "0d 00000014 11111111111111111111111111111111 ac020201")];
    });
    let end = Attach {
        stdout_from: u64::MAX,
        stderr_from: 0,
        ..attach(Hold::Take)
    };
    let end = (
        Frame::Attach(end),
        "0d 0000001c 11111111111111111111111111111111 ffffffffffffffffff010000",
    );
    let holds = holds.into_iter();
    holds
        .map(|(hold, hex)| (Frame::Attach(attach(hold)), hex))
        .chain([end])
        .collect()
}

pub(super) fn attached() -> Vec<Sample<Frame>> {
    let attached = |stdin_from| {
        Frame::Attached(Attached {
            stdout_from: 300,
            stderr_from: 2,
            stdout_to: 301,
            stderr_to: 3,
            stdin_from,
        })
    };
    let stdins = [
        (None, "0e 00000007 ac0202ad020300"),
        (Some(0), "0e 00000008 ac0202ad02030100"),
        (Some(300), "0e 00000009 ac0202ad020301ac02"),
    ];
    stdins
        .into_iter()
        .map(|(stdin, hex)| (attached(stdin), hex))
        .collect()
}
