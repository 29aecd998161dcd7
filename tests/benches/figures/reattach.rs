//! A run's output after its line was cut: how long until it flows again.

use std::{
    io::Read as _,
    process::Stdio,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use scenarios::{
    Lab, PATIENCE,
    proxy::{Proxy, Weather},
};

use crate::{
    ours::AGENT,
    report::{Bound, Report, Unit},
};

/// How long a packet takes.
const DELAY: Duration = Duration::from_millis(10);

/// How long the line is cut.
const CUT: Duration = Duration::from_secs(10);

/// Silence within a cut that proves that nothing flows.
const SILENCE: Duration = Duration::from_secs(1);

/// How much more than a round trip may pass.
const MARGIN: Duration = Duration::from_millis(100);

/// Each takes as long as a cut.
const ROUNDS: usize = 5;

/// When output last came.
#[derive(Default)]
struct Seen {
    last: Mutex<Option<Instant>>,
    changed: Condvar,
}

impl Seen {
    fn note(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.changed.notify_all();
    }

    /// Waits for output after `since`, and returns when the first of it came.
    fn after(&self, since: Instant) -> Option<Instant> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .changed
            .wait_timeout_while(last, PATIENCE, |last| last.is_none_or(|last| last <= since));
        let (last, _) = waited.unwrap_or_else(PoisonError::into_inner);
        last.filter(|last| *last > since)
    }
}

pub(crate) fn measure(report: &mut Report) -> anyhow::Result<()> {
    let lab = Lab::loopback();
    let proxy = Proxy::start(lab.address_of(0), 1);
    let (delay, cut) = (DELAY, false);
    proxy.set_weather(Weather {
        delay,
        cut,
        ..Weather::default()
    });
    let script = "while echo tick; do sleep 0.005; done";
    let words = ["run", "-t", AGENT, "--", "sh", "-c", script];
    let mut run = lab.controller_knowing([(AGENT, proxy.address())], words);
    let (stdout, stderr) = (Stdio::piped(), Stdio::null());
    let mut child = run
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .spawn()?;
    let mut output = child.stdout.take().context("the output of the run")?;
    let seen = Arc::new(Seen::default());
    let reader = thread::spawn({
        let seen = Arc::clone(&seen);
        move || {
            let mut buffer = [0; 4096];
            while output.read(&mut buffer).is_ok_and(|read| read > 0) {
                seen.note();
            }
        }
    });
    let waits = (0..ROUNDS).map(|_| wait_after_cut(&proxy, &seen)).collect();
    child.kill()?;
    child.wait()?;
    ensure!(reader.join().is_ok(), "the reader panicked");
    let mut waits: Vec<Duration> = match waits {
        Ok(waits) => waits,
        Err(error) => {
            let error: anyhow::Error = error;
            report.left_out("reattach", &error.to_string());
            return Ok(());
        }
    };
    waits.sort_unstable();
    let (typical, worst) = (waits[ROUNDS / 2], waits[ROUNDS - 1]);
    report.raw(
        "output is cut off for",
        format!("{CUT:?}, round trip {:?}", 2 * DELAY),
    );
    report.time("until it flows again, the longest", worst);
    let most = (2 * DELAY + MARGIN).as_secs_f64() * 1000.0;
    report.figure(
        "until output flows again after a cut",
        typical.as_secs_f64() * 1000.0,
        Unit::Milliseconds,
        Bound::AtMost(most),
    );
    Ok(())
}

fn wait_after_cut(proxy: &Proxy, seen: &Seen) -> anyhow::Result<Duration> {
    let flows = seen.after(Instant::now());
    ensure!(flows.is_some(), "there is no output to cut");
    proxy.cut();
    thread::sleep(CUT - SILENCE);
    let quiet = Instant::now();
    thread::sleep(SILENCE);
    let last = *seen.last.lock().unwrap_or_else(PoisonError::into_inner);
    ensure!(
        last.is_none_or(|last| last < quiet),
        "output flows through a cut line"
    );
    let mended = Instant::now();
    proxy.mend();
    let again = seen.after(mended).context("output never flows again")?;
    Ok(again - mended)
}
