//! A gibibyte copied as a file, in both directions, against scp to the same folder.
//!
//! Ours is durable when it ends (`fdatasync`) and has been compared by SHA-256 at both ends; scp is
//! neither. Each round writes over the copy of the round before, as both would in life, and begins on
//! a disk that has nothing left to write of what another contender has left to it.

use std::{io::Read as _, path::Path, process::Command, time::Duration};

use scenarios::Lab;
use tempfile::TempDir;

use crate::{
    Options,
    bulk::speed,
    ours::AGENT,
    report::{Bound, Report, Unit},
    rounds::{Contender, medians, ratio, whole_process},
    sshd::Sshd,
};

/// Of the speed of scp, this multiple at least.
const OF_SCP: f64 = 1.3;

pub(crate) fn measure(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let rounds = (options.rounds / 2).max(3);
    let folder = folder_for_all()?;
    let source = folder.path().join("source");
    fill(&source, options.bulk_bytes)?;
    let sshd = Sshd::start(options.ssh_user.as_deref())?;
    let mut scp = sshd.scp(&source, &folder.path().join("by-scp"));
    let by_scp: Contender<'_> = Box::new(move || on_a_settled_disk(&mut scp));
    if options.peers_only {
        let [scp] = medians(rounds, [by_scp])?;
        speed(report, "scp", options.bulk_bytes, scp);
        return Ok(());
    }

    let lab = Lab::loopback();
    let remote = |name: &str| format!("{AGENT}:{}", folder.path().join(name).display());
    let here = |name: &str| folder.path().join(name).display().to_string();
    let mut put = lab.timed_controller(["cp", &here("source"), &remote("by-put")]);
    let mut get = lab.timed_controller(["cp", &remote("source"), &here("by-get")]);
    let by_put: Contender<'_> = Box::new(move || on_a_settled_disk(&mut put));
    let by_get: Contender<'_> = Box::new(move || on_a_settled_disk(&mut get));
    let [scp, put, get] = medians(rounds, [by_scp, by_put, by_get])?;
    speed(report, "scp", options.bulk_bytes, scp);
    speed(
        report,
        "controller cp to the agent",
        options.bulk_bytes,
        put,
    );
    speed(
        report,
        "controller cp from the agent",
        options.bulk_bytes,
        get,
    );
    for (name, taken) in [("cp put speed / scp", put), ("cp get speed / scp", get)] {
        let of_scp = ratio(scp, taken);
        report.figure(name, of_scp, Unit::Times, Bound::AtLeast(OF_SCP));
    }
    Ok(())
}

fn on_a_settled_disk(command: &mut Command) -> anyhow::Result<Duration> {
    #[cfg(unix)]
    rustix::fs::sync();
    whole_process(command)
}

/// A folder that the ssh server's user may write to, whoever that is.
fn folder_for_all() -> anyhow::Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("bench-cp-").tempdir()?;
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
        fs_err::set_permissions(folder.path(), mode)?;
    }
    Ok(folder)
}

/// Writes bytes that nothing on the way can make fewer.
fn fill(path: &Path, bytes: u64) -> anyhow::Result<()> {
    let source = fs_err::File::open("/dev/urandom")?;
    let mut file = fs_err::File::create(path)?;
    std::io::copy(&mut source.take(bytes), &mut file)?;
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        fs_err::set_permissions(path, mode)?;
    }
    Ok(())
}
