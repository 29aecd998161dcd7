//! The JSON of every verb: a contract, whose keys are added to and never changed.

use std::process::Command;

use rustix::process::Signal;
use scenarios::{Finished, Lab, PATIENCE, Process, eventually};
use serde_json::{Value, json};

const TARGET: &str = "srv-linux-01";

/// The keys of every report of a run.
const REPORT: [&str; 10] = [
    "run",
    "target",
    "outcome",
    "origin",
    "exit_code",
    "signal",
    "why",
    "left",
    "unconfirmed",
    "duration_ms",
];

/// How a run ends, as every door says it.
#[derive(Debug, PartialEq, Eq)]
struct End {
    outcome: String,
    origin: String,
    exit_code: u64,
    signal: Option<i64>,
    /// The exit code of `controller` itself.
    code: Option<i32>,
}

fn end(outcome: &str, origin: &str, code: i32, signal: Option<i64>) -> End {
    End {
        outcome: outcome.to_owned(),
        origin: origin.to_owned(),
        exit_code: code.try_into().unwrap(),
        signal,
        code: Some(code),
    }
}

fn run(lab: &Lab, form: &str, words: &[&str]) -> Command {
    let mut command = lab.controller(["run", form, "-t", TARGET]);
    command.args(words);
    command
}

/// Reads the one object of `--json`, and asserts that every key is there.
#[track_caller]
fn report(finished: &Finished) -> (End, Value) {
    let text = finished.stdout_text();
    let report: Value = match serde_json::from_str(&text) {
        Ok(report) => report,
        Err(error) => panic!("{error}: {text:?}, {}", finished.stderr_text()),
    };
    assert_keys(&report, &[&REPORT[..], &["stdout", "stderr"]].concat());
    (read(finished, &report), report)
}

/// Reads the events of `--ndjson`; the last one is the report.
#[track_caller]
fn events(finished: &Finished) -> (End, Vec<Value>) {
    let text = finished.stdout_text();
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let last = events
        .last()
        .unwrap_or_else(|| panic!("nothing; {}", finished.stderr_text()));
    assert_keys(last, &[&["event"][..], &REPORT].concat());
    assert_eq!(last["event"], "ended");
    (read(finished, last), events)
}

#[track_caller]
fn read(finished: &Finished, report: &Value) -> End {
    assert_eq!(report["target"], TARGET);
    let run = report["run"].as_str().unwrap();
    assert!(
        run.len() == 32 && run.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{run}"
    );
    End {
        outcome: report["outcome"].as_str().unwrap().to_owned(),
        origin: report["origin"].as_str().unwrap().to_owned(),
        exit_code: report["exit_code"].as_u64().unwrap(),
        signal: report["signal"].as_i64(),
        code: finished.code(),
    }
}

#[track_caller]
fn assert_keys(object: &Value, expected: &[&str]) {
    let mut keys: Vec<&str> = object
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut expected = expected.to_vec();
    keys.sort_unstable();
    expected.sort_unstable();
    assert_eq!(keys, expected);
}

/// Runs `words` in both forms and asserts that they tell the same end, and why.
#[track_caller]
fn assert_ends(lab: &Lab, words: &[&str], expected: &End, why: &str) {
    let (json, report) = report(&Process::run(run(lab, "--json", words)));
    let (ndjson, events) = events(&Process::run(run(lab, "--ndjson", words)));

    assert_eq!(json, *expected);
    assert_eq!(ndjson, *expected);
    for report in [&report, events.last().unwrap()] {
        match report["why"].as_str() {
            None => assert_eq!(why, "", "{report}"),
            Some(said) => assert!(!why.is_empty() && said.contains(why), "{said}"),
        }
    }
}

#[test]
fn finished_run_carries_both_streams_and_the_code() {
    let lab = Lab::loopback();
    let words = ["--", "sh", "-c", r"echo out; printf '\377' >&2; exit 3"];

    let (_, json) = report(&Process::run(run(&lab, "--json", &words)));
    let (_, events) = events(&Process::run(run(&lab, "--ndjson", &words)));

    assert_eq!(json["stdout"], json!({ "text": "out\n" }));
    assert_eq!(json["stderr"], json!({ "base64": "/w==" }));
    assert!(json["duration_ms"].is_u64());
    assert_ends(&lab, &words, &end("finished", "process", 3, None), "");
    let started = &events[0];
    assert_keys(started, &["event", "run", "target", "pid", "at_ms"]);
    assert_eq!(started["event"], "started");
    assert!(events.contains(&json!({ "event": "stdout", "text": "out\n" })));
    assert!(events.contains(&json!({ "event": "stderr", "base64": "/w==" })));
}

