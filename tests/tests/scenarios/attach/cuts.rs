//! Links that are cut, lossy and torn: every byte of output and input arrives once and in order.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use scenarios::{
    Finished, Lab, PATIENCE, Process, eventually,
    proxy::{Proxy, Weather},
};

use super::{
    run_through,
    stream::{assert_same, noise, numbers, without_notices},
};

/// The last number of the long stream: 22.9 MB of text.
const MANY: u32 = 3_000_000;

/// The last number of the stream beside it: 2 MB.
const FEWER: u32 = 300_000;

/// Lines of the slow stream, one each 20 ms.
const DRIPS: u32 = 100;

/// Packets after which all streams flow; the whole of them is about four times as many.
const UNDER_WAY: u64 = 4_000;

/// Three runs through one proxy: one that writes as fast as it can on both streams, one that writes a
/// little at a time, and one that gives its input back.
struct Streams {
    lab: Lab,
    proxy: Proxy,
    starts: PathBuf,
    copy: PathBuf,
    input: Vec<u8>,
    last: u32,
    runs: Vec<Process>,
}

impl Streams {
    /// Starts them, and returns when they flow.
    fn start(weather: Weather, last: u32) -> Self {
        let mut lab = Lab::loopback();
        let proxy = Proxy::start(lab.agent(0).address(), 11);
        proxy.set_weather(weather);
        let folder = lab.mesh().folder().to_owned();
        let input = noise(4 << 20, 5);
        let file = folder.join("input");
        fs_err::write(&file, &input).unwrap();
        let starts = folder.join("starts");
        let copy = folder.join("copy");

        let note = format!("echo started >>'{}'", starts.display());
        let fast = format!("{note}; seq 1 {last} & seq 1 {FEWER} >&2 & wait; exit 7");
        let slow = format!(
            "{note}; i=0; while [ $i -lt {DRIPS} ]; do i=$((i + 1)); echo $i; echo $i >&2; sleep 0.02; done; exit 8"
        );
        let back = format!("{note}; tee '{}'; echo 1 >&2; exit 9", copy.display());
        let stdin = format!("--stdin={}", file.display());
        let start = |options: &[&str], script: &str| {
            Process::start(run_through(&lab, &proxy, options, &["sh", "-c", script]))
        };
        let runs = vec![
            start(&[], &slow),
            start(&[], &fast),
            start(&[&stdin], &back),
        ];
        let _ = runs[0].wait_for_line("2", PATIENCE);
        Self {
            lab,
            proxy,
            starts,
            copy,
            input,
            last,
            runs,
        }
    }

    /// Waits until much of the long stream is under way.
    fn flow(&self) {
        eventually(PATIENCE, || self.proxy.packets_seen() >= UNDER_WAY);
    }

    /// Cuts the line for this long, in the middle of the output.
    #[track_caller]
    fn cut_in_mid_output(&mut self, span: Duration) {
        self.cut_for(span);
        let [slow, fast, _] = self.runs.as_mut_slice() else {
            panic!("three runs were started")
        };
        assert!(slow.is_running() && fast.is_running(), "the cut came late");
    }

    /// Cuts the line for this long.
    fn cut_for(&self, span: Duration) {
        self.proxy.cut();
        let begun = Instant::now();
        eventually(2 * span + PATIENCE, || begun.elapsed() >= span);
        self.proxy.mend();
    }

    /// Waits for all ends; everything must have come, once.
    #[track_caller]
    fn assert_exact(mut self, within: Duration) {
        let ended: Vec<Finished> = self
            .runs
            .drain(..)
            .map(|run| run.wait_exit(within))
            .collect();

        let drips = numbers(1, DRIPS);
        let long = numbers(1, self.last);
        let expected = [
            ("the slow run", 8, &drips, &drips),
            ("the fast run", 7, &long, &numbers(1, FEWER)),
            ("the run with input", 9, &self.input, &b"1\n".to_vec()),
        ];
        for (finished, (what, code, stdout, stderr)) in ended.iter().zip(expected) {
            assert_same(&finished.stdout, stdout, &format!("stdout of {what}"));
            // A notice begins on a line of its own, so that it may end one of the run's.
            let heard = without_newlines(&without_notices(&finished.stderr));
            assert_same(
                &heard,
                &without_newlines(stderr),
                &format!("stderr of {what}"),
            );
            assert_eq!(finished.code(), Some(code), "{what}");
        }
        let copied = fs_err::read(&self.copy).unwrap();
        assert_same(&copied, &self.input, "the input on the target");
        let starts = fs_err::read_to_string(&self.starts).unwrap();
        assert_eq!(starts.lines().count(), 3);
        drop(self.lab);
    }
}

#[test]
fn cut_of_a_second_costs_no_byte() {
    let mut streams = Streams::start(Weather::default(), MANY);
    streams.flow();

    streams.cut_in_mid_output(Duration::from_secs(1));

    streams.assert_exact(PATIENCE);
}

#[test]
fn cut_of_ten_seconds_costs_no_byte() {
    let mut streams = Streams::start(Weather::default(), MANY);
    streams.flow();

    streams.cut_in_mid_output(Duration::from_secs(10));

    streams.assert_exact(PATIENCE);
}

/// Longer than a link may be silent: both ends have given the old one up.
#[test]
fn cut_of_a_minute_costs_no_byte() {
    let mut streams = Streams::start(Weather::default(), MANY);
    streams.flow();

    streams.cut_in_mid_output(Duration::from_secs(60));

    streams.assert_exact(PATIENCE);
}

#[test]
fn many_short_cuts_cost_no_byte() {
    let streams = Streams::start(Weather::default(), MANY);

    for tenths in 1..12 {
        let seen = streams.proxy.packets_seen();
        streams.cut_for(Duration::from_millis(tenths * 70));
        eventually(PATIENCE, || streams.proxy.packets_seen() >= seen + 300);
    }

    streams.assert_exact(2 * PATIENCE);
}

#[test]
fn loss_disorder_and_doubles_cost_no_byte() {
    let weather = Weather {
        lost_per_mille: 50,
        doubled_per_mille: 30,
        reordered_per_mille: 50,
        detour: Duration::from_millis(3),
        ..Weather::default()
    };
    let streams = Streams::start(weather, MANY / 3);

    streams.assert_exact(2 * PATIENCE);
}

#[test]
fn addresses_that_change_under_a_run_cost_no_byte() {
    let streams = Streams::start(Weather::default(), MANY);

    for _ in 0..5 {
        let seen = streams.proxy.packets_seen();
        streams.proxy.rebind();
        eventually(PATIENCE, || streams.proxy.packets_seen() >= seen + 300);
    }

    streams.assert_exact(PATIENCE);
}

fn without_newlines(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(|byte| *byte != b'\n').collect()
}
