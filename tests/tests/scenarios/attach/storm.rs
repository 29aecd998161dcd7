//! A thousand faults at random moments, on both ends and between them, under many short runs.
//!
//! What must hold of each run id, whatever happened: it was started at most once; whoever heard of a
//! success heard exactly its bytes; what was said not to be started was not; and nobody is ever told
//! another end than the one before.

mod caller;
mod faults;

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use pki::Identity;
use proto::{
    id::{Fingerprint, NodeName, RunId},
    run::{OnLinkLoss, RunRequest},
};
use scenarios::{
    Agent, Finished, Lab, PATIENCE, Process,
    peer::{Peer, fresh_id},
    proxy::Proxy,
};

use self::{
    caller::{Heard, Operator, Plan, Verdict},
    faults::torment,
};
use super::stream::{Dice, assert_same, numbers, without_notices};

/// Faults in all.
const FAULTS: usize = 1_000;

/// Agents, each with a proxy and somebody who torments both.
const AGENTS: usize = 4;

/// Those who run things.
const WORKERS: usize = 8;

/// An agent of the storm, as those see it who run things on it.
struct Target {
    name: NodeName,
    proxy: Proxy,
    starts: PathBuf,
}

/// What all threads share.
struct Storm {
    lab: Lab,
    mesh: Fingerprint,
    alice: PathBuf,
    identity: Identity,
    targets: Vec<Target>,
    faults: AtomicUsize,
    book: Mutex<HashMap<RunId, Entry>>,
    seed: u64,
}

/// A run, and what was heard of it.
struct Entry {
    target: usize,
    request: RunRequest,
    wanted: Wanted,
    heard: Vec<Verdict>,
}

/// What a run prints, and its code.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    first: u32,
    second: u32,
    pause_ms: u64,
    code: i32,
}

impl Wanted {
    fn draw(dice: &mut Dice) -> Self {
        Self {
            first: dice.below(20_000) as u32,
            second: dice.below(5_000) as u32,
            pause_ms: dice.below(200),
            code: 3 + dice.below(100) as i32,
        }
    }

    fn script(self, id: RunId, starts: &Path) -> String {
        let Self {
            first,
            second,
            pause_ms,
            code,
        } = self;
        format!(
            "echo {id} >>'{}'; seq 1 {first}; sleep 0.{pause_ms:03}; seq 1 {second}; echo err >&2; exit {code}",
            starts.display()
        )
    }

    fn stdout(self) -> Vec<u8> {
        [numbers(1, self.first), numbers(1, self.second)].concat()
    }

    /// Checks what came against what there was to print.
    #[track_caller]
    fn check(self, id: RunId, heard: &Heard) {
        let stdout = self.stdout();
        if let Verdict::Finished(code) = heard.verdict {
            assert_eq!((code, heard.left_out), (self.code, 0), "run {id}");
            assert_same(&heard.stdout, &stdout, &format!("stdout of run {id}"));
            assert_same(&heard.stderr, b"err\n", &format!("stderr of run {id}"));
        } else {
            assert!(
                stdout.starts_with(&heard.stdout),
                "run {id}: {:?}",
                heard.verdict
            );
        }
    }
}

impl Storm {
    fn new(seed: u64) -> (Self, Vec<Agent>) {
        let mut lab = Lab::new();
        let alice = lab.mesh().issue_controller("alice");
        let names = (0..AGENTS).map(|number| format!("srv-{number}"));
        let names: Vec<String> = names.collect();
        for name in &names {
            lab.start_agent(name);
        }
        let targets = names.iter().enumerate().map(|(number, name)| Target {
            name: name.parse().unwrap(),
            proxy: Proxy::start(lab.address_of(number), seed ^ number as u64),
            starts: lab.mesh().folder().join(format!("starts-{name}")),
        });
        let targets = targets.collect();
        let agents = names.iter().map(|_| lab.take_agent(0)).collect();
        let storm = Self {
            mesh: lab.mesh().fingerprint(),
            identity: Identity::load(&alice, time::OffsetDateTime::now_utc()).unwrap(),
            alice,
            lab,
            targets,
            faults: AtomicUsize::new(0),
            book: Mutex::default(),
            seed,
        };
        (storm, agents)
    }

