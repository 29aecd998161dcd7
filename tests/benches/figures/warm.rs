//! A run on a warm link, against the least that it must cost: a round trip and a process.

use scenarios::Lab;

use crate::{
    Options, ours,
    quinn_peer::QuinnPeer,
    report::{Bound, Report, Unit},
    rounds::{Contender, medians, ratio},
};

/// How many times the least a warm run may cost.
const OVERHEAD: f64 = 1.5;

/// Runs, round trips and spawns in one round.
const COUNT: u32 = 200;

pub(crate) fn measure(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let peer = QuinnPeer::start()?;
    let count = ["--count".to_owned(), COUNT.to_string()];
    let round_trip: Contender<'_> = Box::new(|| peer.measure("round-trips", &count));
    let spawn: Contender<'_> = Box::new(|| peer.measure("spawns", &count));
    if options.peers_only {
        let [round_trip, spawn] = medians(options.rounds, [round_trip, spawn])?;
        report.time("raw quinn round trip", round_trip);
        report.time("raw spawn of /bin/true", spawn);
        return Ok(());
    }

    let lab = Lab::loopback();
    let run: Contender<'_> = Box::new(|| ours::warm_runs(&lab, COUNT));
    let [round_trip, spawn, run] = medians(options.rounds, [round_trip, spawn, run])?;
    report.time("raw quinn round trip", round_trip);
    report.time("raw spawn of /bin/true", spawn);
    report.time("run of /bin/true on a warm link", run);
    report.figure(
        "warm run / (raw round trip + raw spawn)",
        ratio(run, round_trip + spawn),
        Unit::Times,
        Bound::AtMost(OVERHEAD),
    );
    Ok(())
}
