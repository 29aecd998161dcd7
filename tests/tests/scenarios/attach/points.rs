//! Either end is killed at each of its fault points: at most one start, and the truth of it.

use std::{collections::BTreeSet, path::Path};

use proto::{
    frame::{Cancel, Frame},
    run::Refusal,
};
use scenarios::{
    Finished, Lab, PATIENCE, Process, eventually,
    peer::{Peer, fresh_id},
};

use crate::props::{Counter, Gate, request, run_command};

/// What callers hear of a run whose agent died at a point, and every later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Nothing was on record, so the repeated request starts it.
    Runs,
    /// It was on record, and nothing was started.
    LostUnstarted,
    /// It was started, and nobody knows its end.
    Lost,
    /// Its end was on record.
    Recorded,
}

/// The agent's points, which of their passes in one run, and what follows.
const AGENT: [(&str, u32, Verdict); 17] = [
    ("ledger-before-append", 1, Verdict::Runs),
    ("ledger-after-append", 1, Verdict::LostUnstarted),
    ("run-before-settle", 1, Verdict::LostUnstarted),
    ("ledger-before-sync", 1, Verdict::LostUnstarted),
    ("ledger-after-sync", 1, Verdict::LostUnstarted),
    ("run-before-start", 1, Verdict::LostUnstarted),
    ("run-after-start", 1, Verdict::Lost),
    ("run-before-told", 1, Verdict::Lost),
    ("run-before-output-kept", 1, Verdict::Lost),
    ("output-before-write", 1, Verdict::Lost),
    ("output-after-write", 1, Verdict::Lost),
    ("run-before-end-kept", 1, Verdict::Lost),
    ("ledger-before-append", 2, Verdict::Lost),
    ("ledger-after-append", 2, Verdict::Recorded),
    ("run-after-end-kept", 1, Verdict::Recorded),
    ("run-before-end-told", 1, Verdict::Recorded),
    ("run-after-end-told", 1, Verdict::Recorded),
];

/// Its points at a start that finds a half-written record.
const MENDING: [&str; 2] = ["ledger-before-rename", "ledger-after-rename"];

/// The points of a caller in an undisturbed run.
const CALLER: [&str; 5] = [
    "caller-before-request",
    "caller-after-request",
    "caller-heard-start",
    "caller-heard-output",
    "caller-heard-end",
];

/// The points of a caller who comes to a run that another one asked for.
const COMING: [&str; 4] = [
    "caller-heard-earlier",
    "caller-before-resume",
    "caller-after-resume",
    "caller-heard-attached",
];

/// A lab, and one run with a counter of its starts.
struct Stage {
    lab: Lab,
    counter: Counter,
    id: String,
    script: String,
}

impl Stage {
    fn new() -> Self {
        let lab = Lab::loopback();
        let counter = Counter::new(&lab);
        let script = counter.script("echo out; echo err >&2; exit 3");
        Self {
            lab,
            counter,
            id: fresh_id().to_string(),
            script,
        }
    }

    fn command(&self, options: &[&str]) -> std::process::Command {
        let mut all = vec!["--run-id", &self.id];
        all.extend(options);
        run_command(&self.lab, all, vec!["sh", "-c", &self.script])
    }

    #[track_caller]
    fn ask(&self) -> Finished {
        Process::run(self.command(&[]))
    }
}

#[track_caller]
fn assert_whole(finished: &Finished, at: &str) {
    assert_eq!(finished.code(), Some(3), "{at}: {finished:?}");
    assert_eq!(finished.stdout, b"out\n", "{at}");
    assert!(finished.stderr.ends_with(b"err\n"), "{at}: {finished:?}");
}

/// A lost run is said to be lost, and what came of its output is its output.
#[track_caller]
fn assert_lost(finished: &Finished, at: &str) {
    assert_eq!(finished.code(), Some(255), "{at}: {finished:?}");
    let said = finished.stderr_text();
    assert!(said.contains("its agent stopped under it"), "{at}: {said}");
    assert!(b"out\n".starts_with(&finished.stdout), "{at}: {finished:?}");
}

/// Kills the agent at all points with this verdict.
#[track_caller]
fn kill_at_points_of(verdict: Verdict) {
    for (point, pass, _) in AGENT.iter().filter(|(_, _, what)| *what == verdict) {
        let at = format!("{point}:{pass}");
        let mut stage = Stage::new();
        stage.lab.agent(0).restart_with_fault(&at);

        let first = Process::start(stage.command(&[]));
        eventually(PATIENCE, || !stage.lab.agent(0).process().is_running());
        stage.lab.agent(0).restart();
        let first = first.wait_exit(PATIENCE);
        let later = stage.ask();

        let starts = stage.counter.starts();
        for heard in [first, later] {
            match verdict {
                Verdict::Runs | Verdict::Recorded => {
                    assert_whole(&heard, &at);
                    assert_eq!(starts, 1, "{at}");
                }
                Verdict::LostUnstarted => {
                    assert_lost(&heard, &at);
                    assert_eq!(starts, 0, "{at}");
                }
                Verdict::Lost => {
                    assert_lost(&heard, &at);
                    assert!(starts <= 1, "{at}: {starts} starts");
                }
            }
        }
    }
}

#[test]
fn agent_killed_before_its_record_runs_the_repeated_request_once() {
    kill_at_points_of(Verdict::Runs);
}

#[test]
fn agent_killed_between_record_and_start_never_starts_that_run() {
    kill_at_points_of(Verdict::LostUnstarted);
}

#[test]
fn agent_killed_before_the_end_is_recorded_tells_that_the_run_is_lost() {
    kill_at_points_of(Verdict::Lost);
}

