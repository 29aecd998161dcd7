//! Our side of the measurements.
//!
//! What a person starts is measured as a person starts it: the real `controller`. What only a
//! library call can show (a link that stays warm, a bare handshake) is measured by a program that
//! is named with `--ours`, and that speaks as `quinn-peer` does:
//!
//! ```text
//! OURS runs       -t NAME --count N -- /bin/true     median time of a run on one warm link
//! OURS handshakes -t NAME --count N --in-flight K    mean time of a link that both sides verified
//! ```
//!
//! It finds identity and addresses by the environment as `controller` does, and prints
//! `{"nanos":N}`.

use std::{path::Path, process::Command, time::Duration};

use scenarios::Lab;

use crate::quinn_peer::answer_of;

/// The agent of the laboratory.
pub(crate) const AGENT: &str = "srv-linux-01";

/// Returns a cold run of `argv` on the agent of `lab`, its address known.
pub(crate) fn cold_run(lab: &Lab, argv: &[&str]) -> Command {
    lab.timed_controller([&["run", "-t", AGENT, "--"], argv].concat())
}

/// Measures the median of `count` runs of `/bin/true` on one warm link.
pub(crate) fn warm_runs(program: &Path, lab: &Lab, count: u32) -> anyhow::Result<Duration> {
    let count = count.to_string();
    let words = ["runs", "-t", AGENT, "--count", &count, "--", "/bin/true"];
    answer_of(Command::new(program).args(words).envs(environment(lab)))
}

/// Measures the mean time of a link, `in_flight` being set up at a time.
pub(crate) fn handshakes(
    program: &Path,
    lab: &Lab,
    count: u32,
    in_flight: u32,
) -> anyhow::Result<Duration> {
    let (count, in_flight) = (count.to_string(), in_flight.to_string());
    let words = [
        "handshakes",
        "-t",
        AGENT,
        "--count",
        &count,
        "--in-flight",
        &in_flight,
    ];
    answer_of(Command::new(program).args(words).envs(environment(lab)))
}

/// Returns what tells a program of ours who it is and where the agents are.
fn environment(lab: &Lab) -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
    let command = lab.timed_controller::<&str>([]);
    command
        .get_envs()
        .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
        .collect()
}
