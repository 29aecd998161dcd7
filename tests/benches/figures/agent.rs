//! What an agent costs its host: disk, memory, and, when nothing happens, nothing.

use std::{
    thread,
    time::{Duration, Instant},
};

use scenarios::{Binaries, Lab, Process, Stdin, Stdout, procfs};

use crate::{
    Options,
    ours::AGENT,
    report::{Bound, Report, Unit},
};

/// The most that a stripped release binary may weigh, in MiB.
const BINARY: f64 = 9.0;

/// The most memory that an idle agent may hold, in MiB.
const IDLE: f64 = 12.0;

/// How far a reader that stopped reading may drive the agent above that, in MiB.
const STALLED: f64 = 16.0;

/// How much the run prints to the reader that has stopped.
const PRINTED: &str = "10737418240";

/// How long a process must do nothing to count as settled.
const SETTLED: Duration = Duration::from_secs(3);

/// How long it may take to settle.
const SETTLING: Duration = Duration::from_secs(60);

pub(crate) fn measure(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let weight = fs_err::metadata(&Binaries::get().funnelcloud)?.len();
    report.figure(
        "agent binary",
        mebibytes(weight),
        Unit::Mebibytes,
        Bound::AtMost(BINARY),
    );

    let mut lab = Lab::on_lan(1);
    let pid = lab.agent(0).pid();
    settle(pid);
    let idle = procfs::resident_bytes(pid);
    report.figure(
        "agent idle memory",
        mebibytes(idle),
        Unit::Mebibytes,
        Bound::AtMost(IDLE),
    );
    idle_minute(&lab, pid, options.idle_seconds, report);
    stalled_reader(&lab, pid, idle, report)
}

/// Counts what an agent sends, and what time it takes, while nobody asks it for anything.
fn idle_minute(lab: &Lab, pid: u32, seconds: u64, report: &mut Report) {
    let host = lab.lan().host(2);
    let (sent, ticks) = (lab.lan().counters(host).sent, procfs::cpu_ticks(pid));
    thread::sleep(Duration::from_secs(seconds));
    let sent = lab.lan().counters(host).sent - sent;
    let ticks = procfs::cpu_ticks(pid) - ticks;
    report.raw("idle agent was watched for", format!("{seconds} s"));
    report.figure(
        "packets of an idle agent",
        sent as f64,
        Unit::Packets,
        Bound::AtMost(0.0),
    );
    report.figure(
        "time of an idle agent",
        ticks as f64,
        Unit::Ticks,
        Bound::AtMost(0.0),
    );
}

/// Lets a run print far more than anybody reads, and looks at the agent's memory meanwhile.
fn stalled_reader(lab: &Lab, pid: u32, idle: u64, report: &mut Report) -> anyhow::Result<()> {
    let run = lab.controller(["run", "-t", AGENT, "--", "head", "-c", PRINTED, "/dev/zero"]);
    let mut reader = Process::start_with(run, Stdin::Empty, Stdout::Unread);
    let most = settle(pid);
    anyhow::ensure!(reader.is_running(), "the run ended: {}", reader.describe());
    let more = most.saturating_sub(idle);
    report.figure(
        "agent memory above idle, reader stopped",
        mebibytes(more),
        Unit::Mebibytes,
        Bound::AtMost(STALLED),
    );
    Ok(())
}

/// Waits until a process uses no time any more, and returns the most memory seen meanwhile.
fn settle(pid: u32) -> u64 {
    let deadline = Instant::now() + SETTLING;
    let (mut ticks, mut since) = (procfs::cpu_ticks(pid), Instant::now());
    let mut most = 0;
    while since.elapsed() < SETTLED && Instant::now() < deadline {
        most = most.max(procfs::resident_bytes(pid));
        let now = procfs::cpu_ticks(pid);
        if now != ticks {
            (ticks, since) = (now, Instant::now());
        }
        thread::sleep(Duration::from_millis(20));
    }
    most
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
