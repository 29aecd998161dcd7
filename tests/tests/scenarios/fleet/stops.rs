//! How many at once, and what stops a command early.

use std::{path::Path, process::Command};

use rustix::process::Signal;
use scenarios::{Finished, Lab, PATIENCE, Process, Stdin, Stdout, eventually};

use super::{lab_of, script, sorted};

const FIVE: [&str; 5] = ["w1", "w2", "w3", "w4", "w5"];

fn lines_of(file: &Path) -> usize {
    fs_err::read_to_string(file)
        .unwrap_or_default()
        .lines()
        .count()
}

#[test]
fn batch_is_never_exceeded() {
    let lab = lab_of(&FIVE);
    let folder = lab.mesh().folder().join("at-once");
    fs_err::create_dir_all(&folder).unwrap();
    let place = folder.display();
    // Each tells how many are there while it is: those that run have a file of their own.
    let text = format!("touch {place}/$$; sleep 0.1; ls {place} | wc -l; rm {place}/$$");

    for limit in [["--batch", "40%"], ["-f", "2"]] {
        let mut options = vec!["-t", "w[1-5]"];
        options.extend(limit);
        let finished = lab.run(script(&options, &text)).expect_success();

        let shown = finished.stdout_text();
        assert_eq!(shown.lines().count(), 5);
        let most = shown
            .lines()
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap());
        assert!(most.max().unwrap() <= 2, "{shown}");
    }
}

#[test]
fn nobody_begins_after_too_many_failures() {
    let lab = lab_of(&FIVE);
    let counter = lab.mesh().folder().join("counter");
    let text = format!("echo x >> {}; exit 1", counter.display());

    for (limit, begun) in [
        (&["--max-failures", "1"][..], 2),
        (&["--fail-fast"], 1),
        (&["--max-failures", "40%"], 3),
    ] {
        fs_err::write(&counter, "").unwrap();
        let mut options = vec!["-t", "w[1-5]", "-f", "1"];
        options.extend(limit);
        let finished = Process::run(lab.controller(script(&options, &text))).expect_code(2 | 8);

        assert_eq!(lines_of(&counter), begun, "{limit:?}");
        let said = finished.stderr_text();
        assert!(said.contains(&format!("Finished {begun}/5 in ")), "{said}");
        assert!(
            said.contains(&format!("{} skipped [w", 5 - begun)),
            "{said}"
        );
    }
}

#[test]
fn unreachable_target_stops_no_other() {
    let lab = lab_of(&["w1", "w2"]);

    let options = ["-t", "w[1-3]", "--connect-timeout", "300ms", "-vv"];
    let finished = Process::run(lab.controller(script(&options, "echo x"))).expect_code(4);

    assert_eq!(sorted(&finished.stdout_text()), ["w1: x", "w2: x"]);
    let said = finished.stderr_text();
    assert_eq!(said.matches("looked up once more").count(), 1, "{said}");
}

#[test]
fn same_run_id_starts_nothing_twice_on_any_target() {
    let lab = lab_of(&["w1", "w2"]);
    let counter = lab.mesh().folder().join("counter");
    let text = format!("echo x >> {}", counter.display());
    let id = "00112233445566778899aabbccddeeff";
    let options = ["-t", "w[1-2]", "--run-id", id];

    let _ = lab.run(script(&options, &text)).expect_success();
    let again = lab.run(script(&options, &text)).expect_success();

    assert_eq!(lines_of(&counter), 2);
    assert!(
        again
            .stderr_text()
            .contains("this run id was used before on w[1-2]"),
        "{again:?}"
    );
}

/// Starts `command` on agents that each write their process's number, and waits until all run.
fn started(lab: &Lab, command: Command, count: usize) -> (Process, Vec<u32>) {
    let pids = lab.mesh().folder().join("pids");
    let process = Process::start(command);
    eventually(PATIENCE, || lines_of(&pids) == count);
    let text = fs_err::read_to_string(&pids).unwrap();
    (
        process,
        text.lines().map(|line| line.parse().unwrap()).collect(),
    )
}

