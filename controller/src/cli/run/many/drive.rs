//! Drives a fleet to its end: shows what happens, counts, and hears Ctrl-C.
//!
//! **Invariant:** nothing here waits for a reader of this process's output or for an agent alone: an
//! interruption is always heard, and what was gathered until then is shown.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use proto::{
    id::NodeName,
    run::{Outcome, Tree},
};
use tokio::time::{Interval, MissedTickBehavior, interval_at, timeout};

use super::form::Form;
use crate::{
    cli::{
        describe_error,
        interrupt::{Interrupted, Interrupts, LAST_WORDS},
    },
    orchestrator::fleet::{End, Event, Fleet, Skip, What},
    output::{self, Live, fleet::Summary, report},
    targets::compact::compact_cut,
};

/// Time between two drawings of what happens: as smooth as needed, and cheap.
const DRAW_EVERY: Duration = Duration::from_millis(200);

/// Reasons that are told while it runs. The summary counts the others.
const REASONS: usize = 5;

/// Names that a message tells of.
const SHOWN: usize = 12;

/// How it went.
pub(super) struct Driven {
    pub(super) summary: Summary,
    /// The end of the target that ended last: of the only one, if there is but one.
    pub(super) last: Option<End>,
    /// How the runs ended that are known to have.
    pub(super) outcomes: Vec<(NodeName, Outcome)>,
    /// On whom surely nothing was started.
    pub(super) not_started: Vec<NodeName>,
    /// Why not all of it was written.
    pub(super) trouble: Option<anyhow::Error>,
}

struct Drive {
    targets: BTreeSet<NodeName>,
    form: Form,
    summary: Summary,
    live: Option<Live>,
    last: Option<End>,
    outcomes: Vec<(NodeName, Outcome)>,
    not_started: Vec<NodeName>,
    told: usize,
    untold: usize,
    /// Those where the run id had been used before.
    earlier: BTreeSet<NodeName>,
}

/// Whether the end of every run was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    Over,
    LeftEarly,
}

/// Shows `fleet` until its end.
pub(super) async fn drive(mut fleet: Fleet, targets: BTreeSet<NodeName>, form: Form) -> Driven {
    let begun = Instant::now();
    let mut interrupts = Interrupts::listen();
    let mut drive = Drive {
        summary: Summary::of(targets.len()),
        live: Live::begin(targets.len()),
        targets,
        form,
        last: None,
        outcomes: Vec::new(),
        not_started: Vec::new(),
        told: 0,
        untold: 0,
        earlier: BTreeSet::new(),
    };
    let until = drive.until_over(&mut fleet, &mut interrupts).await;
    if until == Until::LeftEarly {
        drive.leave(&mut fleet);
    }
    drop(fleet);
    drop(drive.live.take());
    drive.summary.took(begun.elapsed());
    drive.tell_the_rest();
    drive.form.conclude(&drive.summary);
    drive.write_the_rest(&mut interrupts).await
}

impl Drive {
    async fn until_over(&mut self, fleet: &mut Fleet, interrupts: &mut Interrupts) -> Until {
        let mut ticks = ticks();
        let mut interrupted = false;
        let mut closed = false;
        loop {
            tokio::select! {
                biased; // output may always be ready, and the rest must be heard
                () = interrupts.next() => {
                    if interrupted {
                        return Until::LeftEarly;
                    }
                    interrupted = true;
                    fleet.cancel();
                    output::say(&"cancelling; Ctrl-C again leaves at once");
                }
                _ = ticks.tick(), if self.live.is_some() => {
                    self.live.iter().for_each(Live::draw);
                }
                delivered = self.form.deliver(), if self.form.has_due() => if delivered.is_err() {
                    self.form.drop_due();
                    if !closed {
                        closed = true;
                        self.cannot_write(fleet);
                    }
                },
                event = fleet.next(), if !self.form.has_due() => match event {
                    Some(event) => self.take(event),
                    None => return Until::Over,
                },
            }
        }
    }

    /// Nobody reads the output any more, so it ends; but a full disk ends no command that runs.
    fn cannot_write(&self, fleet: &mut Fleet) {
        match &self.form.folder {
            Some(_) => fleet.stop(Skip::Output),
            None => fleet.cancel(),
        }
    }

    fn take(&mut self, event: Event) {
        self.form.take(&event);
        let Event { target, what } = event;
        match what {
            What::Begun => self.live.iter_mut().for_each(|live| live.started(&target)),
            What::Earlier(_) => drop(self.earlier.insert(target)),
            What::Note(text) => output::say(&format!("{target}: {text}")),
            What::Ended(end) => self.ended(&target, end),
            What::Started(_) | What::Output(..) => {}
        }
    }

