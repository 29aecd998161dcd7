//! Our side of the measurements.
//!
//! What a person starts is measured as a person starts it: the real `controller`. What only a
//! library call can show (a link that stays warm, a bare handshake) is measured by `mesh-peer`.

use std::{process::Command, time::Duration};

use scenarios::Lab;

use crate::quinn_peer::answer_of;

const PROGRAM: &str = env!("CARGO_BIN_EXE_mesh-peer");

/// The agent of the laboratory.
pub(crate) const AGENT: &str = "srv-linux-01";

/// Returns a cold run of `argv` on the agent of `lab`, its address known.
pub(crate) fn cold_run(lab: &Lab, argv: &[&str]) -> Command {
    lab.timed_controller([&["run", "-t", AGENT, "--"], argv].concat())
}

/// Measures the median of `count` runs of `/bin/true` on one warm link.
pub(crate) fn warm_runs(lab: &Lab, count: u32) -> anyhow::Result<Duration> {
    let mut program = program(lab, "runs", count);
    answer_of(program.args(["--", "/bin/true"]))
}

/// Measures the mean time of a link, `in_flight` being set up at a time.
pub(crate) fn handshakes(lab: &Lab, count: u32, in_flight: u32) -> anyhow::Result<Duration> {
    let mut program = program(lab, "handshakes", count);
    answer_of(program.args(["--in-flight", &in_flight.to_string()]))
}

/// Measures links to all agents whose addresses the controller of `lab` remembers.
#[cfg(target_os = "linux")]
pub(crate) fn fleet_handshakes(lab: &Lab, in_flight: usize) -> anyhow::Result<Duration> {
    let mut program = Command::new(PROGRAM);
    program
        .args([
            "fleet",
            "--in-flight",
            &in_flight.to_string(),
            "--addresses",
        ])
        .arg(scenarios::Emulation::addresses(lab.mesh()))
        .arg("--identity")
        .arg(lab.mesh().home().join("controller.identity"));
    answer_of(&mut program)
}

fn program(lab: &Lab, verb: &str, count: u32) -> Command {
    let mut program = Command::new(PROGRAM);
    program
        .args([verb, "-t", AGENT, "--count", &count.to_string()])
        .args(["--address", &lab.address_of(0).to_string()])
        .arg("--identity")
        .arg(lab.mesh().home().join("controller.identity"));
    program
}