fn is_gone(pid: u32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn ctrl_c_ends_every_process_and_skips_who_waits() {
    let lab = lab_of(&["w1", "w2", "w3"]);
    let text = format!(
        "echo early; echo $$ >> {}/pids; exec sleep 1000",
        lab.mesh().folder().display()
    );
    let command = lab.controller(script(&["-t", "w[1-3]", "-f", "2", "-b"], &text));
    let (mut process, pids) = started(&lab, command, 2);

    process.signal(Signal::INT);
    let finished = process.wait_exit(PATIENCE).expect_code(2);

    assert!(pids.into_iter().all(is_gone));
    let shown = finished.stdout_text();
    assert_eq!(
        shown,
        "w[1-2] (2): cancelled\n  | early\nw3 (1): not started: interrupted before its turn\n"
    );
    let said = finished.stderr_text();
    assert!(
        said.contains("2 cancelled [w[1-2]], 1 skipped [w3]"),
        "{said}"
    );
}

/// Starts a command that ends at once on w1 and then, on w2, does not end when it is asked to. Sends
/// Ctrl-C twice after `ready`, and returns what came of it.
fn left_at_once(lab: &Lab, options: &[&str], ready: impl Fn() -> bool) -> Finished {
    let folder = lab.mesh().folder().display().to_string();
    let text = format!(
        "echo early; if mkdir {folder}/first 2>/dev/null; then exit 0; fi; \
         trap '' TERM; echo $$ >> {folder}/pids; while :; do sleep 1; done"
    );
    let mut all = vec!["-t", "w[1-2]", "-f", "1", "--grace", "1h"];
    all.extend(options);
    let (mut process, pids) = started(lab, lab.controller(script(&all, &text)), 1);
    eventually(PATIENCE, ready);

    process.signal(Signal::INT);
    let _ = process.wait_for_line("cancelling; Ctrl-C again leaves at once", PATIENCE);
    process.signal(Signal::INT);
    let finished = process.wait_exit(PATIENCE).expect_code(4);

    // An hour is long: what was left is ended here.
    for pid in pids {
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
    }
    finished
}

#[test]
fn second_ctrl_c_leaves_at_once_and_says_what_may_still_run() {
    let lab = lab_of(&["w1", "w2"]);

    let finished = left_at_once(&lab, &["-b"], || true);

    let shown = finished.stdout_text();
    assert!(shown.starts_with("w1 (1)\n  | early\n"), "{shown}");
    assert!(
        shown.contains("w2 (1): left; it may still run\n"),
        "{shown}"
    );
    let said = finished.stderr_text();
    assert!(
        said.contains("the command may still be ending on w2\n"),
        "{said}"
    );
    assert!(said.contains("1 ok, 1 left [w2]"), "{said}");
}

#[test]
fn second_ctrl_c_keeps_what_was_gathered() {
    let lab = lab_of(&["w1", "w2"]);
    let folder = lab.mesh().folder().join("results");
    let path = folder.display().to_string();
    let read = |name: &str| fs_err::read_to_string(folder.join(name)).unwrap_or_default();

    let _ = left_at_once(&lab, &["--out-dir", &path], || {
        read("w2.stdout") == "early\n"
    });

    assert_eq!([read("w1.stdout"), read("w2.stdout")], ["early\n"; 2]);
    assert_eq!(
        [read("hosts.succeeded"), read("hosts.failed")],
        ["w1\n", "w2\n"]
    );
}

#[test]
fn reader_that_stalls_costs_no_run_and_no_byte() {
    const LINES: usize = 200_000;
    let lab = lab_of(&["w1", "w2", "w3"]);
    let text = format!("yes 0123456789012345678901234567890123456789012345678 | head -n {LINES}");
    let command = lab.controller(script(&["-t", "w[1-3]"], &text));
    let mut process = Process::start_with(command, Stdin::Empty, Stdout::Unread);

    // The pipe is full and nobody reads; the runs still get their word on how they go.
    eventually(PATIENCE, || process.is_running());
    process.read_on();
    let finished = process.wait_exit(PATIENCE).expect_success();

    let prefix = "w1: ".len();
    assert_eq!(finished.stdout_len, (3 * LINES * (prefix + 50)) as u64);
    assert!(
        finished.stderr_text().contains("Finished 3/3 in "),
        "{finished:?}"
    );
}

#[test]
fn reader_that_goes_away_ends_the_command_everywhere() {
    let lab = lab_of(&["w1", "w2"]);
    let command = lab.controller(script(&["-t", "w[1-2]"], "exec yes"));
    let mut shell = Command::new("sh");
    shell.args(["-c", "\"$0\" \"$@\" | head -n 3"]);
    shell.arg(command.get_program()).args(command.get_args());
    shell.env_clear();
    for (key, value) in command.get_envs() {
        shell.env(key, value.unwrap_or_default());
    }
    shell.env("PATH", std::env::var_os("PATH").unwrap());

    let finished = Process::run(shell).expect_success();

    assert_eq!(finished.stdout_text().lines().count(), 3);
    assert!(
        finished.stderr_text().contains("2 cancelled [w[1-2]]"),
        "{finished:?}"
    );
}
