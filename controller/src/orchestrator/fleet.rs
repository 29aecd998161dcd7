//! One command on many targets: who is next, when to stop, and everything that happens in one
//! stream of events.
//!
//! Owns the order and the thresholds. How one run goes is [`crate::runner`]'s; how it is shown is
//! the door's. There is one run id for all targets: it names the command, and each agent keeps its
//! own account of it.
//!
//! **Invariant:** each target of a plan has exactly one [`End`], whatever happens; and a target that
//! ended as [`End::Skipped`] has started nothing. Guarded by `schedule`'s tests and the
//! scenarios of `fleet`.

mod input;
mod pacing;
mod schedule;
mod target;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use proto::{
    id::NodeName,
    run::{Earlier, Ended, Exit, Outcome, Started},
};
use tokio::{
    sync::{mpsc, watch},
    task::{self, JoinSet},
};

use self::{schedule::Schedule, target::Job};
use super::StartRun;
use crate::{output::Stream, runner::Runner};

pub use self::{
    input::{Input, InputError, Source},
    pacing::{Pacing, ParseShareError, Share},
};

/// Events between the runs and whoever shows them. Output is gathered at the runs, so that a few
/// are enough to never wait for each other.
const EVENTS: usize = 64;

/// What is to happen, decided before anything does.
#[derive(Debug)]
pub struct Plan {
    /// On whom, sorted, each once.
    pub targets: BTreeSet<NodeName>,
    /// Those of them who are known not to answer, and why.
    pub unreachable: BTreeMap<NodeName, String>,
    /// What, with the targets' common run id. Its target is each of them in turn.
    pub wish: StartRun,
    /// In which order, and when to stop.
    pub pacing: Pacing,
    /// Standard input for every target.
    pub input: Option<Input>,
    /// Time between asking processes to end and killing them.
    pub grace: Duration,
}

/// Something that happened to one target.
#[derive(Debug)]
pub struct Event {
    /// To whom.
    pub target: NodeName,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug)]
pub enum What {
    /// It is its turn.
    Begun,
    /// A process was started.
    Started(Started),
    /// The id was accepted before; its first result follows.
    Earlier(Earlier),
    /// Bytes of output.
    Output(Stream, Bytes),
    /// Something that a person should know.
    Note(String),
    /// It is over, and nothing more happens to this target.
    Ended(End),
}

/// How it ended for one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The run is over.
    Over {
        /// How.
        outcome: Outcome,
        /// The agent's account, if it gave one.
        ended: Option<Ended>,
        /// What broke the run, if something did.
        broken: Option<String>,
        /// Bytes of output that were no longer kept when they were asked for.
        left_out: u64,
    },
    /// Nothing was started, for a reason on this side or on the way.
    NotStarted {
        /// Whether the target was not to be reached.
        unreachable: bool,
        /// Why.
        why: String,
    },
    /// Its turn did not come.
    Skipped(Skip),
    /// Its end was not waited for. Said by whoever does not wait.
    Left,
}

/// Why a target's turn did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// Too many others failed.
    Threshold,
    /// The command was interrupted.
    Interrupted,
    /// Its output could not have been kept.
    Output,
}

impl End {
    /// Tells whether all is well.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        matches!(
            self,
            Self::Over {
                outcome: Outcome::Finished(Exit::Code(0)),
                ..
            }
        )
    }
}

/// One command on its way to many targets.
#[derive(Debug)]
pub struct Fleet {
    shared: Arc<Shared>,
    targets: Vec<NodeName>,
    schedule: Schedule,
    input: Option<Input>,
    tasks: JoinSet<()>,
    /// Whose each task is.
    whose: HashMap<task::Id, usize>,
    events: mpsc::Receiver<Event>,
    /// What happened here and not at a target.
    own: VecDeque<Event>,
    cancel: watch::Sender<bool>,
}

/// What every target's task needs.
#[derive(Debug)]
struct Shared {
    runner: Arc<Runner>,
    wish: StartRun,
    grace: Duration,
    events: mpsc::Sender<Event>,
    /// The targets that were asked and have not ended. Never locked across an await.
    afoot: Mutex<BTreeSet<NodeName>>,
}

