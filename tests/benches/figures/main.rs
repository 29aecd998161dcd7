//! The figures that the project promises, measured against ssh and against quinn by itself.
//!
//! Every figure is a ratio, or a difference, of medians of interleaved rounds on one machine, so
//! that it means the same on a slow one. The opponents are started by the benchmark itself: an
//! sshd of its own (with a user whose shell is `/bin/sh`, if there is one called `mesobench`) and
//! `quinn-peer`, both on the loopback.
//!
//! ```text
//! cargo bench -p scenarios --bench figures
//! cargo bench -p scenarios --bench figures -- --only cold,bulk --rounds 21 --json figures.json
//! cargo bench -p scenarios --bench figures -- --peers-only
//! ```
//!
//! Whole processes are timed here, around `spawn` and `wait`, and not by hyperfine, which cannot
//! interleave its contenders.

#[cfg(target_os = "linux")]
mod agent;
mod bulk;
mod cold;
mod cp;
#[cfg(unix)]
mod daemon;
#[cfg(target_os = "linux")]
mod fleet;
mod handshakes;
#[cfg(target_os = "linux")]
mod lookup;
mod ours;
mod quinn_peer;
#[cfg(target_os = "linux")]
mod reattach;
mod report;
mod rounds;
#[cfg(target_os = "linux")]
mod scale;
mod sshd;
mod warm;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, ValueEnum};

use report::Report;

#[derive(Parser)]
#[command(about = "Measures the promised figures", disable_version_flag = true)]
struct Options {
    /// Only these figures
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Rounds of each short measurement; bulk data and handshakes take half of them
    #[arg(long, default_value_t = 21)]
    rounds: usize,
    /// Bytes of the bulk measurements
    #[arg(long, default_value_t = 1 << 30)]
    bulk_bytes: u64,
    /// How many agents are emulated for `scale`
    #[arg(long, default_value_t = 5000)]
    agents: usize,
    /// Seconds for which an idle agent is watched
    #[arg(long, default_value_t = 60)]
    idle_seconds: u64,
    /// The user of the ssh server; `mesobench` if there is one, else the current user
    #[arg(long)]
    ssh_user: Option<String>,
    /// Measure the opponents alone
    #[arg(long)]
    peers_only: bool,
    /// Write everything that was measured to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Exit with 1 when a figure is missed
    #[arg(long)]
    check: bool,
    /// Given by `cargo bench`; without it this is a test run, which measures nothing
    #[arg(long, hide = true)]
    bench: bool,
    /// Given by test runners that look for tests; there are none
    #[arg(long, hide = true, num_args = 0.., allow_hyphen_values = true)]
    list: Option<Vec<String>>,
}

/// A part of the measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A run of `true` from a cold start
    Cold,
    /// The same with an address to be found by mDNS
    Lookup,
    /// A run on a warm link
    Warm,
    /// A gibibyte of standard output
    Bulk,
    /// A gibibyte copied as a file
    Cp,
    /// Connections per second
    Handshakes,
    /// The agent's size, memory and silence
    Agent,
    /// A run through the daemon
    Daemon,
    /// One command on a hundred agents
    Fleet,
    /// Links to thousands of agents
    Scale,
    /// Output after a cut
    Reattach,
}

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    if !options.bench || options.list.is_some() {
        return Ok(ExitCode::SUCCESS);
    }

    let mut report = Report::default();
    if cfg!(debug_assertions) {
        report.left_out(
            "everything",
            "this is not a release build; its figures mean nothing",
        );
    }
    for part in Part::value_variants() {
        if options.only.is_empty() || options.only.contains(part) {
            report.begin(part);
            measure(*part, &options, &mut report)?;
        }
    }

    show(&report);
    if let Some(file) = &options.json {
        fs_err::write(file, serde_json::to_vec_pretty(&report)?)?;
    }
    let missed = options.check && report.is_missed();
    Ok(if missed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn measure(part: Part, options: &Options, report: &mut Report) -> anyhow::Result<()> {
    match part {
        Part::Cold => cold::measure(options, report),
        Part::Warm => warm::measure(options, report),
        Part::Bulk => bulk::measure(options, report),
        Part::Cp => cp::measure(options, report),
        Part::Handshakes => handshakes::measure(options, report),
        #[cfg(target_os = "linux")]
        Part::Lookup if !options.peers_only => lookup::measure(options, report),
        #[cfg(target_os = "linux")]
        Part::Agent if !options.peers_only => agent::measure(options, report),
        #[cfg(unix)]
        Part::Daemon => daemon::measure(options, report),
        #[cfg(target_os = "linux")]
        Part::Fleet => fleet::measure(options, report),
        #[cfg(target_os = "linux")]
        Part::Scale if !options.peers_only => scale::measure(options, report),
        #[cfg(target_os = "linux")]
        Part::Reattach if !options.peers_only => reattach::measure(report),
        Part::Lookup | Part::Agent | Part::Scale | Part::Reattach => Ok(()),
        #[cfg(not(unix))]
        Part::Daemon => Ok(()),
        #[cfg(not(target_os = "linux"))]
        Part::Fleet => Ok(()),
    }
}

#[expect(clippy::print_stdout, reason = "the result of a benchmark")]
fn show(report: &Report) {
    println!("{report}");
}
