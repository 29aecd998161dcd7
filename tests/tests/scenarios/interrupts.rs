//! Ctrl-C while nobody reads what is shown: it is heard, carried out, and keeps what was gathered.

use std::process::Command;

use rustix::process::Signal;
use scenarios::{Finished, Lab, PATIENCE, Process, Seat, Stdin, Stdout, eventually};
use serde_json::Value;

use crate::props::{Mark, TARGET, run_command, start_marked};

/// More than any pipe holds, so that it waits for its reader.
const MUCH: usize = 4 << 20;

/// Returns `command` with standard error where standard output goes, as `2>&1` does.
fn on_one_stream(command: &Command) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "exec \"$0\" \"$@\" 2>&1"]);
    shell.arg(command.get_program()).args(command.get_args());
    shell.env_clear();
    for (key, value) in command.get_envs() {
        shell.env(key, value.unwrap_or_default());
    }
    shell
}

#[track_caller]
fn unread(command: Command) -> Process {
    Process::start_with(command, Stdin::Empty, Stdout::Unread)
}

/// Waits until the pipe that nobody reads takes no more: until a thread of the program waits in a write.
#[track_caller]
fn wait_until_stalled(process: &Process) {
    let tasks = format!("/proc/{}/task", process.id());
    eventually(PATIENCE, || {
        let mut threads = fs_err::read_dir(&tasks).unwrap().flatten();
        threads.any(|thread| {
            let at = fs_err::read_to_string(thread.path().join("wchan")).unwrap_or_default();
            at.contains("pipe_write")
        })
    });
}

fn lab_of(names: &[&str]) -> Lab {
    let mut lab = Lab::new();
    for name in names {
        lab.start_agent(name);
    }
    lab
}

#[test]
fn cancelled_though_the_message_finds_no_room_in_the_same_pipe() {
    let lab = Lab::loopback();
    let mark = Mark::new();
    let id = mark.id();
    let command = run_command(&lab, vec!["--run-id", &id, "--grace", "100ms"], vec!["yes"]);
    let mut stalled = unread(on_one_stream(&command));
    wait_until_stalled(&stalled);

    stalled.signal(Signal::INT);
    mark.wait_until_nothing_is_left("a run that was cancelled");
    stalled.signal(Signal::INT);

    let _ = stalled.wait_exit(PATIENCE).expect_code(130);
}

#[test]
fn fleet_is_cancelled_though_its_reasons_find_no_room_in_the_same_pipe() {
    let lab = lab_of(&["w1", "w2"]);
    let mark = Mark::new();
    let id = mark.id();
    // The limit gives each a reason to be told of, and the ones that wait behind them have none.
    let words = [
        "run",
        "-t",
        "w[1-2]",
        "--run-id",
        &id,
        "--timeout",
        "2s",
        "--grace",
        "100ms",
        "--",
        "yes",
    ];
    let mut stalled = unread(on_one_stream(&lab.controller(words)));
    wait_until_stalled(&stalled);

    mark.wait_until_nothing_is_left("runs over their time limit");
    // Two that follow at once may be heard as one.
    eventually(PATIENCE, || {
        let running = stalled.is_running();
        if running {
            interrupt(&stalled);
        }
        !running
    });

    let _ = stalled.wait_exit(PATIENCE).expect_code(130);
}

/// Sends Ctrl-C to a program that may have ended, but has not been reaped.
fn interrupt(process: &Process) {
    let pid = i32::try_from(process.id()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, Signal::INT).unwrap();
}

#[test]
fn last_line_for_a_stalled_reader_lands_in_no_other_and_keeps_nobody() {
    let lab = Lab::loopback();
    let mark = Mark::new();
    let id = mark.id();
    let options = vec!["--run-id", &id, "--ndjson", "--grace", "1h"];
    let script = "trap '' INT TERM; yes; exec yes";
    let mut stalled = unread(run_command(&lab, options, vec!["sh", "-c", script]));
    wait_until_stalled(&stalled);

    stalled.signal(Signal::INT);
    let _ = stalled.wait_for_line("cancelling; Ctrl-C again leaves at once", PATIENCE);
    stalled.signal(Signal::INT);

    let finished = stalled.wait_exit(PATIENCE).expect_code(130);
    let shown = finished.stdout_text();
    // Only the last may be cut, by the end of the program.
    let whole = shown.rsplit_once('\n').unwrap().0;
    for line in whole.lines() {
        let event: Result<Value, _> = serde_json::from_str(line);
        assert!(event.is_ok_and(|event| event["event"].is_string()));
    }
}

/// Starts a run on w1 and w2 whose gathered output is more than the reader takes, and interrupts the
/// writing.
#[track_caller]
fn interrupted_while_it_writes(options: &[&str], targets: &str) -> Finished {
    let lab = lab_of(&["w1", "w2"]);
    let script = format!("head -c {MUCH} /dev/zero | tr '\\0' x; echo; echo $$");
    let mut words = vec!["run", "-t", targets];
    words.extend(options);
    words.extend(["--", "sh", "-c", &script]);
    let mut stalled = unread(lab.controller(words));
    wait_until_stalled(&stalled);

    stalled.signal(Signal::INT);
    stalled.wait_exit(PATIENCE)
}

