//! What a person may get wrong: each gives one clear message with the next step, and its exit code.
//!
//! Certificates that are foreign, expired or of the wrong role are the business of `identity`.

mod agent;
mod home;
mod pki;
mod run;

use std::process::Command;

use scenarios::{Finished, Process};

/// Runs `command` and asserts that it fails with `code` and says exactly `message` on standard error,
/// and nothing on standard output.
#[track_caller]
fn assert_says(command: Command, code: i32, message: &str) {
    let finished = Process::run(command).expect_code(code);

    assert_eq!(finished.stderr_text(), message);
    assert_eq!(finished.stdout_text(), "");
}

/// Runs `command` and asserts that its words are refused for `reason`, with help one step away.
#[track_caller]
fn assert_misused(command: Command, reason: &str) {
    let finished = Process::run(command).expect_code(64);

    let said = finished.stderr_text();
    assert!(said.contains(reason), "{said}");
    assert!(said.contains("--help"), "{said}");
    assert_eq!(finished.stdout_text(), "");
}

/// Runs `command` and asserts that it fails with `code`; returns the one message that it says.
#[track_caller]
fn failure(command: Command, code: i32) -> String {
    let Finished { stderr, .. } = Process::run(command).expect_code(code);
    let said = String::from_utf8(stderr).unwrap();
    let messages = said.lines().filter(|line| !line.starts_with("  "));
    assert_eq!(messages.count(), 1, "{said}");
    said
}
