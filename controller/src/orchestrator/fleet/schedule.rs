//! Who is next, and whether anybody is. Pure.

use std::collections::VecDeque;

use super::{Skip, pacing::Limits};

/// The turns of a fleet's targets, which are numbers here.
#[derive(Debug)]
pub(super) struct Schedule {
    waiting: VecDeque<usize>,
    limits: Limits,
    running: usize,
    failed: usize,
    stopped: Option<Skip>,
}

impl Schedule {
    pub(super) const fn new(waiting: VecDeque<usize>, limits: Limits) -> Self {
        Self {
            waiting,
            limits,
            running: 0,
            failed: 0,
            stopped: None,
        }
    }

    /// Returns whose turn it is, if a place is free.
    pub(super) fn begin(&mut self) -> Option<usize> {
        if self.stopped.is_some() || self.running >= self.limits.at_once {
            return None;
        }
        let next = self.waiting.pop_front()?;
        self.running += 1;
        Some(next)
    }

    /// Takes that one of those who had their turn has ended.
    pub(super) fn ended(&mut self, ok: bool) {
        self.running -= 1;
        if !ok {
            self.failed();
        }
    }

    /// Takes that one failed.
    pub(super) fn failed(&mut self) {
        self.failed += 1;
        let too_many = |most: usize| self.failed > most;
        if self.limits.max_failures.is_some_and(too_many) {
            self.stop(Skip::Threshold);
        }
    }

    /// Gives nobody a turn any more. The first reason counts.
    pub(super) fn stop(&mut self, why: Skip) {
        self.stopped.get_or_insert(why);
    }

    /// Takes those who will not have their turn.
    pub(super) fn skipped(&mut self) -> Vec<(usize, Skip)> {
        let Some(why) = self.stopped else {
            return Vec::new();
        };
        self.waiting.drain(..).map(|at| (at, why)).collect()
    }

    /// Tells whether all have ended.
    pub(super) fn is_over(&self) -> bool {
        self.running == 0 && self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn schedule(targets: usize, at_once: usize, max_failures: Option<usize>) -> Schedule {
        let limits = Limits {
            at_once,
            max_failures,
        };
        Schedule::new((0..targets).collect(), limits)
    }

    #[test]
    fn batch_slides() {
        let mut schedule = schedule(4, 2, None);

        assert_eq!((schedule.begin(), schedule.begin()), (Some(0), Some(1)));
        assert_eq!(schedule.begin(), None);
        schedule.ended(true);
        assert_eq!((schedule.begin(), schedule.begin()), (Some(2), None));
    }

    #[test]
    fn nobody_begins_after_one_failure_too_many_and_the_running_ones_end() {
        let mut schedule = schedule(5, 2, Some(0));
        let _ = (schedule.begin(), schedule.begin());

        schedule.ended(false);

        assert_eq!(schedule.begin(), None);
        let skipped = schedule.skipped();
        assert_eq!(skipped, [2, 3, 4].map(|at| (at, Skip::Threshold)));
        assert!(!schedule.is_over());
        schedule.ended(true);
        assert!(schedule.is_over());
    }

    proptest! {
        #[test]
        fn each_target_has_its_turn_or_is_skipped_exactly_once(
            targets in 0_usize..40,
            at_once in 1_usize..9,
            max_failures in proptest::option::of(0_usize..5),
            oks in proptest::collection::vec(any::<bool>(), 40),
            interrupted_after in proptest::option::of(0_usize..40),
        ) {
            let mut schedule = schedule(targets, at_once, max_failures);
            let (mut seen, mut running, mut ended, mut failures) = (Vec::new(), 0, 0, 0);
            while !schedule.is_over() {
                while let Some(at) = schedule.begin() {
                    seen.push(at);
                    running += 1;
                }
                prop_assert!(running <= at_once);
                if interrupted_after == Some(ended) {
                    schedule.stop(Skip::Interrupted);
                }
                seen.extend(schedule.skipped().into_iter().map(|(at, _)| at));
                if running > 0 {
                    failures += usize::from(!oks[ended]);
                    schedule.ended(oks[ended]);
                    running -= 1;
                    ended += 1;
                }
            }
            seen.extend(schedule.skipped().into_iter().map(|(at, _)| at));
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..targets).collect::<Vec<_>>());
            if let Some(most) = max_failures {
                prop_assert!(failures <= most + at_once);
            }
        }
    }
}