#[test]
fn agent_killed_after_the_end_is_recorded_tells_the_end_and_all_output() {
    kill_at_points_of(Verdict::Recorded);
}

#[test]
fn agent_killed_while_it_mends_its_record_forgets_no_run() {
    for point in MENDING {
        let mut stage = Stage::new();
        assert_whole(&stage.ask(), point);
        stage.lab.agent(0).kill();
        tear(&stage.lab.agent(0).home().join("ledger"));
        let mut dying = stage.lab.agent(0).command();
        dying.env("MESOSYNC_FAULT", format!("{point}:1"));

        let died = Process::run(dying);
        assert_eq!(died.code(), None, "{point}: {died:?}");
        stage.lab.agent(0).restart();
        let later = stage.ask();

        // A torn record closes the past, so that it is either known or refused, but not repeated.
        if later.code() == Some(3) {
            assert_whole(&later, point);
        } else {
            assert_eq!(later.code(), Some(255), "{point}: {later:?}");
        }
        assert_eq!(stage.counter.starts(), 1, "{point}");
    }
}

/// Adds half a record to a ledger.
fn tear(ledger: &Path) {
    use std::os::unix::fs::FileExt as _;
    const RECORD: usize = 192;
    let bytes = fs_err::read(ledger).unwrap();
    let used = bytes
        .chunks(RECORD)
        .position(|one| one.iter().all(|b| *b == 0));
    let at = used.unwrap() * RECORD;
    let mut options = fs_err::OpenOptions::new();
    let file = options.write(true).open(ledger).unwrap();
    file.file()
        .write_all_at(&bytes[..RECORD / 2], at as u64)
        .unwrap();
}

#[test]
fn agent_killed_while_it_gives_an_id_up_either_promised_nothing_or_keeps_its_promise() {
    for (point, kept) in [
        ("ledger-before-append", false),
        ("ledger-after-append", true),
        ("ledger-before-sync", true),
        ("ledger-after-sync", true),
    ] {
        let mut lab = Lab::loopback();
        let alice = lab.mesh().issue_controller("alice");
        let counter = Counter::new(&lab);
        lab.agent(0).restart_with_fault(&format!("{point}:1"));
        let late = request(&lab, &["sh", "-c", &counter.script("exit 3")]);
        let peer = Peer::honest(lab.agent(0).address(), &alice);
        let cancel = Frame::Cancel(Cancel {
            run: late.id,
            grace_ms: 0,
        });

        let unanswered = peer.ask(&cancel);
        eventually(PATIENCE, || !lab.agent(0).process().is_running());
        drop(unanswered);
        peer.vanish();
        lab.agent(0).restart();
        let answer = Peer::honest(lab.agent(0).address(), &alice).run(&late);

        let is_given_up = answer == [Frame::Refused(Refusal::GivenUp)];
        assert_eq!(is_given_up, kept, "{point}: {answer:?}");
        assert_eq!(counter.starts(), usize::from(!kept), "{point}");
    }
}

#[test]
fn caller_killed_at_any_point_has_its_run_once_and_whole_when_it_asks_again() {
    for point in CALLER {
        let stage = Stage::new();
        let mut dying = stage.command(&[]);
        dying.env("MESOSYNC_FAULT", format!("{point}:1"));

        let died = Process::run(dying);
        assert_eq!(died.code(), None, "{point}: {died:?}");
        let later = stage.ask();

        assert_whole(&later, point);
        assert_eq!(stage.counter.starts(), 1, "{point}");
    }
}

#[test]
fn caller_killed_while_it_comes_to_a_run_leaves_it_whole_to_the_first() {
    for point in COMING {
        let mut stage = Stage::new();
        let gate = Gate::new(stage.lab.mesh().folder());
        stage.script = stage.counter.script(&format!(
            "echo ready; {}; echo out; echo err >&2; exit 3",
            gate.wait()
        ));
        let first = Process::start(stage.command(&[]));
        let _ = first.wait_for_line("ready", PATIENCE);
        let mut dying = stage.command(&[]);
        dying.env("MESOSYNC_FAULT", format!("{point}:1"));

        let died = Process::run(dying);
        assert_eq!(died.code(), None, "{point}: {died:?}");
        let _open = gate.open();

        for heard in [first.wait_exit(PATIENCE), stage.ask()] {
            assert_eq!(heard.code(), Some(3), "{point}: {heard:?}");
            assert_eq!(heard.stdout, b"ready\nout\n", "{point}");
            assert!(heard.stderr.ends_with(b"err\n"), "{point}: {heard:?}");
        }
        assert_eq!(stage.counter.starts(), 1, "{point}");
    }
}

/// A point that no test of this module kills at guards nothing.
#[test]
fn every_fault_point_of_the_source_is_one_of_these() {
    let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../node/src"));
    let mut found = BTreeSet::new();
    collect(source, &mut found);

    let agent = AGENT.iter().map(|(point, _, _)| *point);
    let all = agent.chain(MENDING).chain(CALLER).chain(COMING);
    let all = all.chain(crate::files::points::all());
    let known: BTreeSet<String> = all.map(ToOwned::to_owned).collect();

    assert_eq!(found, known);
}

/// Collects the names of the points: quoted, and of these families.
fn collect(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
            continue;
        }
        let text = fs_err::read_to_string(&path).unwrap();
        for line in text.lines().filter(|line| !line.trim().starts_with("//")) {
            let names = line.split('"').skip(1).step_by(2);
            let is_point =
                |name: &&str| line.contains("fault::point(\"") || name.starts_with("caller-");
            found.extend(names.filter(is_point).map(ToOwned::to_owned));
        }
    }
}
