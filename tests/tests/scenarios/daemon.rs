//! The daemon: the same results with it and without it, for whom it is, and how it ends.
#![cfg(target_os = "linux")]

mod leaving;
mod life;
mod runs;
mod stopped;
mod trust;

use std::path::PathBuf;

use scenarios::{Finished, Lab, PATIENCE, Process, eventually_some};
use serde_json::Value;

use crate::props::TARGET;

/// A daemon of a lab's operator, killed when this is dropped.
struct Daemon {
    process: Process,
    socket: PathBuf,
}

impl Daemon {
    /// Starts it and waits until it serves.
    #[track_caller]
    fn start(lab: &Lab) -> Self {
        Self::by(lab.controller(["serve"]))
    }

    #[track_caller]
    fn by(command: std::process::Command) -> Self {
        let process = Process::start(command);
        let line = process.wait_for_line("serving on ", PATIENCE);
        let socket = line.rsplit("serving on ").next().unwrap().trim();
        Self {
            socket: socket.into(),
            process,
        }
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&self.process.stderr()).into_owned()
    }
}

/// Returns what the daemon says of itself.
#[track_caller]
fn status(lab: &Lab) -> Value {
    let said = lab.run(["serve", "status", "--json"]).expect_success();
    serde_json::from_slice(&said.stdout).unwrap()
}

/// Waits until the daemon has a run in progress, and returns its id.
#[track_caller]
fn run_in_progress(lab: &Lab) -> String {
    eventually_some(PATIENCE, || {
        let run = status(lab)["runs"][0]["run"].as_str()?.to_owned();
        Some(run)
    })
}

#[track_caller]
fn run_here(lab: &Lab, words: &[&str]) -> Finished {
    lab.run([&["--no-daemon"], words].concat())
}

#[track_caller]
fn assert_says(finished: &Finished, parts: &[&str]) {
    let said = finished.stderr_text();
    for part in parts {
        assert!(said.contains(part), "no {part:?} in: {said}");
    }
}

/// Returns the words of a run of `script`.
fn script(script: &str) -> [&str; 7] {
    ["run", "-t", TARGET, "--", "sh", "-c", script]
}
