//! Thousands of agents: what the controller adds to the handshakes, and what a link weighs in it.
//!
//! The agents are emulated, in one process, and so is what they run: `mesosync-noop`.

use std::{
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use scenarios::{Emulation, Lab, Place, procfs};

use crate::{
    Options,
    ours::fleet_handshakes,
    quinn_peer::QuinnPeer,
    report::{Bound, Report, Unit},
    rounds::{Contender, medians, ratio, whole_process},
};

/// How many times the handshakes' time the controller may take.
const OVERHEAD: f64 = 1.5;

/// The most that one link may weigh, in KiB.
const LINK: f64 = 40.0;

/// Handshakes in progress at once, as many as the controller's.
const IN_FLIGHT: usize = 64;

/// Each takes seconds.
const ROUNDS: usize = 5;

/// How often the memory of a process is looked at.
const GLANCE: Duration = Duration::from_millis(2);

pub(crate) fn measure(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let rounds = options.rounds.min(ROUNDS);
    let lab = Lab::new();
    let begun = Instant::now();
    let _agents = Emulation::start(lab.mesh(), options.agents);
    report.time(
        format!("{} identities and agents made", options.agents),
        begun.elapsed(),
    );
    let peer = QuinnPeer::start()?;
    let count = [
        "--count",
        &options.agents.to_string(),
        "--in-flight",
        &IN_FLIGHT.to_string(),
    ]
    .map(ToOwned::to_owned);
    let raw: Contender<'_> =
        Box::new(|| Ok(peer.measure("handshakes", &count)? * u32::try_from(options.agents)?));
    let bare: Contender<'_> = Box::new(|| fleet_handshakes(&lab, IN_FLIGHT));
    let listing: Contender<'_> =
        Box::new(|| whole_process(&mut controller(&lab, &["agents", "--json"])));
    let run = ["run", "--all", "--yes", "--", "mesosync-noop"];
    let by_run: Contender<'_> = Box::new(|| whole_process(&mut controller(&lab, &run)));

    let [raw, bare, listing] = medians(rounds, [raw, bare, listing])?;
    report.time("their handshakes, raw quinn", raw);
    report.time("their handshakes", bare);
    report.time("`controller agents`", listing);
    overhead(report, "`controller agents` / handshakes", bare, listing);
    memory(&lab, options.agents, report)?;
    if let Err(error) = whole_process(&mut controller(&lab, &run)) {
        report.left_out("a run on all of them", &error.to_string());
        return Ok(());
    }
    let bare: Contender<'_> = Box::new(|| fleet_handshakes(&lab, IN_FLIGHT));
    let [bare, run] = medians(rounds, [bare, by_run])?;
    report.time("`controller run --all`", run);
    overhead(report, "`controller run --all` / handshakes", bare, run);
    Ok(())
}

fn overhead(report: &mut Report, name: &'static str, bare: Duration, whole: Duration) {
    report.figure(
        name,
        ratio(whole, bare),
        Unit::Times,
        Bound::AtMost(OVERHEAD),
    );
}

/// Compares the peak of a controller that links to all with that of one that links to nobody.
fn memory(lab: &Lab, links: usize, report: &mut Report) -> anyhow::Result<()> {
    let all = peak(controller(lab, &["agents", "--json"]), 0)?;
    let elsewhere = lab.mesh().folder().join("nobody");
    fs_err::create_dir_all(&elsewhere)?;
    let mut nobody = controller(lab, &["agents", "--json"]);
    nobody
        .env("MESOSYNC_HOME", &elsewhere)
        .arg("--identity")
        .arg(lab.mesh().home().join("controller.identity"));
    let none = peak(nobody, 3)?;
    report.raw(
        "memory of a controller without links",
        format!("{} KiB", none >> 10),
    );
    report.raw(
        "memory of one with a link to each",
        format!("{} KiB", all >> 10),
    );
    let each = all.saturating_sub(none) as f64 / links as f64 / 1024.0;
    report.figure(
        "memory of a link",
        each,
        Unit::Kibibytes,
        Bound::AtMost(LINK),
    );
    Ok(())
}

/// Runs a process to its end, which must have this code, and returns the most memory that it was
/// seen to have.
fn peak(mut command: Command, code: i32) -> anyhow::Result<u64> {
    let null = Stdio::null;
    let child = command.stdin(null()).stdout(null()).stderr(null()).spawn();
    let mut child = child.with_context(|| format!("start {command:?}"))?;
    let mut most = 0;
    loop {
        // Asked before: a process that has ended has no memory to look at.
        most = most.max(procfs::peak_resident_bytes_if_alive(child.id()).unwrap_or(0));
        if let Some(status) = child.try_wait()? {
            ensure!(status.code() == Some(code), "{command:?}: {status}");
            return Ok(most);
        }
        thread::sleep(GLANCE);
    }
}

fn controller(lab: &Lab, words: &[&str]) -> Command {
    let mut command = lab.mesh().controller_at(&Place::here_unguarded(), words);
    command.env("MESOSYNC_MDNS", "false");
    command
}