impl Fleet {
    /// Makes everything ready; [`Self::next`] drives it.
    #[must_use]
    pub fn new(runner: Arc<Runner>, plan: Plan) -> Self {
        let Plan {
            targets,
            unreachable,
            wish,
            pacing,
            mut input,
            grace,
        } = plan;
        let targets: Vec<NodeName> = targets.into_iter().collect();
        let is_waiting = |at: &usize| !unreachable.contains_key(&targets[*at]);
        let (waiting, absent): (Vec<usize>, Vec<usize>) = (0..targets.len()).partition(is_waiting);
        if let Some(input) = &mut input {
            // They read nothing, and must not hold back who does.
            absent.into_iter().for_each(|at| drop(input.feed(at)));
        }
        let mut schedule = Schedule::new(waiting.into(), pacing.limits(targets.len()));
        let mut own = VecDeque::new();
        for (target, why) in unreachable {
            schedule.failed();
            let unreachable = true;
            let what = What::Ended(End::NotStarted { unreachable, why });
            own.push_back(Event { target, what });
        }
        let (to, events) = mpsc::channel(EVENTS);
        let shared = Arc::new(Shared {
            runner,
            wish,
            grace,
            events: to,
            afoot: Mutex::default(),
        });
        Self {
            shared,
            targets,
            schedule,
            input,
            tasks: JoinSet::new(),
            whose: HashMap::new(),
            events,
            own,
            cancel: watch::Sender::new(false),
        }
    }

    /// Returns what happens next, and `None` after the end of every target.
    ///
    /// While nobody asks, the runs go on until their output is held back.
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            self.begin();
            if let Some(event) = self.own.pop_front() {
                return Some(event);
            }
            if self.schedule.is_over() {
                return None;
            }
            tokio::select! {
                event = self.events.recv() => if let Some(event) = event {
                    self.heard(&event);
                    return Some(event);
                },
                Some(joined) = self.tasks.join_next_with_id() => self.joined(joined),
            }
        }
    }

    /// Ends every run, and skips who is not started yet. The acknowledgements come as ends.
    pub fn cancel(&mut self) {
        self.stop(Skip::Interrupted);
        self.cancel.send_replace(true);
    }

    /// Starts nobody any more.
    pub fn stop(&mut self, why: Skip) {
        self.schedule.stop(why);
    }

    /// Returns the targets that were asked and have not ended, as far as is known at this moment.
    #[must_use]
    pub fn afoot(&self) -> BTreeSet<NodeName> {
        self.shared.lock_afoot().clone()
    }

    /// Returns what has happened by now, without waiting, and begins nothing any more.
    pub fn leave(&mut self) -> Vec<Event> {
        self.cancel();
        self.begin();
        let mut events: Vec<Event> = self.own.drain(..).collect();
        while let Ok(event) = self.events.try_recv() {
            events.push(event);
        }
        events
    }

    /// Lets those begin whose turn it is.
    fn begin(&mut self) {
        while let Some(at) = self.schedule.begin() {
            let target = self.targets[at].clone();
            self.shared.lock_afoot().insert(target.clone());
            let job = Job {
                shared: Arc::clone(&self.shared),
                target: target.clone(),
                feed: self.input.as_mut().map(|input| input.feed(at)),
                cancel: self.cancel.subscribe(),
            };
            let task = self.tasks.spawn(job.run());
            self.whose.insert(task.id(), at);
            let what = What::Begun;
            self.own.push_back(Event { target, what });
        }
        for (at, why) in self.schedule.skipped() {
            if let Some(input) = &mut self.input {
                drop(input.feed(at));
            }
            let target = self.targets[at].clone();
            let what = What::Ended(End::Skipped(why));
            self.own.push_back(Event { target, what });
        }
    }

    fn heard(&mut self, event: &Event) {
        if let What::Ended(end) = &event.what {
            self.schedule.ended(end.is_ok());
        }
    }

    /// A task that broke has not told how it ended.
    fn joined(&mut self, joined: Result<(task::Id, ()), task::JoinError>) {
        let (id, broken) = match joined {
            Ok((id, ())) => (id, None),
            Err(error) => (error.id(), Some(error.to_string())),
        };
        let at = self.whose.remove(&id);
        if let (Some(at), Some(broken)) = (at, broken) {
            let target = self.targets[at].clone();
            tracing::error!(%target, broken, "a target's task broke");
            self.schedule.ended(false);
            let outcome = target::not_known();
            let what = What::Ended(End::Over {
                outcome,
                ended: None,
                broken: Some("this program failed".into()),
                left_out: 0,
            });
            self.own.push_back(Event { target, what });
        }
    }
}

impl Shared {
    fn lock_afoot(&self) -> MutexGuard<'_, BTreeSet<NodeName>> {
        // Names alone: whatever a panic elsewhere left of them will do.
        self.afoot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
