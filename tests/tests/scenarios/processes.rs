//! Everything that a run becomes, and that it is gone when the run is said to have ended.
#![cfg(target_os = "linux")]

use std::{process::Command, time::Duration};

use proto::frame::Frame;
use rustix::process::Signal;
use scenarios::{
    Lab, PATIENCE, Process, eventually,
    peer::{Guise, Peer, Wire},
    procfs::is_alive,
};
use serde_json::Value;

use crate::props::{Counter, Gate, Mark, TARGET, run, run_command, start_marked};

/// Programs that do not want to end. Each says `ready` when it has become what it wants to be.
pub(crate) const STUBBORN: [(&str, &str); 6] = [
    (
        "a process that ignores TERM",
        "trap '' TERM INT HUP; echo ready; while :; do sleep 1000; done",
    ),
    (
        "a session of its own",
        "setsid sh -c 'trap \"\" TERM; echo ready; sleep 1000; sleep 1000' & wait",
    ),
    (
        "a double fork that its parents have left",
        "(setsid sh -c '(trap \"\" TERM HUP; sleep 1000; sleep 1000) & echo ready' &); sleep 1000",
    ),
    (
        "a storm of forks",
        "i=0; while [ $i -lt 2000 ]; do sleep 1000 & i=$((i + 1)); \
         [ $i -eq 20 ] && echo ready; done; wait",
    ),
    (
        "a grandchild that holds standard output open",
        "trap '' TERM; (sleep 1000; sleep 1000) & echo ready; wait; wait; wait",
    ),
    (
        "a stopped process",
        "sleep 1000 & kill -STOP $!; echo ready; wait",
    ),
];

/// Time between asking and killing, short so that the tests are.
pub(crate) const GRACE: [&str; 2] = ["--grace", "100ms"];

#[test]
fn cancel_is_acknowledged_when_nothing_is_left() {
    let lab = Lab::loopback();

    for (what, script) in STUBBORN {
        let mark = Mark::new();
        let mut controller = start_marked(&lab, &mark, &GRACE, script);
        assert_ne!(mark.processes(), [0; 0], "{what}");

        controller.signal(Signal::INT);
        let finished = controller.wait_exit(PATIENCE).expect_code(130);

        mark.assert_nothing_left(what);
        let said = finished.stderr_text();
        assert!(said.contains("cancelling"), "{what}: {said}");
        assert!(
            said.ends_with(&format!("{TARGET}: cancelled\n")),
            "{what}: {said}"
        );
    }
}

#[test]
fn timeout_is_said_when_nothing_is_left() {
    let lab = Lab::loopback();

    for (what, script) in STUBBORN {
        let mark = Mark::new();
        // Long enough for `ready` even on a busy machine; a storm may be ended in its midst.
        let options = ["--timeout", "1s", "--grace", "100ms"];
        let controller = start_marked(&lab, &mark, &options, script);

        let _ = controller.wait_exit(PATIENCE).expect_code(124);

        mark.assert_nothing_left(what);
    }
}

#[test]
fn stopping_agent_ends_its_runs_and_says_so() {
    let mut lab = Lab::loopback();
    let runs = STUBBORN.map(|(what, script)| {
        let mark = Mark::new();
        let controller = start_marked(&lab, &mark, &GRACE, script);
        (what, mark, controller)
    });

    let stopped = lab.take_agent(0).stop().expect_success();

    for (what, mark, controller) in runs {
        mark.assert_nothing_left(what);
        let said = controller
            .wait_exit(PATIENCE)
            .expect_code(255)
            .stderr_text();
        assert!(
            said.contains("its agent stopped under it"),
            "{what}: {said}"
        );
    }
    assert!(
        stopped.stderr_text().contains("6 runs were ended"),
        "{stopped:?}"
    );
}

#[test]
fn stopping_agent_starts_nothing_new() {
    let mut lab = Lab::loopback();
    let counter = Counter::new(&lab);
    let mark = Mark::new();
    let script = "trap 'echo asked' TERM; echo ready; while :; do sleep 0.01; done";
    let options = ["--grace", "1s"];
    let controller = start_marked(&lab, &mark, &options, script);

    lab.agent(0).process().signal(Signal::TERM);
    let _ = controller.wait_for_line("asked", PATIENCE);
    let words = vec!["sh".to_owned(), "-c".into(), counter.script("")];
    let options = ["--connect-timeout", "500ms"].map(Into::into);
    let refused = run(&lab, options, words);

    assert!([125, 255].contains(&refused.code().unwrap()), "{refused:?}");
    assert_eq!(counter.starts(), 0);
    let _ = controller.wait_exit(PATIENCE).expect_code(255);
}

