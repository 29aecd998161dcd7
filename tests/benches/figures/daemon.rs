//! A run through the daemon, against ssh over a connection that is kept: whole processes, and how
//! much the slowest of them take.

use scenarios::{Lab, PATIENCE, Place, Process, eventually};

use crate::{
    Options,
    ours::AGENT,
    report::{Bound, Report, Unit},
    rounds::{Contender, quantile, ratio, sorted, whole_process},
    sshd::Sshd,
};

/// The share of ssh's time that a run may take.
const SHARE: f64 = 0.25;

/// How many times its median a run's 99th percentile may be.
const TAIL: f64 = 4.0;

/// Rounds at least: fewer have no 99th percentile.
const ROUNDS: usize = 200;

pub(crate) fn measure(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let rounds = options.rounds.max(ROUNDS);
    let sshd = Sshd::start(options.ssh_user.as_deref())?;
    let master = sshd.master()?;
    let mut ssh = sshd.warm_ssh(&master, "true");
    let by_ssh: Contender<'_> = Box::new(move || whole_process(&mut ssh));
    if options.peers_only {
        let [ssh] = sorted(rounds, [by_ssh])?;
        report.time("`ssh true`, ControlMaster", quantile(&ssh, 0.5));
        return Ok(());
    }

    let lab = Lab::loopback();
    // Both halves read where the agent is in the same place.
    let settings = format!(
        "mdns = false\n[addresses]\n{AGENT} = [\"{}\"]\n",
        lab.address_of(0)
    );
    fs_err::write(lab.mesh().home().join("controller.toml"), settings)?;
    let there_is = Process::run(lab.mesh().controller(["serve", "--help"]));
    if !there_is.status.success() {
        report.left_out("daemon", "this controller has no `serve`");
        return Ok(());
    }
    let socket = lab.mesh().home().join("daemon.sock");
    let mut daemon = Process::start(lab.mesh().controller(["serve"]));
    eventually(PATIENCE, || {
        assert!(daemon.is_running(), "{}", daemon.describe());
        socket.exists()
    });
    let words = ["run", "-t", AGENT, "--", "true"];
    let mut run = lab.mesh().controller_at(&Place::here_unguarded(), words);
    let by_us: Contender<'_> = Box::new(move || whole_process(&mut run));
    let [ssh, run] = sorted(rounds, [by_ssh, by_us])?;

    let (typical_ssh, typical_run) = (quantile(&ssh, 0.5), quantile(&run, 0.5));
    report.time("`ssh true`, ControlMaster", typical_ssh);
    report.time("the same, 99th percentile", quantile(&ssh, 0.99));
    report.time("`controller run true`, daemon", typical_run);
    report.time("the same, 99th percentile of it", quantile(&run, 0.99));
    report.figure(
        "run through the daemon / ssh with ControlMaster",
        ratio(typical_run, typical_ssh),
        Unit::Times,
        Bound::AtMost(SHARE),
    );
    report.figure(
        "99th percentile of it / its median",
        ratio(quantile(&run, 0.99), typical_run),
        Unit::Times,
        Bound::AtMost(TAIL),
    );
    Ok(())
}
