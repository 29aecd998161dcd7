//! From the lines of the note to the runs that they tell of.
//!
//! **Invariant:** an agent where something may have begun has a time in
//! [`Entry::may_have_ended`], which is not later than the end there. Guarded by the tests below.

use std::collections::BTreeMap;

use proto::id::{NodeName, RunId};
use serde::{Deserialize, Serialize};

use super::{End, Entry};

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Line {
    Asked {
        run: String,
        at_ms: u64,
        command: String,
        targets: Vec<NodeName>,
    },
    Ended {
        run: String,
        target: NodeName,
        #[serde(flatten)]
        end: End,
    },
    NotStarted {
        run: String,
        at_ms: u64,
        targets: Vec<NodeName>,
    },
}

/// Runs as they are read.
#[derive(Default)]
pub(super) struct Runs {
    in_order: Vec<Known>,
    place: BTreeMap<RunId, usize>,
}

struct Known {
    entry: Entry,
    /// How often each agent was asked, but for the times that surely started nothing.
    asked: BTreeMap<NodeName, usize>,
}

impl Runs {
    /// Returns the runs, the oldest first.
    pub(super) fn in_order(self) -> Vec<Entry> {
        let entries = self.in_order.into_iter().map(|known| known.entry);
        entries.collect()
    }

    /// Reads the lines of one file. One that makes no sense is left out.
    pub(super) fn take(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.is_empty()) {
            match serde_json::from_str(line) {
                Ok(Line::Asked {
                    run,
                    at_ms,
                    command,
                    targets,
                }) => self.asked(&run, at_ms, command, targets),
                Ok(Line::Ended { run, target, end }) => {
                    if let Some(known) = self.known(&run) {
                        known.ended(target, end);
                    }
                }
                Ok(Line::NotStarted { run, targets, .. }) => {
                    if let Some(known) = self.known(&run) {
                        targets.iter().for_each(|target| known.not_started(target));
                    }
                }
                Err(_) => {}
            }
        }
    }

    fn asked(&mut self, run: &str, at_ms: u64, command: String, targets: Vec<NodeName>) {
        let Ok(run) = run.parse() else {
            return;
        };
        // Asked for again: the first time counts, on whatever agents more.
        let place = *self.place.entry(run).or_insert_with(|| {
            self.in_order.push(Known {
                entry: Entry {
                    run,
                    at_ms,
                    command,
                    targets: BTreeMap::new(),
                    may_have_ended: BTreeMap::new(),
                },
                asked: BTreeMap::new(),
            });
            self.in_order.len() - 1
        });
        for target in targets {
            self.in_order[place].asked(target, at_ms);
        }
    }

    fn known(&mut self, run: &str) -> Option<&mut Known> {
        let place = self.place.get(&run.parse().ok()?)?;
        self.in_order.get_mut(*place)
    }
}

impl Known {
    fn asked(&mut self, target: NodeName, at_ms: u64) {
        *self.asked.entry(target.clone()).or_insert(0) += 1;
        let entry = &mut self.entry;
        entry.may_have_ended.entry(target.clone()).or_insert(at_ms);
        entry.targets.entry(target).or_insert(None);
    }

    fn ended(&mut self, target: NodeName, end: End) {
        let known = self.entry.targets.entry(target.clone()).or_insert(None);
        // A retry that hears of the same end again makes it no younger.
        let first = known.as_ref().map_or(end.at_ms, |known| known.at_ms);
        let (at_ms, is_news) = (end.at_ms.min(first), known.is_none());
        *known = Some(End { at_ms, ..end });
        // And one that hears of it first cannot say when it was.
        let asked_once = self.asked.get(&target).is_none_or(|times| *times == 1);
        let may_have_ended = self.entry.may_have_ended.entry(target).or_insert(at_ms);
        if is_news && asked_once {
            *may_have_ended = at_ms;
        }
    }

    fn not_started(&mut self, target: &NodeName) {
        let Some(times) = self.asked.get_mut(target) else {
            return;
        };
        *times = times.saturating_sub(1);
        let is_open = self.entry.targets.get(target).is_some_and(Option::is_none);
        if *times == 0 && is_open {
            self.entry.may_have_ended.remove(target);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What happens to one agent, at a time.
    #[derive(Clone, Copy)]
    enum Event {
        Asked(u64),
        Ended(u64),
        NotStarted(u64),
    }
    use Event::{Asked, Ended, NotStarted};

    fn may_have_ended(events: &[Event]) -> Option<u64> {
        let run = "07".repeat(16);
        let target: NodeName = "a".parse().unwrap();
        let line = |event: &Event| {
            let run = run.clone();
            let line = match *event {
                Asked(at_ms) => Line::Asked {
                    run,
                    at_ms,
                    command: "true".into(),
                    targets: vec![target.clone()],
                },
                Ended(at_ms) => Line::Ended {
                    run,
                    target: target.clone(),
                    end: End {
                        outcome: "finished".into(),
                        exit_code: 0,
                        at_ms,
                    },
                },
                NotStarted(at_ms) => Line::NotStarted {
                    run,
                    at_ms,
                    targets: vec![target.clone()],
                },
            };
            serde_json::to_string(&line).unwrap() + "\n"
        };
        let mut runs = Runs::default();
        runs.take(&events.iter().map(line).collect::<String>());
        let [entry] = runs.in_order().try_into().unwrap();
        entry.may_have_ended.get(&target).copied()
    }

    #[test]
    fn a_run_may_have_ended_when_it_was_asked_for_unless_its_own_caller_heard_the_end() {
        let table: [(&[Event], Option<u64>); 9] = [
            (&[Asked(1)], Some(1)),
            (&[Asked(1), Ended(5)], Some(5)),
            (&[Asked(1), Ended(5), Asked(6), Ended(7)], Some(5)),
            (&[Asked(1), Asked(6), Ended(7)], Some(1)),
            (&[Asked(1), NotStarted(2)], None),
            (&[Asked(1), NotStarted(2), Asked(6)], Some(6)),
            (&[Asked(1), NotStarted(2), Asked(6), Ended(7)], Some(7)),
            (&[Asked(1), Asked(6), NotStarted(7)], Some(1)),
            (
                &[Asked(1), Ended(5), Asked(6), NotStarted(7), NotStarted(8)],
                Some(5),
            ),
        ];

        for (at, (events, expected)) in table.into_iter().enumerate() {
            assert_eq!(may_have_ended(events), expected, "row {at}");
        }
    }
}
