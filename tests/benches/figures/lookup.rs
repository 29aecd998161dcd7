//! What it costs to find an agent by mDNS: a run that knows no address against one that does, both
//! on a LAN of network namespaces.

use std::{path::Path, process::Command};

use anyhow::ensure;
use scenarios::Lab;

use crate::{
    Options,
    ours::AGENT,
    report::{Bound, Report, Unit},
    rounds::{Contender, medians, whole_process},
};

/// How many milliseconds the look-up may take.
const MOST: f64 = 150.0;

pub(crate) fn measure(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    // The controller remembers addresses; the mesh is made before any agent runs, so that this
    // copy of its state knows of none.
    let lab = Lab::on_lan(1);
    let pristine = lab.mesh().folder().join("pristine");
    copy(&lab.mesh().home(), &pristine)?;
    let forgetful = lab.mesh().folder().join("forgetful");

    let known: Contender<'_> = Box::new(|| {
        let mut run = lab.controller(["run", "-t", AGENT, "--", "true"]);
        lab.tell_addresses(&mut run);
        whole_process(&mut run)
    });
    let unknown: Contender<'_> = Box::new(|| {
        if forgetful.exists() {
            fs_err::remove_dir_all(&forgetful)?;
        }
        copy(&pristine, &forgetful)?;
        let mut run = lab.controller(["run", "-t", AGENT, "--", "true"]);
        whole_process(run.env("MESOSYNC_HOME", &forgetful))
    });
    let [known, unknown] = medians(options.rounds, [known, unknown])?;

    report.time("cold run on a LAN, address known", known);
    report.time("cold run on a LAN, found by mDNS", unknown);
    let more = (unknown.as_secs_f64() - known.as_secs_f64()) * 1000.0;
    report.figure(
        "mDNS look-up",
        more,
        Unit::Milliseconds,
        Bound::AtMost(MOST),
    );
    Ok(())
}

/// Copies a folder with its permissions: a key that others can read would be refused.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(copied.success(), "cp failed: {copied}");
    Ok(())
}
