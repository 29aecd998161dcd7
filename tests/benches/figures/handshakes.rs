//! Connections per second that both sides have verified, one at a time and eight at a time.

use std::time::Duration;

use scenarios::Lab;

use crate::{
    Options, ours,
    quinn_peer::QuinnPeer,
    report::{Bound, Report, Unit},
    rounds::{Contender, medians, ratio},
};

/// Handshakes in one round.
const COUNT: u32 = 200;

/// How many are being set up at a time.
const IN_FLIGHT: [u32; 2] = [1, 8];

pub(crate) fn measure(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let peer = QuinnPeer::start()?;
    let lab = (!options.peers_only).then(Lab::loopback);
    let rounds = (options.rounds / 2).max(3);
    for in_flight in IN_FLIGHT {
        let arguments = [
            "--count",
            &COUNT.to_string(),
            "--in-flight",
            &in_flight.to_string(),
        ]
        .map(ToOwned::to_owned);
        let raw: Contender<'_> = Box::new(|| peer.measure("handshakes", &arguments));
        let Some(lab) = &lab else {
            let [raw] = medians(rounds, [raw])?;
            rate(report, "raw quinn", in_flight, raw);
            continue;
        };

        let ours: Contender<'_> = Box::new(|| ours::handshakes(lab, COUNT, in_flight));
        let [raw, ours] = medians(rounds, [raw, ours])?;
        rate(report, "raw quinn", in_flight, raw);
        rate(report, "our links", in_flight, ours);
        let name = match in_flight {
            1 => "handshakes per second / raw quinn, one at a time",
            _ => "handshakes per second / raw quinn, eight at a time",
        };
        report.figure(name, ratio(raw, ours), Unit::Times, Bound::None);
    }
    Ok(())
}

fn rate(report: &mut Report, whose: &str, in_flight: u32, each: Duration) {
    let per_second = 1.0 / each.as_secs_f64();
    report.raw(
        format!("handshakes of {whose}, {in_flight} at a time"),
        format!("{per_second:.0} per second ({each:.1?} each)"),
    );
}
