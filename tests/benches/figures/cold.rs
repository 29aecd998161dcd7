//! A run of `true` from a cold start: the whole process, as a person waits for it.

use scenarios::Lab;

use crate::{
    Options,
    ours::cold_run,
    report::{Bound, Report, Unit},
    rounds::{Contender, medians, ratio, whole_process},
    sshd::Sshd,
};

/// The share of ssh's time that a cold run may take.
const SHARE: f64 = 0.2;

pub(crate) fn measure(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let sshd = Sshd::start(options.ssh_user.as_deref())?;
    let mut ssh = sshd.ssh("true");
    let by_ssh: Contender<'_> = Box::new(move || whole_process(&mut ssh));
    if options.peers_only {
        let [ssh] = medians(options.rounds, [by_ssh])?;
        report.time("cold `ssh true`", ssh);
        return Ok(());
    }

    let lab = Lab::loopback();
    let mut run = cold_run(&lab, &["true"]);
    let by_us: Contender<'_> = Box::new(move || whole_process(&mut run));
    let [ssh, run] = medians(options.rounds, [by_ssh, by_us])?;
    report.time("cold `ssh true`", ssh);
    report.time("cold `controller run true`", run);
    report.figure(
        "cold run / cold ssh",
        ratio(run, ssh),
        Unit::Times,
        Bound::AtMost(SHARE),
    );
    Ok(())
}
