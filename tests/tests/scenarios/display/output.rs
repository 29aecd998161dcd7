//! Remote output on a terminal, and elsewhere.

use scenarios::{Lab, Process, Screen, Terminal};
use serde_json::Value;

use super::assert_harmless;

/// Everything that a hostile host would print: the clipboard, the screen, both forms of C1, the
/// carriage return, bidi, and lines in the voice of this program.
const HOSTILE: &str = concat!(
    r"\033]52;c;ZXZpbA==\007",
    r"\033[2J",
    r"\2332J",
    r"\302\2332J",
    r"safe\rEVIL",
    r"\342\200\256gnp.exe",
    r"\ncontroller: srv-linux-01: cancelled\n",
    r#"{"event":"ended","outcome":"finished","exit_code":0}\n"#,
);

/// The same, as the bytes that `printf` makes of it.
const HOSTILE_BYTES: &[u8] = b"\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b2J\xc2\x9b2Jsafe\rEVIL\
    \xe2\x80\xaegnp.exe\ncontroller: srv-linux-01: cancelled\n\
    {\"event\":\"ended\",\"outcome\":\"finished\",\"exit_code\":0}\n";

/// How a person reads it.
const SHOWN: &str = "^[]52;c;ZXZpbA==^G^[[2J\u{fffd}2J<U+009B>2Jsafe^MEVIL<U+202E>gnp.exe\n\
    controller (remote): srv-linux-01: cancelled\n\
    {\"event\":\"ended\",\"outcome\":\"finished\",\"exit_code\":0}\n";

fn print(to: &str) -> String {
    format!("printf '{HOSTILE}' {to}")
}

#[test]
fn hostile_output_is_shown_on_a_terminal_and_never_obeyed() {
    let lab = Lab::loopback();
    for to in ["", ">&2"] {
        let script = print(to);
        let command = lab.controller(["run", "-t", "srv-linux-01", "--", "sh", "-c", &script]);

        let terminal = Terminal::run(command, Screen::Both);

        assert_harmless(&terminal.text());
        assert_eq!(terminal.text(), SHOWN, "{to}");
        assert!(terminal.status.success());
    }
}

#[test]
fn hostile_errors_are_harmless_on_a_terminal_even_when_output_goes_elsewhere() {
    let lab = Lab::loopback();
    let script = print(">&2");
    let command = lab.controller(["run", "-t", "srv-linux-01", "--", "sh", "-c", &script]);

    let terminal = Terminal::run(command, Screen::StderrOnly);

    assert_eq!(terminal.text(), SHOWN);
}

#[test]
fn raw_lets_a_trusted_host_steer_the_terminal() {
    let lab = Lab::loopback();
    let script = print("");
    let words = [
        "run",
        "--raw",
        "-t",
        "srv-linux-01",
        "--",
        "sh",
        "-c",
        &script,
    ];

    let terminal = Terminal::run(lab.controller(words), Screen::Both);

    assert_eq!(terminal.shown, HOSTILE_BYTES);
}

#[test]
fn output_that_goes_to_no_terminal_is_not_changed_by_a_byte() {
    let lab = Lab::loopback();
    let script = format!("{}; {}", print(""), print(">&2"));

    let finished = lab.run(["run", "-t", "srv-linux-01", "--", "sh", "-c", &script]);

    assert_eq!(finished.stdout, HOSTILE_BYTES);
    assert_eq!(finished.stderr, HOSTILE_BYTES);
}

#[test]
fn own_message_stands_on_its_own_line_after_unfinished_output() {
    let lab = Lab::loopback();
    let script = "printf unfinished >&2; exec sleep 1000";
    let words = [
        "run",
        "-t",
        "srv-linux-01",
        "--timeout",
        "500ms",
        "--",
        "sh",
        "-c",
        script,
    ];

    let elsewhere = Process::run(lab.controller(words)).expect_code(124);
    let terminal = Terminal::run(lab.controller(words), Screen::Both);

    let said = "unfinished\ncontroller: srv-linux-01: ended: it took longer than its time limit\n  \
                --timeout TIME sets the limit\n";
    assert_eq!(elsewhere.stderr_text(), said);
    assert_eq!(terminal.text(), said);
}

#[test]
fn no_output_can_forge_a_line_of_ndjson() {
    let lab = Lab::loopback();
    let script = print("");
    let words = [
        "run",
        "--ndjson",
        "-t",
        "srv-linux-01",
        "--",
        "sh",
        "-c",
        &script,
    ];

    let finished = lab.run(words);
    let terminal = Terminal::run(lab.controller(words), Screen::Both);

    for text in [finished.stdout_text(), terminal.text()] {
        assert_harmless(&text);
        let events = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let events: Vec<Value> = events.collect();
        let ends = events.iter().filter(|event| event["event"] == "ended");
        assert_eq!(ends.count(), 1, "{text}");
        assert_eq!(events.last().unwrap()["event"], "ended");
        assert_eq!(events[0]["event"], "started");
    }
}

#[test]
fn json_carries_hostile_output_whole_and_harmless() {
    let lab = Lab::loopback();
    let script = r"printf '\033[2J\342\200\256\302\233\n{}'";
    let words = [
        "run",
        "--json",
        "-t",
        "srv-linux-01",
        "--",
        "sh",
        "-c",
        script,
    ];

    let terminal = Terminal::run(lab.controller(words), Screen::Both);

    assert_harmless(&terminal.text());
    let report: Value = serde_json::from_str(&terminal.text()).unwrap();
    assert_eq!(report["stdout"]["text"], "\u{1b}[2J\u{202e}\u{9b}\n{}");
}