#[test]
fn process_that_a_signal_ended_carries_the_signal() {
    let lab = Lab::loopback();
    let words = ["--", "sh", "-c", "kill -9 $$"];

    assert_ends(&lab, &words, &end("finished", "process", 137, Some(9)), "");
}

#[test]
fn refused_run_says_which_part_was_not_possible() {
    let lab = Lab::loopback();

    let ended = end("refused", "agent", 127, None);
    assert_ends(
        &lab,
        &["--", "no-such-program"],
        &ended,
        "command not found",
    );
    let ended = end("refused", "agent", 126, None);
    assert_ends(&lab, &["--", "/etc/passwd"], &ended, "not executable");
    let ended = end("refused", "agent", 125, None);
    assert_ends(
        &lab,
        &["--cwd", "/no/where", "--", "true"],
        &ended,
        "working directory",
    );
}

#[test]
fn timed_out_run_says_which_limit_it_was() {
    let lab = Lab::loopback();
    let ended = end("timed_out", "agent", 124, None);

    assert_ends(
        &lab,
        &["--timeout", "50ms", "--", "sleep", "1000"],
        &ended,
        "time limit",
    );
    assert_ends(
        &lab,
        &["--idle-timeout", "50ms", "--", "sleep", "1000"],
        &ended,
        "idle limit",
    );
    assert_ends(
        &lab,
        &["--max-output", "10", "--", "yes"],
        &ended,
        "output limit",
    );
}

#[test]
fn cancelled_run_is_reported_once_the_agent_has_ended_it() {
    let lab = Lab::loopback();
    for form in ["--json", "--ndjson"] {
        let mut process = started(&lab, form, "exec sleep 1000");

        process.signal(Signal::INT);
        let finished = process.wait_exit(PATIENCE);

        let ended = if form == "--json" {
            report(&finished).0
        } else {
            events(&finished).0
        };
        assert_eq!(ended, end("cancelled", "agent", 130, None));
    }
}

#[test]
fn run_whose_agent_stops_is_lost_with_what_is_known() {
    for form in ["--json", "--ndjson"] {
        let mut lab = Lab::loopback();
        let process = started(&lab, form, "exec sleep 1000");

        let _ = lab.take_agent(0).stop();
        let finished = process.wait_exit(PATIENCE);

        let (ended, why) = if form == "--json" {
            let (ended, report) = report(&finished);
            (ended, report["why"].clone())
        } else {
            let (ended, events) = events(&finished);
            (ended, events.last().unwrap()["why"].clone())
        };
        assert_eq!(ended, end("lost", "controller", 255, None));
        assert!(
            why.as_str().unwrap().contains("its agent stopped under it"),
            "{why}"
        );
    }
}

#[test]
fn run_that_was_left_by_a_second_interruption_says_so() {
    let mut lab = Lab::loopback();
    let mut process = started(&lab, "--json", "exec sleep 1000");
    lab.agent(0).process().signal(Signal::STOP);

    process.signal(Signal::INT);
    let _ = process.wait_for_line("Ctrl-C again leaves at once", PATIENCE);
    process.signal(Signal::INT);
    let finished = process.wait_exit(PATIENCE);

    let (ended, report) = report(&finished);
    assert_eq!(ended, end("lost", "controller", 130, None));
    assert!(
        report["why"]
            .as_str()
            .unwrap()
            .contains("without confirmation"),
        "{report}"
    );
}

#[test]
fn unreachable_target_is_an_object_too() {
    let lab = Lab::new();
    let ended = end("unreachable", "controller", 255, None);

    assert_ends(
        &lab,
        &["--", "true"],
        &ended,
        "srv-linux-01 is not reachable",
    );
}

#[test]
fn request_that_was_not_sent_is_an_object_too() {
    let lab = Lab::loopback();
    let long = "x".repeat(100_000);
    let words: Vec<&str> = ["--", "echo"]
        .into_iter()
        .chain([long.as_str(); 11])
        .collect();
    let ended = end("not_started", "controller", 255, None);

    assert_ends(&lab, &words, &ended, "too long to be sent");
}

#[test]
fn controller_without_an_identity_reports_that_nothing_was_started() {
    let lab = Lab::new();
    let ended = end("not_started", "controller", 255, None);

    assert_ends(
        &lab,
        &["--identity", "/no/where", "--", "true"],
        &ended,
        "does not exist",
    );
}

#[test]
fn wrong_usage_stays_plain_text() {
    let lab = Lab::new();

    for words in [
        &["--"][..],
        &["--timeout", "soon", "--", "true"],
        &["-e", "X", "--", "true"],
    ] {
        let finished = Process::run(run(&lab, "--json", words)).expect_code(64);

        assert_eq!(finished.stdout_text(), "");
        assert_ne!(finished.stderr_text(), "");
    }
}

