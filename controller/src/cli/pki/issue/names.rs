//! The names of several new nodes in one word: `emu-[0001-5000]`, or just a name.
//!
//! Owns only that: targets of a run have globs and groups besides, which make no sense for nodes that
//! do not exist yet.

use std::str::FromStr;

use proto::id::{NodeName, ParseLabelError};

/// Names that one word may stand for: far above any mesh, far below what memory holds.
const MAX_NAMES: u64 = 100_000;

/// One name, or a range of them, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct NewNames(Vec<NodeName>);

/// Why a word is no names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::cli) enum ParseNamesError {
    /// What it stands for is not a name.
    #[error(transparent)]
    Name(#[from] ParseLabelError),
    /// It has a bracket and no range.
    #[error("expected one range of numbers in brackets, as in web-[01-20]")]
    Range,
    /// The range ends before it begins.
    #[error("the range {first}-{last} ends before it begins")]
    Backwards {
        /// Its first number.
        first: u64,
        /// Its last number.
        last: u64,
    },
    /// It is too long.
    #[error("{count} names are more than the {MAX_NAMES} that one range may have")]
    TooMany {
        /// How many it has.
        count: u64,
    },
}

impl NewNames {
    /// Returns the names.
    pub(super) fn into_names(self) -> Vec<NodeName> {
        self.0
    }
}

impl FromStr for NewNames {
    type Err = ParseNamesError;

    fn from_str(word: &str) -> Result<Self, ParseNamesError> {
        if !word.contains(['[', ']']) {
            return Ok(Self(vec![word.parse()?]));
        }
        let (before, rest) = word.split_once('[').ok_or(ParseNamesError::Range)?;
        let (range, after) = rest.split_once(']').ok_or(ParseNamesError::Range)?;
        let (first, last) = range.split_once('-').ok_or(ParseNamesError::Range)?;
        if before.contains(']') || after.contains(['[', ']']) {
            return Err(ParseNamesError::Range);
        }
        // Numbers are written as wide as the first: 01-20 is 01, 02 … 20.
        let width = first.len();
        let (first, last) = (number(first)?, number(last)?);
        if last < first {
            return Err(ParseNamesError::Backwards { first, last });
        }
        let count = (last - first).saturating_add(1);
        if count > MAX_NAMES {
            return Err(ParseNamesError::TooMany { count });
        }
        let names = (first..=last).map(|number| format!("{before}{number:0width$}{after}").parse());
        Ok(Self(names.collect::<Result<_, _>>()?))
    }
}

fn number(digits: &str) -> Result<u64, ParseNamesError> {
    // `parse` would take a sign.
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ParseNamesError::Range);
    }
    digits.parse().map_err(|_| ParseNamesError::Range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(word: &str) -> Result<Vec<String>, ParseNamesError> {
        let names: NewNames = word.parse()?;
        Ok(names.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_range_is_every_name_as_wide_as_its_first_number() {
        assert_eq!(names("srv"), Ok(vec!["srv".into()]));
        assert_eq!(
            names("web-[08-11]-x"),
            Ok(["08", "09", "10", "11"]
                .map(|number| format!("web-{number}-x"))
                .into())
        );
        assert_eq!(names("a[9-10]"), Ok(vec!["a9".into(), "a10".into()]));
        assert_eq!(names("a[7-7]"), Ok(vec!["a7".into()]));
        assert_eq!(names("emu-[0001-5000]").map(|names| names.len()), Ok(5000));
    }

    #[test]
    fn a_range_that_is_none_is_refused() {
        for word in [
            "a[",
            "a]",
            "a[]",
            "a[1]",
            "a[1-]",
            "a[+1-2]",
            "a[1-2][3-4]",
            "][1-2]",
            "a[1-2",
        ] {
            assert_eq!(names(word), Err(ParseNamesError::Range), "{word}");
        }
        assert!(matches!(names("a b"), Err(ParseNamesError::Name(_))));
        assert!(matches!(names("-[1-2]-"), Err(ParseNamesError::Name(_))));
        let (first, last) = (2, 1);
        assert_eq!(
            names("a[2-1]"),
            Err(ParseNamesError::Backwards { first, last })
        );
    }

    #[test]
    fn a_range_without_end_is_refused_before_it_takes_memory() {
        for word in [
            "a[0-99999999999]",
            "a[0-18446744073709551615]",
            "a[1-100001]",
        ] {
            let refused = names(word);
            assert!(
                matches!(refused, Err(ParseNamesError::TooMany { .. })),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn a_width_without_end_is_no_name() {
        let word = format!("a[{}1-{}2]", "0".repeat(1000), "0".repeat(1000));

        assert!(matches!(names(&word), Err(ParseNamesError::Name(_))));
    }
}