#[test]
fn closed_link_ends_its_runs() {
    let mut lab = Lab::loopback();
    let identity = lab.mesh().issue_controller("alice");
    let address = lab.agent(0).address();

    for (what, script) in STUBBORN {
        let peer = Peer::honest(address, &identity);
        let (mark, _wire) = ask_for(&peer, &lab, script);

        peer.close(0);

        mark.wait_until_nothing_is_left(what);
    }
}

#[test]
fn caller_that_gives_its_stream_up_ends_the_run() {
    let mut lab = Lab::loopback();
    let identity = lab.mesh().issue_controller("alice");
    let peer = Peer::honest(lab.agent(0).address(), &identity);
    let (mark, wire) = ask_for(&peer, &lab, STUBBORN[0].1);

    drop(wire);

    mark.wait_until_nothing_is_left("a stream that was given up");
    let other = peer.run(&crate::props::request(&lab, &["true"]));
    assert!(matches!(other.last(), Some(Frame::Ended(_))), "{other:?}");
}

#[test]
fn controller_that_vanishes_loses_its_runs_within_the_idle_limit() {
    let mut lab = Lab::loopback();
    let identity = lab.mesh().issue_controller("alice");
    let guise = Guise::of(&identity).idle_limit(Duration::from_millis(500));
    let peer = Peer::dial(lab.agent(0).address(), guise).unwrap();
    let (mark, _wire) = ask_for(&peer, &lab, STUBBORN[0].1);

    peer.vanish();

    mark.wait_until_nothing_is_left("a lost run");
    let _ = lab.agent(0).process().wait_for_line("LinkLost", PATIENCE);
}

/// Asks for `sh -c script` over a bare link, and waits until it says `ready`.
#[track_caller]
fn ask_for(peer: &Peer, lab: &Lab, script: &str) -> (Mark, Wire) {
    let mut request = crate::props::request(lab, &["sh", "-c", script]);
    request.limits.grace_ms = 100;
    let mark = Mark::of(request.id);
    let mut wire = peer.ask(&Frame::Run(Box::new(request)));
    let mut output = Vec::new();
    while !output.ends_with(b"ready\n") {
        match wire.next().unwrap() {
            Some(Frame::Stdout(bytes)) => output.extend_from_slice(&bytes),
            Some(Frame::Started(_)) => {}
            other => panic!("{other:?} instead of output"),
        }
    }
    (mark, wire)
}

#[test]
fn second_interruption_leaves_at_once() {
    let lab = Lab::loopback();
    let mark = Mark::new();
    let script = "trap '' TERM; echo ready; while :; do sleep 1000; done";
    let mut controller = start_marked(&lab, &mark, &["--grace", "1h"], script);

    controller.signal(Signal::INT);
    let _ = controller.wait_for_line("cancelling", PATIENCE);
    controller.signal(Signal::INT);

    let said = controller
        .wait_exit(PATIENCE)
        .expect_code(130)
        .stderr_text();
    assert!(said.contains("left without confirmation"), "{said}");
    assert!(said.contains(&mark.id()), "{said}");
}

#[test]
fn asked_to_end_a_program_has_its_grace_and_its_last_words_arrive() {
    let lab = Lab::loopback();
    let mark = Mark::new();
    let script = "trap 'echo last words; echo err >&2; exit 3' TERM; echo ready; \
                  while :; do sleep 0.01; done";
    let mut controller = start_marked(&lab, &mark, &["--grace", "1h"], script);

    controller.signal(Signal::INT);

    let finished = controller.wait_exit(PATIENCE).expect_code(130);
    assert_eq!(finished.stdout_text(), "ready\nlast words\n");
    assert!(finished.stderr_text().contains("err\n"));
}

#[test]
fn termination_of_the_controller_cancels_as_an_interruption_does() {
    let lab = Lab::loopback();
    let mark = Mark::new();
    let mut controller = start_marked(&lab, &mark, &GRACE, "echo ready; sleep 1000");

    controller.signal(Signal::TERM);

    let _ = controller.wait_exit(PATIENCE).expect_code(130);
    mark.assert_nothing_left("sleep");
}