    fn rages(&self) -> bool {
        self.faults.load(Ordering::Relaxed) < FAULTS
    }

    fn fault(&self) {
        self.faults.fetch_add(1, Ordering::Relaxed);
    }

    fn operator(&self, target: usize) -> Operator {
        let Target { name, proxy, .. } = &self.targets[target];
        Operator::new(&self.identity, name.clone(), proxy.address())
    }

    fn request(&self, target: usize, wanted: Wanted) -> RunRequest {
        let id = fresh_id();
        let Target { name, starts, .. } = &self.targets[target];
        let script = wanted.script(id, starts);
        RunRequest {
            id,
            on_link_loss: OnLinkLoss::Keep { orphan_ms: 600_000 },
            ..Peer::request(self.mesh, name.as_str(), &["sh", "-c", &script])
        }
    }

    fn note(&self, request: &RunRequest, heard: &Heard) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = book.get_mut(&request.id) {
            entry.wanted.check(request.id, heard);
            entry.heard.push(heard.verdict);
        }
    }

    /// Runs things until there were faults enough.
    fn work(&self, worker: usize) {
        let mut dice = Dice::new(self.seed ^ (0x77 << 32) ^ worker as u64);
        let target = worker % AGENTS;
        let mut operator = self.operator(target);
        while self.rages() {
            let wanted = Wanted::draw(&mut dice);
            if dice.below(12) == 0 {
                self.run_by_controllers(target, wanted, &mut dice);
                continue;
            }
            let request = self.request(target, wanted);
            let entry = Entry {
                target,
                request: request.clone(),
                wanted,
                heard: Vec::new(),
            };
            self.book
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(request.id, entry);
            self.run_once(&mut operator, target, &request, &mut dice);
        }
    }

    /// Runs one thing: by one caller, by two at once, or by some that vanish in the middle.
    fn run_once(
        &self,
        operator: &mut Operator,
        target: usize,
        request: &RunRequest,
        dice: &mut Dice,
    ) {
        let cancel_after = (dice.below(8) == 0).then(|| Duration::from_millis(dice.below(300)));
        let plan = Plan {
            vanish_after: None,
            cancel_after,
        };
        match dice.below(6) {
            0 => {
                self.fault();
                let second = self.operator(target);
                let plan = Plan::default();
                thread::scope(|both| {
                    both.spawn(|| self.hear(&second, request, plan));
                    self.hear(operator, request, plan);
                });
            }
            1 | 2 => {
                for _ in 0..=dice.below(2) {
                    self.fault();
                    let vanish_after = Some(Duration::from_millis(dice.below(300)));
                    let vanishing = Plan {
                        vanish_after,
                        ..plan
                    };
                    if self.hear(operator, request, vanishing) {
                        return;
                    }
                    *operator = self.operator(target);
                }
                self.hear(operator, request, plan);
            }
            _ => {
                self.hear(operator, request, plan);
            }
        }
    }

    /// Hears a run to its end; false if the caller vanished before.
    fn hear(&self, operator: &Operator, request: &RunRequest, plan: Plan) -> bool {
        match operator.hear(request, plan) {
            Some(heard) => {
                self.note(request, &heard);
                true
            }
            None => false,
        }
    }

    /// Runs one thing by real controllers, of which the first is killed.
    fn run_by_controllers(&self, target: usize, wanted: Wanted, dice: &mut Dice) {
        let id = fresh_id();
        let Target {
            name,
            proxy,
            starts,
        } = &self.targets[target];
        let script = wanted.script(id, starts);
        let start = || {
            let known = [(name.as_str(), proxy.address())];
            let mut command = self.lab.controller_knowing(known, ["--identity"]);
            command.arg(&self.alice).args(["run", "-t", name.as_str()]);
            command.args(["--connect-timeout", "30s", "--run-id", &id.to_string()]);
            command.args(["--", "sh", "-c", &script]);
            Process::start(command)
        };

        self.fault();
        let mut killed = start();
        thread::sleep(Duration::from_millis(dice.below(300)));
        killed.kill();
        let finished = start().wait_exit(2 * PATIENCE);

        let heard = heard_by_controller(&finished);
        wanted.check(id, &heard);
        let lines = count(starts, id);
        match heard.verdict {
            Verdict::Finished(_) => assert_eq!(lines, 1, "run {id}"),
            Verdict::LostWithAgent => assert!(lines <= 1, "run {id}"),
            Verdict::Lost | Verdict::Cancelled | Verdict::NeverStarted => {
                panic!("run {id}: {finished:?}")
            }
        }
    }

    /// Asks for everything once more, in calm weather, and compares it with what was heard before.
    fn settle(&self) -> HashMap<&'static str, usize> {
        let operators: Vec<Operator> = (0..AGENTS).map(|one| self.operator(one)).collect();
        let lines: Vec<HashMap<String, usize>> =
            self.targets.iter().map(|one| starts(&one.starts)).collect();
        let mut tally = HashMap::new();
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, entry) in &*book {
            let starts = lines[entry.target].get(&id.to_string());
            let before = starts.copied().unwrap_or_default();
            let told = operators[entry.target].hear(&entry.request, Plan::default());
            let last = told.unwrap_or_else(|| panic!("run {id} has no end"));

            entry.wanted.check(*id, &last);
            let after = count(&self.targets[entry.target].starts, *id);
            assert!(after <= 1, "run {id} was started {after} times");
            match last.verdict {
                Verdict::Finished(_) => assert_eq!(after, 1, "run {id}"),
                Verdict::NeverStarted => assert_eq!(after, 0, "run {id}"),
                Verdict::Cancelled | Verdict::Lost | Verdict::LostWithAgent => {
                    assert_eq!(after, before, "run {id}");
                }
            }
            for heard in &entry.heard {
                let agrees = *heard == Verdict::Lost || *heard == last.verdict;
                assert!(
                    agrees,
                    "run {id}: {:?}, then {:?}",
                    entry.heard, last.verdict
                );
            }
            *tally.entry(last.verdict.word()).or_default() += 1;
        }
        tally
    }
}

