//! Notes of runs, for verbs that ask for some: what cannot be noted is said, and costs no run.

use std::time::SystemTime;

use proto::{
    id::{NodeName, RunId},
    run::Outcome,
};

use super::run::shown;
use crate::{
    history::{End, History, HistoryError},
    home::Home,
    orchestrator::Command,
    output::report,
};

/// The note of one run.
pub(super) struct Note {
    history: History,
    run: RunId,
}

impl Note {
    pub(super) fn of(home: &Home, run: RunId) -> Self {
        Self {
            history: home.history(),
            run,
        }
    }

    /// Notes that the run is about to be asked for.
    pub(super) fn asked(&self, command: &Command, targets: impl IntoIterator<Item = NodeName>) {
        let targets = targets.into_iter().collect();
        let command = shown(command);
        heed(self.history.asked(self.run, &command, targets, now_ms()));
    }

    /// Notes how it ended on agents, where that is known.
    pub(super) fn ended<'a>(
        &self,
        ends: impl IntoIterator<Item = (&'a NodeName, Option<&'a Outcome>)>,
    ) {
        let at_ms = now_ms();
        let known = ends.into_iter().filter_map(|(target, outcome)| {
            let outcome = outcome.filter(|outcome| !may_go_on(outcome))?;
            let end = End {
                outcome: report::word(outcome).to_owned(),
                exit_code: report::exit_code(outcome).0,
                at_ms,
            };
            Some((target.clone(), end))
        });
        heed(self.history.ended(self.run, known));
    }
}

fn may_go_on(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Lost(known) if known.ended.is_none())
}

fn heed(noted: Result<(), HistoryError>) {
    if let Err(error) = noted {
        let error = &error as &dyn std::error::Error;
        tracing::info!(
            error,
            "the run was not noted; it can be found by its id alone"
        );
    }
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}