#[test]
fn run_ends_with_its_program_though_a_grandchild_holds_its_output() {
    let lab = Lab::loopback();
    let mark = Mark::new();
    let id = mark.id();
    let words = vec!["sh", "-c", "sleep 1000 & echo $!; echo err >&2; exit 3"];

    let finished = run(&lab, vec!["--run-id", &id, "--json"], words).expect_code(3);

    let report: Value = serde_json::from_slice(&finished.stdout).unwrap();
    let pid: u32 = report["stdout"]["text"]
        .as_str()
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert_eq!(report["stderr"]["text"], "err\n");
    assert_eq!(report["left"], serde_json::json!([pid]));
    assert!(is_alive(pid));
}

#[test]
fn daemon_outlives_its_run_and_every_kind_of_restart_of_the_agent() {
    let mut lab = Lab::loopback();
    let mark = Mark::new();
    let id = mark.id();
    let script = "nohup sleep 1000 >/dev/null 2>&1 & echo started";
    let words = vec!["sh", "-c", script];
    let finished = run(&lab, vec!["--run-id", &id, "--json"], words).expect_success();
    let report: Value = serde_json::from_slice(&finished.stdout).unwrap();
    let daemon = mark.processes();
    assert_eq!(report["left"], serde_json::json!(daemon));

    lab.agent(0).restart();
    assert_eq!(mark.processes(), daemon, "after a kill");

    lab.agent(0).process().signal(Signal::TERM);
    eventually(PATIENCE, || !lab.agent(0).process().is_running());
    assert_eq!(mark.processes(), daemon, "after a stop");
    lab.agent(0).restart();

    let _ = run(&lab, vec![], vec!["true"]).expect_success();
    assert_eq!(mark.processes(), daemon, "after another start");
    assert_eq!(daemon.len(), 1);
}

#[test]
fn reader_that_closes_cancels_the_run_with_141() {
    let lab = Lab::loopback();
    let mark = Mark::new();
    let id = mark.id();
    let options = vec!["--run-id", &id, "--grace", "100ms"];
    let command = run_command(&lab, options, vec!["sh", "-c", "trap '' PIPE TERM; yes"]);
    let mut pipeline = Command::new("bash");
    pipeline.args(["-c", "\"$@\" | head -n 1; exit ${PIPESTATUS[0]}", "bash"]);
    pipeline.arg(command.get_program()).args(command.get_args());
    pipeline.envs(
        command
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );

    let finished = Process::run(pipeline).expect_code(141);

    assert_eq!(finished.stdout, b"y\n");
    mark.wait_until_nothing_is_left("a lost run");
}

#[test]
fn killed_agent_leaves_a_lost_run_that_never_starts_again() {
    let mut lab = Lab::loopback();
    let counter = Counter::new(&lab);
    let mark = Mark::new();
    let script = counter.script("setsid sh -c 'echo ready; sleep 1000' & wait");
    let first = start_marked(&lab, &mark, &[], &script);

    lab.agent(0).kill();
    assert_ne!(
        mark.processes(),
        [0; 0],
        "a killed agent cannot end its runs"
    );
    lab.agent(0).restart();

    mark.assert_nothing_left("the run of an agent that was killed");
    let id = mark.id();
    let retry = run(&lab, vec!["--run-id", &id], vec!["sh", "-c", &script]).expect_code(255);
    let said = retry.stderr_text();
    assert!(said.contains("used before; nothing is started"), "{said}");
    assert!(said.contains("its agent stopped under it"), "{said}");
    assert_eq!(counter.starts(), 1);
    drop(first);
}

/// Takes as long as a link may be silent: half a minute, nearly all of it waiting.
#[test]
fn controller_of_a_killed_agent_says_what_is_known_of_a_tethered_run() {
    let mut lab = Lab::loopback();
    let mark = Mark::new();
    let controller = start_marked(&lab, &mark, &["--tether"], "echo ready; sleep 1000");

    lab.agent(0).kill();

    let said = controller
        .wait_exit(2 * PATIENCE)
        .expect_code(255)
        .stderr_text();
    assert!(
        said.contains("lost: it was started; whether it still runs is not known"),
        "{said}"
    );
    assert!(said.contains("6 bytes of stdout"), "{said}");
}

