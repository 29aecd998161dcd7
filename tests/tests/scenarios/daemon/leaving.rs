//! Whoever leaves early leaves nothing behind, and whoever cancels needs no daemon's consent.

use std::net::UdpSocket;

use rustix::process::Signal;
use scenarios::{Lab, PATIENCE, Process, eventually, procfs::processes_of_run, proxy::Proxy};

use super::{Daemon, assert_says, run_in_progress, script};
use crate::props::TARGET;

#[test]
fn a_daemon_that_declines_by_now_keeps_no_run_from_being_cancelled() {
    let lab = Lab::loopback();
    let _daemon = Daemon::start(&lab);
    let mut client = Process::start(lab.controller(script("echo ready; sleep 1000 & wait")));
    let _ = client.wait_for_line("ready", PATIENCE);
    let run = run_in_progress(&lab);
    // The identity as it is after a renewal: another file.
    let identity = lab.mesh().home().join("controller.identity");
    let renewed = identity.with_extension("new");
    fs_err::copy(&identity, &renewed).unwrap();
    fs_err::rename(&renewed, &identity).unwrap();

    client.signal(Signal::INT);
    let finished = client.wait_exit(PATIENCE).expect_code(130);

    assert_says(&finished, &[&format!("{TARGET}: cancelled\n")]);
    assert_eq!(processes_of_run(&run), [0; 0]);
}

#[test]
fn nothing_is_started_for_a_client_that_left_while_its_target_was_looked_for() {
    let lab = Lab::loopback();
    let proxy = Proxy::start(lab.address_of(0), 1);
    proxy.cut();
    let knowing = |words: &[&str]| lab.controller_knowing([(TARGET, proxy.address())], words);
    let _daemon = Daemon::by(knowing(&["serve"]));
    let trace = lab.mesh().folder().join("trace");
    let touch = format!("touch '{}'", trace.display());
    let mut words = script(&touch).to_vec();
    words.splice(3..3, ["--connect-timeout", "10min"]);
    let mut client = Process::start(knowing(&words));
    eventually(PATIENCE, || proxy.packets_seen() > 0);

    client.kill();

    proxy.mend();
    let mut words = script("true").to_vec();
    words.splice(3..3, ["--connect-timeout", "10min"]);
    let after = Process::start(knowing(&words)).wait_exit(PATIENCE);
    let _ = after.expect_success();
    assert!(!trace.exists(), "a command ran for nobody");
}

#[test]
fn ctrl_c_waits_for_no_target_that_is_still_looked_for() {
    let lab = Lab::new();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    silent.set_nonblocking(true).unwrap();
    let address = silent.local_addr().unwrap();
    let knowing = |words: &[&str]| {
        let known = [("w1", address), ("w2", address)];
        lab.controller_knowing(known, words)
    };
    let _daemon = Daemon::by(knowing(&["serve"]));

    for door in [&["--no-daemon"][..], &[]] {
        let run = [
            "run",
            "-t",
            "w[1-2]",
            "--connect-timeout",
            "10min",
            "--",
            "true",
        ];
        let mut client = Process::start(knowing(&[door, &run].concat()));
        eventually(PATIENCE, || silent.recv(&mut [0; 2048]).is_ok());

        client.signal(Signal::INT);
        let finished = client.wait_exit(PATIENCE).expect_code(2);

        assert_says(&finished, &["cancelling", "2 skipped [w[1-2]]"]);
        while silent.recv(&mut [0; 2048]).is_ok() {}
    }
}

#[test]
fn one_look_up_that_fails_does_not_end_a_run_whose_daemon_died() {
    let lab = Lab::loopback();
    let proxy = Proxy::start(lab.address_of(0), 1);
    let knowing = |words: &[&str]| lab.controller_knowing([(TARGET, proxy.address())], words);
    let mut daemon = Daemon::by(knowing(&["serve"]));
    let go = lab.mesh().folder().join("go");
    let text = format!(
        "echo ready; while [ ! -e '{}' ]; do sleep 0.02; done; echo done; exit 3",
        go.display()
    );
    let mut words = script(&text).to_vec();
    words.splice(3..3, ["--connect-timeout", "1s"]);
    let client = Process::start(knowing(&words));
    let _ = client.wait_for_line("ready", PATIENCE);

    proxy.cut();
    daemon.process.kill();
    let _ = client.wait_for_line("looking for the way back", PATIENCE);
    proxy.mend();
    fs_err::write(&go, b"").unwrap();

    let went_on = client.wait_exit(PATIENCE).expect_code(3);
    assert_eq!(went_on.stdout_text(), "ready\ndone\n");
}

#[test]
fn a_run_that_died_with_its_daemon_s_link_is_told_lost_where_nobody_answers() {
    let lab = Lab::loopback();
    let proxy = Proxy::start(lab.address_of(0), 1);
    let knowing = |words: &[&str]| lab.controller_knowing([(TARGET, proxy.address())], words);
    let mut daemon = Daemon::by(knowing(&["serve"]));
    let mut words = script("echo ready; sleep 1000").to_vec();
    words.splice(3..3, ["--tether", "--connect-timeout", "1s"]);
    let client = Process::start(knowing(&words));
    let _ = client.wait_for_line("ready", PATIENCE);

    proxy.cut();
    daemon.process.kill();

    let lost = client.wait_exit(PATIENCE).expect_code(255);
    assert_says(&lost, &["not reachable"]);
}
