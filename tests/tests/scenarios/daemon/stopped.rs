//! A daemon that is stopped, as Ctrl-Z stops it: nobody waits for it.

use rustix::process::Signal;
use scenarios::{Lab, PATIENCE, Process, eventually, procfs::processes_of_run};

use super::{Daemon, assert_says, run_in_progress, script, status};
use crate::props::TARGET;

#[test]
fn commands_go_around_a_daemon_that_is_stopped_and_it_does_nothing_of_them_later() {
    let lab = Lab::loopback();
    let mut daemon = Daemon::start(&lab);
    let _ = lab.run(script("true")).expect_success();
    let starts = lab.mesh().folder().join("starts");
    let count = format!("echo x >> {}", starts.display());

    daemon.process.signal(Signal::STOP);
    let ran = lab.run(script(&count)).expect_success();
    let listed = lab.run(["agents"]).expect_success();

    let pid = format!(
        "the daemon with pid {} does not answer",
        daemon.process.id()
    );
    for said in [&ran, &listed] {
        assert_says(said, &[&pid, "going on without it"]);
    }
    assert!(listed.stdout_text().contains(TARGET));
    daemon.process.signal(Signal::CONT);
    // It has taken those who had left before it answers this one.
    let _ = lab.run(script("true")).expect_success();
    eventually(PATIENCE, || status(&lab)["runs"] == serde_json::json!([]));
    assert_eq!(fs_err::read_to_string(starts).unwrap(), "x\n");
}

#[test]
fn verbs_of_a_daemon_that_is_stopped_give_up_and_say_why() {
    let lab = Lab::new();
    let mut daemon = Daemon::start(&lab);
    daemon.process.signal(Signal::STOP);
    let pid = daemon.process.id();

    for verb in ["status", "reload", "stop"] {
        let refused = lab.run(["serve", verb]).expect_code(1);

        let said = format!("the daemon with pid {pid} does not answer");
        assert_says(&refused, &[&said, &format!("kill -CONT {pid}")]);
    }
}

#[test]
fn a_run_is_cancelled_though_its_daemon_is_stopped() {
    let lab = Lab::loopback();
    let mut daemon = Daemon::start(&lab);
    let mut client = Process::start(lab.controller(script("echo ready; sleep 1000")));
    let _ = client.wait_for_line("ready", PATIENCE);
    let run = run_in_progress(&lab);

    daemon.process.signal(Signal::STOP);
    client.signal(Signal::INT);
    let ended = client.wait_exit(PATIENCE).expect_code(130);

    assert_eq!(processes_of_run(&run), [0; 0]);
    assert_eq!(ended.stdout_text(), "ready\n");
}
