//! How many at once, and how many may fail.

use std::{num::NonZeroUsize, str::FromStr};

use proto::text::escaped;

/// A number of targets, or a part of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// So many.
    Count(u32),
    /// So many of a hundred.
    Percent(u8),
}

/// A text that is no [`Share`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{shown}\" is neither a number such as 10 nor a part of all targets such as 25%")]
pub struct ParseShareError {
    shown: String,
}

impl FromStr for Share {
    type Err = ParseShareError;

    fn from_str(text: &str) -> Result<Self, ParseShareError> {
        let read = match text.strip_suffix('%') {
            Some(percent) => percent
                .parse()
                .ok()
                .filter(|of| *of <= 100)
                .map(Self::Percent),
            None => text.parse().ok().map(Self::Count),
        };
        read.ok_or_else(|| ParseShareError {
            shown: escaped(text),
        })
    }
}

impl Share {
    /// Returns how many of `all` this is; a part of a target is none.
    fn of(self, all: usize) -> usize {
        match self {
            Self::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            Self::Percent(percent) => all.saturating_mul(usize::from(percent)) / 100,
        }
    }
}

/// In which order targets have their turn, and when no more of them have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pacing {
    /// How many runs this controller has at once.
    pub parallel: NonZeroUsize,
    /// How many targets are affected at once: the next begins when one of them has ended.
    pub batch: Option<Share>,
    /// How many may fail before no more are started.
    pub max_failures: Option<Share>,
}

/// What pacing means for a number of targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) at_once: usize,
    pub(super) max_failures: Option<usize>,
}

impl Pacing {
    pub(super) fn limits(&self, targets: usize) -> Limits {
        let parallel = self.parallel.get();
        let batch = self.batch.map(|share| share.of(targets).max(1));
        Limits {
            at_once: batch.map_or(parallel, |batch| batch.min(parallel)),
            max_failures: self.max_failures.map(|share| share.of(targets)),
        }
    }

    /// Returns how many of `targets` run at once.
    #[must_use]
    pub fn at_once(&self, targets: usize) -> usize {
        self.limits(targets).at_once.min(targets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_numbers_or_parts() {
        assert_eq!("10".parse(), Ok(Share::Count(10)));
        assert_eq!("25%".parse(), Ok(Share::Percent(25)));
        for text in ["", "%", "-1", "101%", "2.5%", "many"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }

    #[test]
    fn batch_is_at_least_one_and_at_most_what_runs_in_parallel() {
        let limits = |batch: &str, targets| {
            let pacing = Pacing {
                parallel: NonZeroUsize::new(8).unwrap(),
                batch: Some(batch.parse().unwrap()),
                max_failures: Some(Share::Percent(10)),
            };
            pacing.limits(targets)
        };

        assert_eq!(limits("25%", 3).at_once, 1);
        assert_eq!(limits("25%", 20).at_once, 5);
        assert_eq!(limits("50%", 100).at_once, 8);
        assert_eq!(limits("0", 5).at_once, 1);
        assert_eq!(limits("1", 25).max_failures, Some(2));
    }
}
