//! Notes of runs, for verbs that ask for some: what cannot be noted is logged, and costs no run.

use std::time::Duration;

use node::{agent::ledger::RETENTION, clock::now_ms};
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

/// A run id that agents may have forgotten.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "run {run} ended {hours} hours ago, and agents remember an id for {} hours: the command might run again; ask with a new run id",
    RETENTION.as_secs() / 3600
)]
pub(super) struct NoLongerRemembered {
    run: RunId,
    hours: u64,
}

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

    /// Refuses an id whose run ended longer ago than agents promise to remember it: what was a retry might
    /// run again.
    pub(super) fn check_remembered(&self) -> Result<(), NoLongerRemembered> {
        self.check_remembered_at(now_ms())
    }

    fn check_remembered_at(&self, now_ms: u64) -> Result<(), NoLongerRemembered> {
        // A note that cannot be read knows of no such run.
        let entry = self.history.find(&self.run.to_string()).ok();
        let ends = entry.map(|entry| entry.targets.into_values().collect::<Option<Vec<_>>>());
        let last = ends
            .flatten()
            .and_then(|ends| ends.iter().map(|end| end.at_ms).max());
        let Some(last) = last else {
            return Ok(()); // it is new, or may still go on
        };
        let ago = Duration::from_millis(now_ms.saturating_sub(last));
        match ago > RETENTION {
            true => Err(NoLongerRemembered {
                run: self.run,
                hours: ago.as_secs() / 3600,
            }),
            false => Ok(()),
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

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    #[test]
    fn an_id_is_refused_only_when_its_run_has_ended_everywhere_longer_ago_than_agents_remember() {
        let home = tempfile::tempdir().unwrap();
        let note = Note {
            history: History::of(home.path()),
            run: RunId::from_bytes([7; 16]),
        };
        let [a, b]: [NodeName; 2] = ["a", "b"].map(|name| name.parse().unwrap());
        let end = |at_ms| End {
            outcome: "finished".into(),
            exit_code: 0,
            at_ms,
        };
        assert_eq!(note.check_remembered_at(HOUR_MS), Ok(()), "it is new");

        let targets = vec![a.clone(), b.clone()];
        note.history.asked(note.run, "true", targets, 0).unwrap();
        note.history.ended(note.run, [(a, end(0))]).unwrap();
        assert_eq!(
            note.check_remembered_at(99 * HOUR_MS),
            Ok(()),
            "it may go on"
        );

        note.history.ended(note.run, [(b, end(HOUR_MS))]).unwrap();
        assert_eq!(note.check_remembered_at(24 * HOUR_MS), Ok(()));
        let (run, hours) = (note.run, 25);
        let refused = note.check_remembered_at(26 * HOUR_MS);
        assert_eq!(refused, Err(NoLongerRemembered { run, hours }));

        let again = ["b"].map(|name| (name.parse().unwrap(), end(20 * HOUR_MS)));
        note.history.ended(note.run, again).unwrap();
        assert!(
            note.check_remembered_at(26 * HOUR_MS).is_err(),
            "a retry makes it no younger"
        );
    }
}
