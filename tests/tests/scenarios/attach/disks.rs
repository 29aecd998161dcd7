//! What is kept of output, and what is said of the rest: bounds that are passed, and disks that are full.

use scenarios::{Finished, Lab, PATIENCE, Process, proxy::Proxy};
use serde_json::Value;

use super::stream::{assert_same, numbers, without_notices};
use crate::{
    props::{Counter, Mark, TARGET, on_a_disk_of, run_command},
    started::Started,
};

/// How much of one run's output is kept at most, as README promises.
const KEPT: usize = 64 << 20;

/// How much of its end at least.
const KEPT_AT_LEAST: usize = 8 << 20;

/// Returns how many bytes a controller said that it left out.
#[track_caller]
fn left_out(heard: &Finished) -> usize {
    let said = heard.stderr_text();
    let line = said.lines().find(|line| line.contains("no longer kept"));
    let line = line.unwrap_or_else(|| panic!("no word of a gap: {said}"));
    let mut words = line.split(' ');
    words.find_map(|word| word.parse().ok()).unwrap()
}

#[test]
fn output_beyond_what_is_kept_is_counted_and_the_rest_comes_again() {
    let lab = Lab::loopback();
    let (counter, mark) = (Counter::new(&lab), Mark::new());
    let script = counter.script("seq 1 10000000; echo error >&2; exit 5");
    let id = mark.id();
    let ask = |options: &[&str]| {
        let options = [&["--run-id", &id], options].concat();
        let command = run_command(&lab, options, vec!["sh", "-c", &script]);
        Process::start(command).wait_exit(2 * PATIENCE)
    };
    let whole = numbers(1, 10_000_000);

    let first = ask(&[]);
    let retry = ask(&[]);
    let json = ask(&["--json"]);

    assert_eq!(first.code(), Some(5));
    assert_eq!(first.stdout_len, whole.len() as u64);
    assert_same(&first.stderr, b"error\n", "stderr");
    assert_eq!(retry.code(), Some(5));
    let missing = left_out(&retry);
    let kept = whole.len() - missing;
    assert!(
        (KEPT_AT_LEAST..=KEPT).contains(&kept),
        "{kept} bytes are kept"
    );
    assert_same(&retry.stdout, &whole[missing..], "the end of stdout");
    assert_same(&without_notices(&retry.stderr), b"error\n", "stderr");
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["left_out_bytes"], missing);
    assert_eq!(
        (&json["outcome"], &json["exit_code"]),
        (&"finished".into(), &5.into())
    );
    let text = json["stdout"]["text"].as_str().unwrap();
    assert_same(text.as_bytes(), &whole[missing..], "stdout in JSON");
    assert_eq!(counter.starts(), 1);
}

/// An agent whose home has 1 MiB, and a counter and a mark of one run.
struct Small {
    lab: Lab,
    agent: Started,
    counter: Counter,
    mark: Mark,
}

impl Small {
    fn new() -> Self {
        let mut lab = Lab::loopback();
        let counter = Counter::new(&lab);
        let agent = lab.take_agent(0);
        let command = on_a_disk_of("1m", &agent.command(), agent.home());
        let _ = agent.stop();
        Self {
            lab,
            agent: Started::by(command),
            counter,
            mark: Mark::new(),
        }
    }

    fn start(&self, address: std::net::SocketAddr, script: &str) -> Process {
        let known = [(TARGET, address)];
        let mut command = self.lab.controller_knowing(known, ["run", "-t", TARGET]);
        command.args(["--run-id", &self.mark.id(), "--", "sh", "-c", script]);
        Process::start(command)
    }
}

#[test]
fn full_disk_under_kept_output_costs_the_retry_and_not_the_run() {
    let small = Small::new();
    let script = small.counter.script("seq 1 1000000; exit 5");
    let whole = numbers(1, 1_000_000);

    let first = small.start(small.agent.listen, &script).wait_exit(PATIENCE);
    let retry = small.start(small.agent.listen, &script).wait_exit(PATIENCE);

    assert_same(&first.stdout, &whole, "the first output");
    assert_eq!(first.code(), Some(5), "{}", first.stderr_text());
    assert_eq!(retry.code(), Some(5), "{}", retry.stderr_text());
    let missing = left_out(&retry);
    assert_same(&retry.stdout, &whole[missing..], "what is kept of it");
    assert!(missing > 0);
    let log = small.agent.log();
    assert!(log.contains("output could not be kept for later"), "{log}");
    assert_eq!(small.counter.starts(), 1);
}

#[test]
fn full_disk_under_a_caller_that_is_away_costs_no_byte_on_its_way() {
    let small = Small::new();
    let proxy = Proxy::start(small.agent.listen, 2);
    let script = small
        .counter
        .script("echo ready; sleep 3; seq 1 3000000; exit 5");
    let caller = small.start(proxy.address(), &script);
    let _ = caller.wait_for_line("ready", PATIENCE);
    proxy.cut();
    let _ = caller.wait_for_line("looking for the way back", PATIENCE);
    let _ = small
        .agent
        .process
        .wait_for_line("output could not be kept for later", PATIENCE);

    proxy.mend();

    let heard = caller.wait_exit(PATIENCE);
    let whole = [b"ready\n", numbers(1, 3_000_000).as_slice()].concat();
    assert_same(&heard.stdout, &whole, "the output");
    assert_eq!(heard.code(), Some(5), "{}", heard.stderr_text());
    assert_eq!(small.counter.starts(), 1);
}
