//! Every way to end.

use proto::{
    frame::Frame,
    run::{Ended, Exit, Limit, Tree, Wire},
};

use super::{Sample, each};

pub(super) fn ended() -> Vec<Sample<Frame>> {
    let of_result = results()
        .into_iter()
        .map(|(result, hex)| (ended_by(result, Tree::Gone), hex));
    let of_tree = trees()
        .into_iter()
        .map(|(tree, hex)| (ended_by(Wire::Cancelled, tree), hex));
    of_result.chain(of_tree).collect()
}

fn results() -> Vec<Sample<Wire>> {
    each!(Wire {
        Wire::Finished(Exit::Code(_)) => [
            (Wire::Finished(Exit::Code(0)), "07 00000009 00000000ac0202dc0b"),
            (Wire::Finished(Exit::Code(255)), "07 0000000a 0000fe0300ac0202dc0b"),
            (Wire::Finished(Exit::Code(i32::MIN)), "07 0000000d 0000ffffffff0f00ac0202dc0b"),
        ];
        Wire::Finished(Exit::Signal(_)) => [
            (Wire::Finished(Exit::Signal(9)), "07 00000009 00011200ac0202dc0b"),
        ];
        Wire::Reached(Limit::Wall) => [
            (Wire::Reached(Limit::Wall), "07 00000008 010000ac0202dc0b"),
        ];
        Wire::Reached(Limit::Idle) => [
            (Wire::Reached(Limit::Idle), "07 00000008 010100ac0202dc0b"),
        ];
        Wire::Reached(Limit::Output) => [
            (Wire::Reached(Limit::Output), "07 00000008 010200ac0202dc0b"),
        ];
        Wire::Cancelled => [(Wire::Cancelled, "07 00000007 0200ac0202dc0b")];
        Wire::AgentStopped => [(Wire::AgentStopped, "07 00000007 0300ac0202dc0b")];
        Wire::LinkLost => [(Wire::LinkLost, "07 00000007 0400ac0202dc0b")];
    })
}

fn trees() -> Vec<Sample<Tree>> {
    each!(Tree {
        Tree::Gone => [(Tree::Gone, "07 00000007 0200ac0202dc0b")];
        Tree::Left { .. } => [
            (Tree::Left { pids: Vec::new() }, "07 00000008 020100ac0202dc0b"),
            (Tree::Left { pids: vec![4711, 4712] }, "07 0000000c 020102e724e824ac0202dc0b"),
        ];
        Tree::Unconfirmed { .. } => [
            (
                Tree::Unconfirmed { pids: vec![1, u32::MAX] },
                "07 0000000e 02020201ffffffff0fac0202dc0b",
            ),
        ];
    })
}

fn ended_by(result: Wire, tree: Tree) -> Frame {
    let (stdout_bytes, stderr_bytes, duration_ms) = (300, 2, 1500);
    Frame::Ended(Ended {
        result,
        tree,
        stdout_bytes,
        stderr_bytes,
        duration_ms,
    })
}