#[test]
fn writing_that_was_interrupted_is_no_success_of_a_fleet() {
    for form in [&["--json"][..], &["-b"]] {
        let finished = interrupted_while_it_writes(form, "w[1-2]").expect_code(130);

        let said = finished.stderr_text();
        let line = "controller: interrupted before all output was written\n";
        assert!(said.contains(line), "{said}");
        assert!(said.contains("Finished 2/2 in "), "{said}");
    }
}

#[test]
fn writing_that_was_interrupted_is_said_of_one_target_too() {
    let finished = interrupted_while_it_writes(&["--json"], "w1").expect_code(130);

    let said = finished.stderr_text();
    let line = "controller: w1: interrupted before all output was written\n";
    assert!(said.contains(line), "{said}");
}

/// Tells whether Ctrl-C no longer just ends the process, as it does one that is still starting.
fn hears_interruptions(process: &Process) -> bool {
    let status = fs_err::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = u64::from_str_radix(caught.unwrap().trim(), 16).unwrap();
    caught & (1 << (Signal::INT.as_raw() - 1)) != 0
}

/// Interrupts `process`, which gathers its output for a report, until it leaves, and returns that.
#[track_caller]
fn report_of_what_is_left(lab: &Lab, mut process: Process, signals: usize) -> Value {
    let written = lab.mesh().folder().join("written");
    eventually(PATIENCE, || {
        written.exists() && hears_interruptions(&process)
    });
    process.signal(Signal::INT);
    if signals > 1 {
        let _ = process.wait_for_line("cancelling; Ctrl-C again leaves at once", PATIENCE);
        process.signal(Signal::INT);
    }
    let finished = process.wait_exit(PATIENCE).expect_code(130);
    serde_json::from_str(&finished.stdout_text()).unwrap()
}

/// Writes more than fits between the program and its caller's memory, and goes on for ever.
fn much_and_no_end(lab: &Lab) -> String {
    let folder = lab.mesh().folder().display();
    format!(
        "trap '' INT TERM; echo ready >&2; head -c 24M /dev/zero | tr '\\0' x; \
         touch {folder}/written; while :; do sleep 0.1; done"
    )
}

#[track_caller]
fn assert_gathered(report: &Value) {
    let gathered = report["stdout"]["text"].as_str().unwrap();
    assert!(gathered.len() > 1 << 20, "{} bytes", gathered.len());
    assert!(gathered.bytes().all(|byte| byte == b'x'));
    assert_eq!(report["stderr"]["text"], "ready\n");
    assert_eq!(report["outcome"], "lost");
}

#[test]
fn run_that_is_left_reports_what_was_gathered_of_its_output() {
    let lab = Lab::loopback();
    let mark = Mark::new();
    let id = mark.id();
    let script = much_and_no_end(&lab);
    let options = vec!["--run-id", &id, "--json", "--grace", "1h"];
    let process = Process::start(run_command(&lab, options, vec!["sh", "-c", &script]));

    let left = report_of_what_is_left(&lab, process, 2);

    assert_gathered(&left);
    let why = left["why"].as_str().unwrap();
    assert!(why.contains("it may still be ending there"), "{why}");
}

#[test]
fn run_that_was_only_watched_is_not_said_to_be_ending() {
    let lab = Lab::loopback();
    let mark = Mark::new();
    let id = mark.id();
    let script = much_and_no_end(&lab);
    let caller = start_marked(&lab, &mark, &["--grace", "100ms"], &script);
    let words = ["attach", "-t", TARGET, "--watch", "--json", &id];
    let watcher = Process::start(lab.controller(words));

    let left = report_of_what_is_left(&lab, watcher, 1);

    assert_eq!(left["outcome"], "lost");
    let why = left["why"].as_str().unwrap();
    assert_eq!(why, "left as it is; it may still be running there");
    drop(caller);
}

#[test]
fn message_is_shown_between_output_that_never_pauses() {
    let lab = Lab::loopback();
    let words = ["run", "-t", TARGET, "--grace", "100ms", "--", "yes"];
    let mut seat = Seat::take(&lab.controller(words), 80, 24);
    seat.wait_for("y\ny\ny\n");

    seat.signal(Signal::INT);

    seat.wait_for("\ncontroller: srv-linux-01: cancelling; Ctrl-C again leaves at once\n");
    assert_eq!(seat.wait_exit(), Some(130));
}

#[test]
fn terminal_that_shows_nothing_keeps_no_fleet() {
    let lab = lab_of(&["w1", "w2"]);
    let mark = Mark::new();
    let id = mark.id();
    let words = [
        "run", "-t", "w[1-2]", "--run-id", &id, "--", "sleep", "1000",
    ];
    let mut command = lab.controller(words);
    command.env("TERM", "xterm-256color");
    let mut seat = Seat::take(&command, 80, 24);
    seat.wait_for("2 running");

    seat.freeze();
    seat.signal(Signal::INT);
    mark.wait_until_nothing_is_left("a fleet at a stopped terminal");

    // The commands were ended by a signal, as was asked for.
    assert_eq!(seat.wait_exit(), Some(2));
}

#[test]
fn log_that_nobody_reads_can_be_left() {
    let lab = Lab::loopback();
    let mark = Mark::new();
    let id = mark.id();
    let words = vec!["head", "-c", "100000", "/dev/zero"];
    let _ = Process::run(run_command(&lab, vec!["--run-id", &id], words)).expect_success();
    let mut stalled = unread(lab.controller(["logs", &id]));
    wait_until_stalled(&stalled);

    stalled.signal(Signal::INT);

    let _ = stalled.wait_exit(PATIENCE).expect_code(130);
}
