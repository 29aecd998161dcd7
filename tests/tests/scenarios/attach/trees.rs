//! Process trees that do not want to end, when their run is cancelled after a re-attach, or is an orphan.

use proto::{
    frame::Frame,
    run::{Attach, Hold, OnLinkLoss, RunRequest, Wire},
};
use rustix::process::Signal;
use scenarios::{
    Lab, PATIENCE, Process, eventually,
    peer::{Guise, Peer},
    proxy::Proxy,
};

use super::run_through;
use crate::{
    processes::{GRACE, STUBBORN},
    props::{Mark, request},
};

#[test]
fn cancel_after_a_cut_is_acknowledged_when_nothing_is_left() {
    let mut lab = Lab::loopback();
    let proxy = Proxy::start(lab.agent(0).address(), 6);
    let mut callers: Vec<_> = STUBBORN
        .iter()
        .map(|(what, script)| {
            let mark = Mark::new();
            let id = mark.id();
            let options = ["--run-id", &id, GRACE[0], GRACE[1]];
            let words = ["sh", "-c", script];
            let caller = Process::start(run_through(&lab, &proxy, &options, &words));
            let _ = caller.wait_for_line("ready", PATIENCE);
            (*what, mark, caller)
        })
        .collect();
    proxy.cut();
    for (_, _, caller) in &callers {
        let _ = caller.wait_for_line("looking for the way back", PATIENCE);
    }
    proxy.mend();

    for (what, mark, mut caller) in callers.drain(..) {
        let _ = caller.wait_for_line("the link is back", PATIENCE);
        assert_ne!(mark.processes(), [0; 0], "{what}");
        caller.signal(Signal::INT);
        let finished = caller.wait_exit(PATIENCE).expect_code(130);
        mark.assert_nothing_left(what);
        let said = finished.stderr_text();
        assert!(!said.contains("NOT confirmed"), "{what}: {said}");
    }
}

#[test]
fn orphan_is_ended_at_its_limit_with_all_its_processes_and_that_is_told_to_who_asks() {
    let mut lab = Lab::loopback();
    let alice = lab.mesh().issue_controller("alice");
    let address = lab.agent(0).address();
    let orphans: Vec<_> = STUBBORN
        .iter()
        .map(|(what, script)| {
            let orphan = RunRequest {
                on_link_loss: OnLinkLoss::Keep { orphan_ms: 1000 },
                ..request(&lab, &["sh", "-c", script])
            };
            let guise = Guise::of(&alice).idle_limit(std::time::Duration::from_secs(1));
            let peer = Peer::dial(address, guise).unwrap();
            let mut wire = peer.ask(&Frame::Run(Box::new(orphan.clone())));
            while !matches!(wire.next().unwrap(), Some(Frame::Stdout(_))) {}
            drop(wire);
            peer.vanish();
            (*what, Mark::of(orphan.id), orphan)
        })
        .collect();

    for (what, mark, orphan) in orphans {
        mark.wait_until_nothing_is_left(what);
        let attach = Frame::Attach(Attach {
            run: orphan.id,
            stdout_from: 0,
            stderr_from: 0,
            hold: Hold::Watch,
        });
        let peer = Peer::honest(address, &alice);
        let mut asked = peer.ask(&attach);
        let Some(Frame::Ended(ended)) = asked.rest().unwrap().pop() else {
            panic!("{what} has no end")
        };
        assert_eq!(ended.result, Wire::LinkLost, "{what}");
        assert_eq!(ended.tree, proto::run::Tree::Gone, "{what}");
    }
}

#[test]
fn caller_that_comes_back_in_time_keeps_its_run_from_being_an_orphan() {
    let mut lab = Lab::loopback();
    let alice = lab.mesh().issue_controller("alice");
    let address = lab.agent(0).address();
    let kept = RunRequest {
        on_link_loss: OnLinkLoss::Keep { orphan_ms: 60_000 },
        ..request(&lab, &["sh", "-c", "echo ready; read -r _; exit 3"])
    };
    let kept = RunRequest {
        stdin: proto::run::StdinMode::Piped,
        ..kept
    };
    let mark = Mark::of(kept.id);
    let peer = Peer::honest(address, &alice);
    let mut wire = peer.ask(&Frame::Run(Box::new(kept.clone())));
    while !matches!(wire.next().unwrap(), Some(Frame::Stdout(_))) {}
    drop((wire, peer));

    let back = Peer::honest(address, &alice);
    let mut wire = back.ask(&Frame::Attach(Attach {
        run: kept.id,
        stdout_from: 6,
        stderr_from: 0,
        hold: Hold::Take,
    }));
    let Some(Frame::Attached(attached)) = wire.next().unwrap() else {
        panic!("not attached")
    };
    assert_eq!((attached.stdout_from, attached.stdin_from), (6, Some(0)));
    wire.send_frame(&Frame::Stdin("word\n".into())).unwrap();

    let Some(Frame::Ended(ended)) = wire.rest().unwrap().pop() else {
        panic!("no end")
    };
    assert_eq!(ended.result, Wire::Finished(proto::run::Exit::Code(3)));
    eventually(PATIENCE, || mark.processes().is_empty());
}
