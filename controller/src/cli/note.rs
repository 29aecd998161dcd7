//! Notes of runs, for verbs that ask for some: what cannot be noted is logged, and costs no run.

use std::time::Duration;

use node::{agent::ledger::RETENTION, clock::now_ms};
use proto::{
    id::{NodeName, RunId},
    run::{Ended, Outcome},
};

use super::run::shown;
use crate::{
    history::{End, FindRunError, History, HistoryError},
    home::Home,
    orchestrator::Command,
    output::report,
};

/// A run id that is not to be asked for again.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoLongerRemembered {
    /// Its run ended long ago.
    #[error(
        "run {run} ended on {target} {hours} hours ago, and agents remember an id for {} hours: the command might run there again; ask with a new run id",
        RETENTION.as_secs() / 3600
    )]
    Ended {
        run: RunId,
        target: NodeName,
        hours: u64,
    },
    /// Its run may have ended long ago.
    #[error(
        "run {run} was asked of {target} {hours} hours ago, and when it ended is not known here; agents remember an id for {} hours after that: the command might run there again; `controller attach {run}` and `controller logs {run}` look for it, or ask with a new run id",
        RETENTION.as_secs() / 3600
    )]
    MayHaveEnded {
        run: RunId,
        target: NodeName,
        hours: u64,
    },
    /// What is on note of it cannot be read.
    #[error(
        "whether the agents may have forgotten run {run} is not known, and the command might run again; make the note of runs readable, or ask with a new run id"
    )]
    Unreadable {
        run: RunId,
        #[source]
        source: FindRunError,
    },
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

    /// Refuses an id that one of `targets` may have forgotten: what was a retry might run again there.
    pub(super) fn check_remembered<'a>(
        &self,
        targets: impl IntoIterator<Item = &'a NodeName>,
    ) -> Result<(), NoLongerRemembered> {
        self.check_remembered_at(targets, now_ms())
    }

    fn check_remembered_at<'a>(
        &self,
        targets: impl IntoIterator<Item = &'a NodeName>,
        now_ms: u64,
    ) -> Result<(), NoLongerRemembered> {
        let run = self.run;
        let entry = match self.history.find(&run.to_string()) {
            Ok(entry) => entry,
            Err(FindRunError::Unknown { .. }) => return Ok(()),
            Err(source) => return Err(NoLongerRemembered::Unreadable { run, source }),
        };
        for target in targets {
            let Some(at_ms) = entry.may_have_ended.get(target) else {
                continue; // nothing can have been started there
            };
            let ago = Duration::from_millis(now_ms.saturating_sub(*at_ms));
            if ago <= RETENTION {
                continue;
            }
            let (target, hours) = (target.clone(), ago.as_secs() / 3600);
            let end = entry.targets.get(&target).and_then(Option::as_ref);
            return Err(match end.is_some_and(|end| end.at_ms == *at_ms) {
                true => NoLongerRemembered::Ended { run, target, hours },
                false => NoLongerRemembered::MayHaveEnded { run, target, hours },
            });
        }
        Ok(())
    }

    /// Notes that the run is about to be asked for.
    pub(super) fn asked(&self, command: &Command, targets: impl IntoIterator<Item = NodeName>) {
        let targets = targets.into_iter().collect();
        let command = shown(command);
        heed(self.history.asked(self.run, &command, targets, now_ms()));
    }

    /// Notes on which agents this time surely nothing was started.
    pub(super) fn not_started(&self, targets: impl IntoIterator<Item = NodeName>) {
        let targets = targets.into_iter().collect();
        heed(self.history.not_started(self.run, targets, now_ms()));
    }

    /// Notes how it ended on agents, where that is known.
    pub(super) fn ended<'a>(
        &self,
        ends: impl IntoIterator<Item = (&'a NodeName, Option<&'a Outcome>)>,
    ) {
        self.ended_at(ends, now_ms());
    }

    /// Notes how it ended on one agent of whom somebody else had asked for it, and who says for how long
    /// it ran: it may have ended long ago.
    pub(super) fn ended_earlier(
        &self,
        target: &NodeName,
        outcome: Option<&Outcome>,
        ended: Option<&Ended>,
    ) {
        let entry = self.history.find(&self.run.to_string()).ok();
        let asked = entry.and_then(|entry| entry.may_have_ended.get(target).copied());
        let now = now_ms();
        let at_ms = asked.map_or(now, |asked| {
            let ran_for = ended.map_or(0, |ended| ended.duration_ms);
            asked.saturating_add(ran_for).min(now)
        });
        self.ended_at([(target, outcome)], at_ms);
    }

    fn ended_at<'a>(
        &self,
        ends: impl IntoIterator<Item = (&'a NodeName, Option<&'a Outcome>)>,
        at_ms: u64,
    ) {
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

    fn name(name: &str) -> NodeName {
        name.parse().unwrap()
    }

    fn end(at_ms: u64) -> End {
        End {
            outcome: "finished".into(),
            exit_code: 0,
            at_ms,
        }
    }

    /// Returns a note of a run that was asked of some agents at the beginning of all time.
    fn note_of(home: &std::path::Path, targets: &[&str]) -> Note {
        let note = Note {
            history: History::of(home),
            run: RunId::from_bytes([7; 16]),
        };
        let targets = targets.iter().map(|target| name(target)).collect();
        note.history.asked(note.run, "true", targets, 0).unwrap();
        note
    }

    /// Says who stands in the way of a retry on all of `targets` after so many hours, and how old what
    /// is known of them is.
    fn in_the_way(note: &Note, targets: &[&str], hour: u64) -> Option<(String, u64)> {
        let targets: Vec<NodeName> = targets.iter().map(|target| name(target)).collect();
        match note.check_remembered_at(&targets, hour * HOUR_MS) {
            Ok(()) => None,
            Err(
                NoLongerRemembered::Ended { target, hours, .. }
                | NoLongerRemembered::MayHaveEnded { target, hours, .. },
            ) => Some((target.to_string(), hours)),
            Err(error @ NoLongerRemembered::Unreadable { .. }) => panic!("{error}"),
        }
    }

    #[test]
    fn one_agent_that_may_have_forgotten_an_id_is_enough_to_refuse_it() {
        let home = tempfile::tempdir().unwrap();
        let note = note_of(home.path(), &["a", "b", "c"]);
        let ends = [(name("a"), end(0)), (name("b"), end(9 * HOUR_MS))];
        note.history.ended(note.run, ends).unwrap();
        note.history
            .not_started(note.run, vec![name("c")], 0)
            .unwrap();
        let a = Some(("a".into(), 25));

        assert_eq!(in_the_way(&note, &["a", "b", "c"], 24), None);
        assert_eq!(in_the_way(&note, &["a", "b", "c"], 25), a);
        assert_eq!(in_the_way(&note, &["b", "c"], 25), None);
        assert_eq!(in_the_way(&note, &["c", "new"], 99), None);
    }

    #[test]
    fn a_run_that_was_left_to_itself_may_have_ended_at_once() {
        let home = tempfile::tempdir().unwrap();
        let note = note_of(home.path(), &["a"]);

        assert_eq!(in_the_way(&note, &["a"], 24), None);
        let refused = note.check_remembered_at(&[name("a")], 25 * HOUR_MS);

        assert!(matches!(
            refused,
            Err(NoLongerRemembered::MayHaveEnded { .. })
        ));
        assert!(refused.unwrap_err().to_string().contains("asked of a 25"));
    }

    #[test]
    fn an_end_that_is_heard_of_later_was_when_the_agent_says() {
        let home = tempfile::tempdir().unwrap();
        let note = note_of(home.path(), &["a"]);
        let ended = Ended {
            result: proto::run::Wire::Finished(proto::run::Exit::Code(0)),
            tree: proto::run::Tree::Gone,
            stdout_bytes: 0,
            stderr_bytes: 0,
            duration_ms: 3 * HOUR_MS,
        };
        let outcome = ended.result.outcome();

        note.ended_earlier(&name("a"), outcome.as_ref(), Some(&ended));

        assert_eq!(in_the_way(&note, &["a"], 27), None);
        assert_eq!(in_the_way(&note, &["a"], 28), Some(("a".into(), 25)));
    }

    #[test]
    fn a_note_that_cannot_be_read_lets_no_retry_pass() {
        let home = tempfile::tempdir().unwrap();
        let note = Note {
            history: History::of(home.path()),
            run: RunId::from_bytes([7; 16]),
        };
        assert!(note.check_remembered_at(&[name("a")], 0).is_ok(), "new");
        fs_err::create_dir(home.path().join("runs.jsonl")).unwrap();

        let refused = note.check_remembered_at(&[name("a")], 0);

        assert!(matches!(
            refused,
            Err(NoLongerRemembered::Unreadable { .. })
        ));
    }
}