#[track_caller]
fn heard_by_controller(finished: &Finished) -> Heard {
    let said = finished.stderr_text();
    let verdict = match finished.code() {
        Some(255) if said.contains("its agent stopped under it") => Verdict::LostWithAgent,
        Some(code @ 3..=102) => Verdict::Finished(code),
        _ => panic!("{finished:?}"),
    };
    Heard {
        verdict,
        stdout: finished.stdout.clone(),
        stderr: without_notices(&finished.stderr),
        left_out: 0,
    }
}

fn count(starts: &Path, id: RunId) -> usize {
    let lines = fs_err::read_to_string(starts).unwrap_or_default();
    let id = id.to_string();
    lines.lines().filter(|line| **line == *id).count()
}

fn starts(file: &Path) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for line in fs_err::read_to_string(file).unwrap_or_default().lines() {
        *counts.entry(line.to_owned()).or_default() += 1;
    }
    counts
}

#[test]
fn thousand_random_faults_start_nothing_twice_and_falsify_nothing() {
    let seed = std::env::var("MESOSYNC_STORM_SEED").map_or_else(
        |_| RandomState::new().hash_one(0),
        |seed| seed.parse().unwrap(),
    );
    println!("MESOSYNC_STORM_SEED={seed}");
    let (storm, agents) = Storm::new(seed);

    let tally = thread::scope(|scope| {
        let mut held = Vec::new();
        for (number, agent) in agents.into_iter().enumerate() {
            let (hold, released) = mpsc::sync_channel::<()>(0);
            let (calm, is_calm) = mpsc::sync_channel::<()>(1);
            held.push((hold, is_calm));
            let storm = &storm;
            scope.spawn(move || torment(storm, number, agent, &calm, &released));
        }
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let storm = &storm;
                scope.spawn(move || storm.work(worker))
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        for (_, is_calm) in &held {
            is_calm.recv_timeout(2 * PATIENCE).unwrap();
        }
        storm.settle()
    });

    let faults = storm.faults.load(Ordering::Relaxed);
    let finished = tally.get("finished").copied().unwrap_or_default();
    println!("{faults} faults, {tally:?}");
    assert!(faults >= FAULTS, "{faults} faults");
    assert!(
        finished >= FAULTS / 10,
        "too few runs to judge by: {tally:?}"
    );
}
