//! Either end is killed or stopped in mid-run, and comes back.

use std::process::Command;

use proto::frame::Frame;
use quinn::ConnectionError;
use rustix::process::Signal;
use scenarios::{Lab, PATIENCE, Process, eventually, peer::Peer, proxy::Proxy};

use super::{
    run_through,
    stream::{assert_same, numbers, without_notices},
};
use crate::props::{Counter, Gate, Mark, run_command, start_marked};

/// How a controller says that its run is away.
const AWAY: &str = "looking for the way back";

#[test]
fn retry_after_the_controller_was_killed_has_all_output_and_the_code() {
    let lab = Lab::loopback();
    let (counter, mark) = (Counter::new(&lab), Mark::new());
    let gate = Gate::new(lab.mesh().folder());
    let script = counter.script(&format!(
        "echo ready; seq 1 400000; seq 1 1000 >&2; {}; seq 1 400000; exit 9",
        gate.wait()
    ));
    let mut killed = start_marked(&lab, &mark, &[], &script);
    let _ = killed.wait_for_line("200000", PATIENCE);
    killed.kill();
    let ask = || {
        let id = mark.id();
        Process::start(run_command(&lab, ["--run-id", &id], ["sh", "-c", &script]))
    };

    let during = ask();
    let _ = during.wait_for_line("300000", PATIENCE);
    let _open = gate.open();
    let during = during.wait_exit(PATIENCE);
    let after = ask().wait_exit(PATIENCE);

    let many = numbers(1, 400_000);
    let whole = [b"ready\n", many.as_slice(), &many].concat();
    for (heard, when) in [(during, "during the run"), (after, "after it")] {
        assert_same(&heard.stdout, &whole, when);
        assert_same(&without_notices(&heard.stderr), &numbers(1, 1000), when);
        assert_eq!(heard.code(), Some(9), "{when}");
    }
    assert_eq!(counter.starts(), 1);
}

#[test]
fn agent_that_stops_while_its_caller_is_away_tells_it_later_what_became_of_the_run() {
    let mut lab = Lab::loopback();
    let (counter, mark) = (Counter::new(&lab), Mark::new());
    let proxy = Proxy::start(lab.agent(0).address(), 3);
    let script = counter
        .script("trap 'echo last words; exit 0' TERM; echo ready; while :; do sleep 0.05; done");
    let id = mark.id();
    let words = ["sh", "-c", &script];
    let away = Process::start(run_through(&lab, &proxy, &["--run-id", &id], &words));
    let _ = away.wait_for_line("ready", PATIENCE);
    proxy.cut();
    let _ = away.wait_for_line(AWAY, PATIENCE);

    lab.agent(0).process().signal(Signal::TERM);
    eventually(PATIENCE, || !lab.agent(0).process().is_running());
    mark.assert_nothing_left("a run whose agent stopped");
    lab.agent(0).restart();
    proxy.mend();

    let heard = away.wait_exit(PATIENCE).expect_code(255);
    let said = heard.stderr_text();
    assert!(said.contains("its agent stopped under it"), "{said}");
    assert!(said.contains("17 bytes of stdout"), "{said}");
    assert_eq!(heard.stdout_text(), "ready\nlast words\n");
    assert_eq!(counter.starts(), 1);
}

#[test]
fn output_that_a_killed_agent_had_kept_is_told_with_its_loss() {
    let mut lab = Lab::loopback();
    let (counter, mark) = (Counter::new(&lab), Mark::new());
    let proxy = Proxy::start(lab.agent(0).address(), 4);
    // More than is held in memory, so that the first of it is in files.
    let script = counter.script("echo ready; seq 1 1500000; sleep 1000");
    let id = mark.id();
    let words = ["sh", "-c", &script];
    let caller = Process::start(run_through(&lab, &proxy, &["--run-id", &id], &words));
    let _ = caller.wait_for_line("1500000", PATIENCE);
    proxy.cut();
    let _ = caller.wait_for_line(AWAY, PATIENCE);

    lab.agent(0).kill();
    lab.agent(0).restart();
    proxy.mend();

    let whole = [b"ready\n", numbers(1, 1_500_000).as_slice()].concat();
    let heard = caller.wait_exit(PATIENCE).expect_code(255);
    assert_same(&heard.stdout, &whole, "what the caller had");
    let retry = Process::run(run_command(&lab, ["--run-id", &id], ["sh", "-c", &script]));
    let retry = retry.expect_code(255);
    assert!(
        whole.starts_with(&retry.stdout) && retry.stdout.len() > 4 << 20,
        "{} bytes, or others",
        retry.stdout.len()
    );
    for said in [heard.stderr_text(), retry.stderr_text()] {
        assert!(said.contains("its agent stopped under it"), "{said}");
    }
    mark.assert_nothing_left("the run of a killed agent");
    assert_eq!(counter.starts(), 1);
}

#[test]
fn detached_run_is_heard_whole_by_whoever_asks_with_its_id() {
    let lab = Lab::loopback();
    let counter = Counter::new(&lab);
    let gate = Gate::new(lab.mesh().folder());
    let script = counter.script(&format!("echo one; {}; echo two; exit 4", gate.wait()));
    let mark = Mark::new();
    let command = |options: &[&str]| -> Command {
        let id = mark.id();
        let mut all = vec!["--run-id", &id];
        all.extend(options);
        run_command(&lab, all, vec!["sh", "-c", &script])
    };

    let left = Process::run(command(&["--detach"])).expect_success();
    let _open = gate.open();
    let heard = Process::run(command(&["--detach"]));
    let later = Process::run(command(&[])).expect_code(255);

    assert_eq!(left.stdout_text(), format!("{}\n", mark.id()));
    assert!(heard.status.success(), "{heard:?}");
    // How a run is kept is part of what was asked for.
    assert!(later.stderr_text().contains("another request"), "{later:?}");
    assert_eq!(counter.starts(), 1);
}

#[test]
fn agent_that_was_killed_and_is_back_says_that_it_knows_no_link_of_before() {
    let mut lab = Lab::loopback();
    let alice = lab.mesh().issue_controller("alice");
    let peer = Peer::honest(lab.agent(0).address(), &alice);
    // With this the handshake is over for both.
    let _ = peer.hello().unwrap();

    lab.agent(0).kill();
    lab.agent(0).restart();
    let _unanswered = peer.ask(&Frame::AskCapabilities);

    // Not the silence of half a minute, after which a link is lost in any case.
    assert_eq!(peer.wait_closed(), ConnectionError::Reset);
}