    fn ended(&mut self, target: &NodeName, end: End) {
        self.summary.count(target, &end);
        if let Some(live) = &mut self.live {
            live.ended(target, end.is_ok());
        }
        if let End::Over {
            ended: Some(ended), ..
        } = &end
            && let Tree::Unconfirmed { pids } = &ended.tree
        {
            output::say(&format!(
                "{target}: NOT confirmed: processes {pids:?} could not be ended"
            ));
        }
        match reason(target, &end) {
            Some(reason) if self.told < REASONS => {
                self.told += 1;
                output::say(&reason);
            }
            Some(_) => self.untold += 1,
            None => {}
        }
        match &end {
            End::Over { outcome, .. } => self.outcomes.push((target.clone(), outcome.clone())),
            End::NotStarted { .. } | End::Skipped(_) => self.not_started.push(target.clone()),
            End::Left => {}
        }
        self.last = Some(end);
    }

    /// Takes what has happened until now, and counts the others as left.
    fn leave(&mut self, fleet: &mut Fleet) {
        for event in fleet.leave() {
            self.take(event);
        }
        let afoot = fleet.afoot();
        let missing = self.targets.iter().filter(|name| !self.summary.has(name));
        let missing: Vec<NodeName> = missing.cloned().collect();
        for target in missing {
            let what = What::Ended(End::Left);
            self.take(Event { target, what });
        }
        if !afoot.is_empty() {
            output::say(&format!(
                "left without confirmation; the command may still be ending on {}",
                compact_cut(&afoot, SHOWN)
            ));
        }
    }

    fn tell_the_rest(&self) {
        if self.untold > 0 {
            output::say(&format!(
                "and {} more reasons, which --json tells",
                self.untold
            ));
        }
        if !self.earlier.is_empty() {
            output::say(&format!(
                "this run id was used before on {}; nothing was started there, and what is shown is the first result",
                compact_cut(&self.earlier, SHOWN)
            ));
        }
        let left_out = self.form.left_out();
        if left_out > 0 {
            output::say(&format!(
                "{left_out} bytes of output were not kept; --out-dir keeps all of it"
            ));
        }
    }

    async fn write_the_rest(self, interrupts: &mut Interrupts) -> Driven {
        let hosts = self.summary.split();
        let hosts = hosts.map(|names| names.into_iter().cloned().collect());
        Driven {
            trouble: write_out(self.form, hosts, interrupts).await,
            summary: self.summary,
            last: self.last,
            outcomes: self.outcomes,
            not_started: self.not_started,
        }
    }
}

/// Writes what is due, and returns why not all of it was written.
async fn write_out(
    mut form: Form,
    hosts: [Vec<NodeName>; 2],
    interrupts: &mut Interrupts,
) -> Option<anyhow::Error> {
    let mut dropped = false;
    while form.has_due() {
        tokio::select! {
            () = interrupts.next() => {
                dropped = true;
                form.drop_due();
            }
            delivered = form.deliver() => if delivered.is_err() {
                form.drop_due();
            },
        }
    }
    let mut finishing = std::pin::pin!(form.finish(hosts));
    if !dropped {
        tokio::select! {
            written = finishing.as_mut() => return written.err(),
            () = interrupts.next() => {}
        }
    }
    // What was on its way already is not given up where somebody takes it.
    match timeout(LAST_WORDS, finishing).await {
        Ok(Err(error)) => Some(error),
        Ok(Ok(())) if !dropped => None,
        Ok(Ok(())) | Err(_) => Some(Interrupted.into()),
    }
}

fn ticks() -> Interval {
    let mut ticks = interval_at(tokio::time::Instant::now() + DRAW_EVERY, DRAW_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

/// Says what an exit code alone does not.
fn reason(target: &NodeName, end: &End) -> Option<String> {
    match end {
        End::Over {
            outcome, broken, ..
        } => {
            let mut text = format!("{target}: {}", report::why(outcome)?);
            if let Some(broken) = broken {
                text = format!("{text}: {broken}");
            }
            if let Some(next) = describe_error::next_after(outcome) {
                text = format!("{text}\n  {next}");
            }
            Some(text)
        }
        End::NotStarted { why, .. } => Some(why.clone()),
        End::Skipped(_) | End::Left => None,
    }
}
