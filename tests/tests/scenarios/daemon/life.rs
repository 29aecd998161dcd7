//! How a daemon begins, reads its files again, and ends.

use std::{ffi::OsStr, io::Write as _, os::unix::ffi::OsStrExt as _};

use rustix::process::Signal;
use scenarios::{Lab, PATIENCE, Process, eventually, procfs::processes_of_run};
use serde_json::Value;

use super::{Daemon, assert_says, run_in_progress, script, status};
use crate::props::TARGET;

#[test]
fn status_tells_who_the_daemon_is_and_what_it_holds() {
    let lab = Lab::loopback();
    let daemon = Daemon::start(&lab);
    let _ = lab.run(script("true")).expect_success();

    let status = status(&lab);

    assert_eq!(status["pid"], daemon.process.id());
    assert_eq!(status["identity"], "controller/controller");
    assert_eq!(status["mesh"], lab.mesh().fingerprint().to_string());
    assert!(status["uptime_ms"].is_u64() && status["version"].is_string());
    let link = &status["links"][0];
    assert_eq!(link["name"], TARGET);
    assert_eq!(link["address"], lab.address_of(0).to_string());
    assert_eq!(link["path"], "local");
    assert!(link["rtt_us"].as_u64().unwrap() > 0 && link["idle_ms"].is_u64());
    let shown = lab.run(["serve", "status"]).expect_success().stdout_text();
    assert!(shown.contains(TARGET), "{shown}");
}

#[test]
fn without_a_daemon_its_verbs_say_so() {
    let lab = Lab::new();

    for verb in ["status", "reload", "stop"] {
        let refused = lab.run(["serve", verb]).expect_code(1);

        assert_says(
            &refused,
            &["no daemon serves", "`controller serve` starts one"],
        );
    }
}

#[test]
fn a_second_daemon_is_refused_and_told_of_the_first() {
    let lab = Lab::new();
    let first = Daemon::start(&lab);

    let second = lab.run(["serve"]).expect_code(1);

    let pid = format!("with pid {}", first.process.id());
    assert_says(&second, &["serves", &pid, "controller serve stop"]);
    assert_eq!(status(&lab)["pid"], first.process.id());
}

#[test]
fn the_socket_of_a_daemon_that_was_killed_is_replaced() {
    let lab = Lab::loopback();
    let mut first = Daemon::start(&lab);
    first.process.kill();
    assert!(first.socket.exists());

    // Without a daemon there, and with the next one.
    let _ = lab.run(script("true")).expect_success();
    let second = Daemon::start(&lab);

    assert_eq!(second.socket, first.socket);
    let _ = lab.run(script("true")).expect_success();
    assert_eq!(status(&lab)["links"][0]["name"], TARGET);
}

#[test]
fn stopping_tells_the_clients_and_leaves_nothing_of_the_daemon() {
    let lab = Lab::loopback();
    let mut daemon = Daemon::start(&lab);
    let go = lab.mesh().folder().join("go");
    let client = Process::start(lab.controller(script(&until(&go))));
    let _ = client.wait_for_line("ready", PATIENCE);

    let _ = lab.run(["serve", "stop"]).expect_success();

    eventually(PATIENCE, || !daemon.process.is_running());
    fs_err::write(&go, b"").unwrap();
    let went_on = client.wait_exit(PATIENCE).expect_code(3);
    assert_eq!(went_on.stdout_text(), "ready\ndone\n");
    assert!(!daemon.socket.exists());
    let _ = lab.run(["serve", "status"]).expect_code(1);
}

#[test]
fn signals_stop_the_daemon_cleanly() {
    let lab = Lab::new();

    for signal in [Signal::TERM, Signal::INT] {
        let mut daemon = Daemon::start(&lab);
        daemon.process.signal(signal);
        let ended = daemon.process.wait_exit(PATIENCE).expect_success();

        assert_says(&ended, &["stopped; runs go on at their agents"]);
        assert!(!daemon.socket.exists());
    }
}

#[test]
fn a_daemon_that_is_killed_is_no_news_of_its_runs() {
    let lab = Lab::loopback();
    let mut daemon = Daemon::start(&lab);
    let go = lab.mesh().folder().join("go");
    let client = Process::start(lab.controller(script(&until(&go))));
    let _ = client.wait_for_line("ready", PATIENCE);

    daemon.process.kill();

    fs_err::write(&go, b"").unwrap();
    let went_on = client.wait_exit(PATIENCE).expect_code(3);
    assert_eq!(went_on.stdout_text(), "ready\ndone\n");
}