#[test]
fn repeated_run_id_is_an_event_of_its_own() {
    let lab = Lab::loopback();
    let id = "00112233445566778899aabbccddeeff";
    let words = ["--run-id", id, "--", "sh", "-c", "exit 5"];
    let _ = Process::run(run(&lab, "--json", &words)).expect_code(5);

    let (ended, events) = events(&Process::run(run(&lab, "--ndjson", &words)));

    assert_eq!(ended, end("finished", "process", 5, None));
    assert_keys(&events[0], &["event", "run", "target", "accepted_at_ms"]);
    assert_eq!(
        (&events[0]["event"], &events[0]["run"]),
        (&json!("earlier"), &json!(id))
    );
}

#[test]
fn agents_are_listed_as_json() {
    let lab = Lab::loopback();

    let listed = lab.run(["agents", "--json"]).expect_success();
    let nobody = Lab::new().run(["agents", "--json"]);

    let listed: Value = serde_json::from_str(&listed.stdout_text()).unwrap();
    assert_keys(&listed, &["agents"]);
    let agent = &listed["agents"][0];
    assert_keys(
        agent,
        &["name", "os", "version", "path", "address", "rtt_us"],
    );
    assert_eq!(
        (&agent["name"], &agent["path"]),
        (&json!(TARGET), &json!("local"))
    );
    assert!(agent["rtt_us"].is_u64());
    let nobody: Value = serde_json::from_str(&nobody.stdout_text()).unwrap();
    assert_eq!(nobody, json!({ "agents": [] }));
}

#[test]
fn capabilities_are_described_as_json() {
    let lab = Lab::loopback();

    let described = lab
        .run(["capabilities", "-t", TARGET, "--json"])
        .expect_success();

    let document: Value = serde_json::from_str(&described.stdout_text()).unwrap();
    for key in [
        "hostname",
        "os",
        "architecture",
        "shells",
        "package_managers",
        "init",
        "privilege",
        "enclosure",
        "tools",
        "domain",
        "mounts",
        "workspaces",
        "agent_version",
        "failures",
    ] {
        assert!(document.get(key).is_some(), "no {key} in {document}");
    }
    assert_eq!(document["agent_version"], env!("CARGO_PKG_VERSION"));
    assert!(
        document["shells"]
            .as_array()
            .unwrap()
            .iter()
            .any(|shell| shell["name"] == "sh")
    );
}

#[test]
fn issued_identities_are_listed_and_inspected_as_json() {
    let lab = Lab::new();
    let file = lab.mesh().issue_agent(TARGET);

    let listed = lab.run(["pki", "list", "--json"]).expect_success();
    let mut inspect = lab.controller(["pki", "inspect", "--json"]);
    inspect.arg(&file);
    let inspected = Process::run(inspect).expect_success();

    let listed: Value = serde_json::from_str(&listed.stdout_text()).unwrap();
    assert_keys(&listed, &["issued"]);
    let rows = listed["issued"].as_array().unwrap();
    let row = rows
        .iter()
        .find(|row| row["node"] == "agent/srv-linux-01")
        .unwrap();
    assert_keys(row, &["node", "state", "serial", "not_before", "not_after"]);
    let sheet: Value = serde_json::from_str(&inspected.stdout_text()).unwrap();
    assert_keys(
        &sheet,
        &[
            "node",
            "mesh",
            "fingerprint",
            "serial",
            "state",
            "not_before",
            "not_after",
            "addresses",
        ],
    );
    for key in ["node", "state", "serial", "not_before", "not_after"] {
        assert_eq!(sheet[key], row[key], "{key}");
    }
    assert_eq!(
        (&sheet["mesh"], &sheet["state"]),
        (&json!("lab"), &json!("valid"))
    );
}

/// Starts `script`, and waits until its agent says that it runs.
#[track_caller]
fn started(lab: &Lab, form: &str, script: &str) -> Process {
    let id = format!("{:032x}", scenarios_id());
    let process = Process::start(run(lab, form, &["--run-id", &id, "--", "sh", "-c", script]));
    #[cfg(target_os = "linux")]
    eventually(PATIENCE, || {
        !scenarios::procfs::processes_of_run(&id).is_empty()
    });
    process
}

/// A number that no other run of any test has.
fn scenarios_id() -> u128 {
    use std::hash::{BuildHasher as _, RandomState};
    let halves = [0, 1].map(|half| u128::from(RandomState::new().hash_one(half)));
    halves[0] << 64 | halves[1]
}
