//! Several callers of one run, and callers that cancel where the link is cut.

use proto::{
    frame::{Cancel, Frame},
    run::Refusal,
};
use rustix::process::Signal;
use scenarios::{Lab, PATIENCE, Process, eventually, peer::Peer, proxy::Proxy};

use super::{
    run_through,
    stream::{assert_same, numbers, without_notices},
};
use crate::props::{Counter, Gate, Mark, TARGET, run_command};

/// How a controller says that a cancelled run never began.
const NOT_STARTED: &str = "before it was started";

/// How a controller says that its run is away.
const AWAY: &str = "looking for the way back";

#[test]
fn two_callers_of_one_id_hear_everything_of_one_process() {
    let lab = Lab::loopback();
    let (counter, mark) = (Counter::new(&lab), Mark::new());
    let gate = Gate::new(lab.mesh().folder());
    let script = counter.script(&format!(
        "echo ready; seq 1 200000; {}; seq 1 200000; seq 1 1000 >&2; exit 6",
        gate.wait()
    ));
    let id = mark.id();
    let ask = || Process::start(run_command(&lab, ["--run-id", &id], ["sh", "-c", &script]));

    let callers = [ask(), ask(), ask()];
    for caller in &callers {
        let _ = caller.wait_for_line("200000", PATIENCE);
    }
    let _open = gate.open();

    let many = numbers(1, 200_000);
    let whole = [b"ready\n", many.as_slice(), &many].concat();
    for caller in callers {
        let heard = caller.wait_exit(PATIENCE);
        assert_same(&heard.stdout, &whole, "stdout");
        assert_same(&without_notices(&heard.stderr), &numbers(1, 1000), "stderr");
        assert_eq!(heard.code(), Some(6));
    }
    assert_eq!(counter.starts(), 1);
}

#[test]
fn cancellation_during_a_cut_is_acknowledged_after_it() {
    let mut lab = Lab::loopback();
    let (counter, mark) = (Counter::new(&lab), Mark::new());
    let proxy = Proxy::start(lab.agent(0).address(), 8);
    let id = mark.id();
    let script = counter.script("trap '' TERM; echo ready; while :; do sleep 1; done");
    let options = ["--run-id", &id, "--grace", "100ms"];
    let words = ["sh", "-c", &script];
    let mut caller = Process::start(run_through(&lab, &proxy, &options, &words));
    let _ = caller.wait_for_line("ready", PATIENCE);
    proxy.cut();
    let _ = caller.wait_for_line(AWAY, PATIENCE);

    caller.signal(Signal::INT);
    let _ = caller.wait_for_line("cancelling", PATIENCE);
    assert_ne!(mark.processes(), [0; 0], "nobody was told yet");
    proxy.mend();

    let heard = caller.wait_exit(PATIENCE).expect_code(130);
    mark.assert_nothing_left("a cancelled run");
    assert!(heard.stderr_text().contains("cancelled"), "{heard:?}");
    let later = Process::run(run_command(&lab, options, words)).expect_code(130);
    assert_eq!(later.stdout_text(), "ready\n");
    assert_eq!(counter.starts(), 1);
}

/// The agent dies before it has noted the request; request and cancellation come to the next one
/// together, in either order.
#[test]
fn cancellation_beside_its_repeated_request_leaves_nothing_behind() {
    for _ in 0..4 {
        let mut lab = Lab::loopback();
        let (counter, mark) = (Counter::new(&lab), Mark::new());
        lab.agent(0).restart_with_fault("ledger-before-append:1");
        let id = mark.id();
        let script = counter.script("sleep 1000");
        let options = ["--run-id", &id, "--grace", "100ms"];
        let words = ["sh", "-c", &script];
        let mut caller = Process::start(run_command(&lab, options, words));
        eventually(PATIENCE, || !lab.agent(0).process().is_running());
        caller.signal(Signal::INT);
        let _ = caller.wait_for_line("cancelling", PATIENCE);

        lab.agent(0).restart();

        let heard = caller.wait_exit(PATIENCE).expect_code(130);
        mark.assert_nothing_left("a cancelled run");
        let said = heard.stderr_text();
        let starts = counter.starts();
        assert!(said.contains("cancelled"), "{said}");
        assert!(starts == 0 || !said.contains(NOT_STARTED), "{said}");
        let later = Process::run(run_command(&lab, options, words));
        assert_ne!(later.code(), Some(0), "{later:?}");
        assert_eq!(counter.starts(), starts, "started after all: {later:?}");
    }
}

#[test]
fn cancellation_that_overtakes_its_request_proves_that_nothing_was_started() {
    let mut lab = Lab::loopback();
    let alice = lab.mesh().issue_controller("alice");
    let (counter, mark) = (Counter::new(&lab), Mark::new());
    let proxy = Proxy::start(lab.agent(0).address(), 9);
    lab.agent(0).restart_with_fault("ledger-before-append:1");
    let known = [(TARGET, proxy.address())];
    let mut command = lab.controller_knowing(known, ["--identity"]);
    command.arg(&alice).args(["run", "-t", TARGET, "--run-id"]);
    command
        .arg(mark.id())
        .args(["--", "sh", "-c", &counter.script("exit 0")]);
    let mut caller = Process::start(command);
    eventually(PATIENCE, || !lab.agent(0).process().is_running());
    proxy.cut();
    caller.signal(Signal::INT);
    let _ = caller.wait_for_line("cancelling", PATIENCE);
    lab.agent(0).restart();

    // What the caller's own cancellation says, on a quicker way.
    let cancel = Frame::Cancel(Cancel {
        run: mark.id().parse().unwrap(),
        grace_ms: 0,
    });
    let peer = Peer::honest(lab.agent(0).address(), &alice);
    let answer = peer.ask(&cancel).rest().unwrap();
    assert_eq!(answer, [Frame::Refused(Refusal::GivenUp)]);
    proxy.mend();

    let heard = caller.wait_exit(PATIENCE).expect_code(130);
    assert!(heard.stderr_text().contains(NOT_STARTED), "{heard:?}");
    assert_eq!(counter.starts(), 0);
}