/// A script that says that it is ready, waits for a file, says that it is done, and ends with 3.
fn until(file: &std::path::Path) -> String {
    let file = file.display();
    format!("echo ready; while [ ! -e '{file}' ]; do sleep 0.02; done; echo done; exit 3")
}

#[test]
fn a_command_with_input_goes_without_the_daemon() {
    let lab = Lab::loopback();
    let _daemon = Daemon::start(&lab);
    let command = lab.controller(["run", "-t", TARGET, "--stdin", "--", "cat"]);
    let mut client =
        Process::start_with(command, scenarios::Stdin::Open, scenarios::Stdout::Captured);

    let mut input = client.stdin().take().unwrap();
    input.write_all(b"here\n").unwrap();
    let _ = client.wait_for_line("here", PATIENCE);

    assert_eq!(status(&lab)["runs"].as_array().unwrap().len(), 0);
    drop(input);
    let _ = client.wait_exit(PATIENCE).expect_success();
}

#[test]
fn a_broken_file_keeps_the_state_before_and_says_so() {
    let lab = Lab::loopback();
    let daemon = Daemon::start(&lab);
    let config = lab.mesh().home().join("controller.toml");
    fs_err::write(&config, "grace = \"soon\"\n").unwrap();

    let refused = lab.run(["serve", "reload"]).expect_code(1);
    assert_says(&refused, &["state before is in force", "line 1", "soon"]);
    let why = status(&lab)["reload_failed"].as_str().unwrap().to_owned();
    assert!(why.contains("soon"), "{why}");
    fs_err::remove_file(&config).unwrap();
    let _ = lab.run(script("true")).expect_success();

    let _ = lab.run(["serve", "reload"]).expect_success();
    assert_eq!(status(&lab)["reload_failed"], Value::Null);
    assert!(daemon.log().contains("of no use"), "{}", daemon.log());
}

#[test]
fn a_hangup_reads_the_files_again_and_runs_go_on() {
    let lab = Lab::loopback();
    let mut daemon = Daemon::start(&lab);
    let go = lab.mesh().folder().join("go");
    let client = Process::start(lab.controller(script(&until(&go))));
    let run = run_in_progress(&lab);
    let before = status(&lab)["reloads"].as_u64().unwrap();

    daemon.process.signal(Signal::HUP);
    eventually(PATIENCE, || {
        status(&lab)["reloads"].as_u64().unwrap() > before
    });

    assert_ne!(processes_of_run(&run), [0; 0]);
    fs_err::write(&go, b"").unwrap();
    let finished = client.wait_exit(PATIENCE).expect_code(3);
    assert_eq!(finished.stdout_text(), "ready\ndone\n");
}

#[test]
fn settings_of_the_operator_that_change_are_seen_without_asking() {
    let lab = Lab::loopback();
    let _daemon = Daemon::start(&lab);
    let config = lab.mesh().home().join("controller.toml");
    let addresses = format!("[addresses]\nalso-here = [\"{}\"]\n", lab.address_of(0));
    fs_err::write(config, addresses).unwrap();

    let refused = lab
        .run(["run", "-t", "also-here", "--", "true"])
        .expect_code(255);

    // Who answers there is another agent: that it was asked shows that the address is known.
    assert_says(&refused, &[&lab.address_of(0).to_string()]);
    assert_eq!(status(&lab)["reloads"], 1);
}

#[test]
fn a_home_whose_path_is_no_text_is_served_as_any_other() {
    let lab = Lab::loopback();
    let home = lab.mesh().folder().join(OsStr::from_bytes(b"home-\xff"));
    fs_err::rename(lab.mesh().home(), &home).unwrap();
    let by = |words: &[&str]| {
        let mut command = lab.controller(words);
        command.env("MESOSYNC_HOME", &home);
        command
    };
    let _daemon = Daemon::by(by(&["serve"]));

    let _ = Process::run(by(&script("true"))).expect_success();

    let status = Process::run(by(&["serve", "status", "--json"])).expect_success();
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["links"][0]["name"], TARGET);
}