#[test]
fn controller_of_a_killed_agent_comes_back_and_hears_that_the_run_is_lost() {
    let mut lab = Lab::loopback();
    let mark = Mark::new();
    let controller = start_marked(&lab, &mark, &[], "echo ready; sleep 1000");
    lab.agent(0).kill();
    let _ = controller.wait_for_line("looking for the way back", PATIENCE);

    lab.agent(0).restart();

    let finished = controller.wait_exit(PATIENCE).expect_code(255);
    let said = finished.stderr_text();
    assert!(said.contains("its agent stopped under it"), "{said}");
    assert!(said.contains("6 bytes of stdout"), "{said}");
    assert_eq!(finished.stdout, b"ready\n");
    mark.assert_nothing_left("the run of an agent that was killed");
}

#[test]
fn run_of_a_killed_controller_goes_on() {
    let lab = Lab::loopback();
    let mark = Mark::new();
    let gate = Gate::new(lab.mesh().folder());
    let script = format!("echo ready; {}; echo done; exit 9", gate.wait());
    let mut controller = start_marked(&lab, &mark, &[], &script);
    controller.kill();
    let _open = gate.open();

    let id = mark.id();
    let retry = run(&lab, vec!["--run-id", &id], vec!["sh", "-c", &script]).expect_code(9);

    assert_eq!(retry.stdout_text(), "ready\ndone\n");
}

/// Takes as long as a link may be silent: half a minute, nearly all of it waiting.
#[test]
fn killed_controller_loses_its_tethered_run() {
    let lab = Lab::loopback();
    let mark = Mark::new();
    let options = [&GRACE[..], &["--tether"]].concat();
    let mut controller = start_marked(&lab, &mark, &options, STUBBORN[1].1);

    controller.kill();

    eventually(2 * PATIENCE, || mark.processes().is_empty());
}

#[test]
fn run_that_ends_while_it_is_cancelled_is_reported_once() {
    let lab = Lab::loopback();

    for _ in 0..10 {
        let mark = Mark::new();
        let gate = tempfile::tempdir().unwrap();
        let gate = Gate::new(gate.path());
        let script = format!("echo ready; {}; exit 7", gate.wait());
        let controller = start_marked(&lab, &mark, &GRACE, &script);

        let _open = gate.open();
        // It may have ended already, and then there is nothing to interrupt.
        let pid = rustix::process::Pid::from_raw(controller.id().cast_signed()).unwrap();
        let _ = rustix::process::kill_process(pid, Signal::INT);

        let finished = controller.wait_exit(PATIENCE);
        assert!(
            [Some(7), Some(130)].contains(&finished.code()),
            "{finished:?}"
        );
        mark.assert_nothing_left("either way");
    }
}

#[test]
fn agent_that_stops_has_no_run_left_that_a_new_one_must_kill() {
    let mut lab = Lab::loopback();
    let mark = Mark::new();
    let controller = start_marked(&lab, &mark, &GRACE, STUBBORN[1].1);

    lab.agent(0).process().signal(Signal::TERM);
    let _ = controller.wait_exit(PATIENCE).expect_code(255);
    eventually(PATIENCE, || !lab.agent(0).process().is_running());
    lab.agent(0).restart();

    assert!(
        !lab.agent(0).log().contains("lost"),
        "{}",
        lab.agent(0).log()
    );
}

#[test]
fn agent_runs_on_when_somebody_tidies_up_its_control_groups() {
    let lab = Lab::loopback();
    let _ = run(&lab, vec![], vec!["true"]).expect_success();
    let Some(groups) = crate::props::run_groups(&lab) else {
        return; // this machine has none to tidy up
    };

    let depth_first = ["-depth", "-type", "d", "-exec", "rmdir", "{}", "+"];
    let mut tidy = Command::new("find");
    let _ = Process::run({
        tidy.arg(&groups).args(depth_first);
        tidy
    });
    assert!(!groups.exists());

    for _ in 0..3 {
        let _ = run(&lab, vec![], vec!["true"]).expect_success();
    }
    assert!(groups.exists());
}

/// More than an agent holds in memory of a run.
const LAST_WORDS: usize = 30 << 20;

#[test]
fn a_program_that_is_asked_to_end_may_say_much_before_it_does() {
    let lab = Lab::loopback();
    let mark = Mark::new();
    let script = format!(
        "trap 'head -c {LAST_WORDS} /dev/zero; exit 0' TERM; echo ready; while :; do sleep 0.01; done"
    );
    let mut controller = start_marked(&lab, &mark, &["--grace", "25s"], &script);
    let _ = controller.wait_for_line("ready", PATIENCE);

    controller.signal(Signal::INT);
    let finished = controller.wait_exit(PATIENCE).expect_code(130);

    assert_eq!(finished.stdout.len(), "ready\n".len() + LAST_WORDS);
}
