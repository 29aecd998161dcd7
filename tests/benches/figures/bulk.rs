//! A gibibyte of standard output, against one raw stream and against ssh.

use std::time::Duration;

use scenarios::Lab;

use crate::{
    Options,
    ours::cold_run,
    quinn_peer::QuinnPeer,
    report::{Bound, Report, Unit},
    rounds::{Contender, medians, ratio, whole_process},
    sshd::Sshd,
};

/// Of the speed of one raw stream, this share at least; it has no process to read from.
const OF_QUINN: f64 = 0.9;

/// Of the speed of ssh, this multiple at least.
const OF_SSH: f64 = 1.3;

pub(crate) fn measure(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let rounds = (options.rounds / 2).max(3);
    let bytes = options.bulk_bytes.to_string();
    let peer = QuinnPeer::start()?;
    let raw = ["--bytes".to_owned(), bytes.clone()];
    let by_quinn: Contender<'_> = Box::new(|| peer.measure("bulk", &raw));
    let sshd = Sshd::start(options.ssh_user.as_deref())?;
    let mut ssh = sshd.ssh(&format!("head -c {bytes} /dev/zero"));
    let by_ssh: Contender<'_> = Box::new(move || whole_process(&mut ssh));
    if options.peers_only {
        let [quinn, ssh] = medians(rounds, [by_quinn, by_ssh])?;
        speed(report, "one raw quinn stream", options.bulk_bytes, quinn);
        speed(report, "ssh", options.bulk_bytes, ssh);
        return Ok(());
    }

    let lab = Lab::loopback();
    let mut run = cold_run(&lab, &["head", "-c", &bytes, "/dev/zero"]);
    let by_us: Contender<'_> = Box::new(move || whole_process(&mut run));
    let [quinn, ssh, run] = medians(rounds, [by_quinn, by_ssh, by_us])?;
    speed(report, "one raw quinn stream", options.bulk_bytes, quinn);
    speed(report, "ssh", options.bulk_bytes, ssh);
    speed(report, "controller run", options.bulk_bytes, run);
    let (of_quinn, of_ssh) = (ratio(quinn, run), ratio(ssh, run));
    report.figure(
        "bulk speed / raw quinn",
        of_quinn,
        Unit::Times,
        Bound::AtLeast(OF_QUINN),
    );
    report.figure(
        "bulk speed / ssh",
        of_ssh,
        Unit::Times,
        Bound::AtLeast(OF_SSH),
    );
    Ok(())
}

pub(crate) fn speed(report: &mut Report, by: &str, bytes: u64, taken: Duration) {
    let mebibytes = bytes as f64 / f64::from(1 << 20) / taken.as_secs_f64();
    report.raw(
        format!("bulk by {by}"),
        format!("{mebibytes:.0} MiB/s ({taken:.2?})"),
    );
}
