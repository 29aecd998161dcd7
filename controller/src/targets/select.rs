//! From words to the frozen set of targets.

use std::collections::BTreeSet;

use proto::id::NodeName;

use super::{
    MAX_TARGETS, compact,
    groups::{Groups, GroupsError},
    pattern::{ParsePatternError, Pattern},
    term::{Term, Terms},
};

/// Names that a message tells of.
const SHOWN: usize = 8;

/// What was said of the targets, in words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    /// Who is meant.
    pub include: Vec<Terms>,
    /// Who is not.
    pub exclude: Vec<Terms>,
    /// Whether everybody is meant.
    pub all: bool,
}

/// The same with the groups in their place, each pattern known to make sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

/// Why there are no targets.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// The groups are of no use.
    #[error(transparent)]
    Groups(#[from] GroupsError),
    /// A range has a name that no node may have.
    #[error(transparent)]
    Name(#[from] ParsePatternError),
    /// They are too many.
    #[error("\"{pattern}\" makes {count} targets, and a command may have {MAX_TARGETS}")]
    TooMany {
        /// The pattern with which they became too many.
        pattern: String,
        /// How many, at least.
        count: u64,
    },
    /// Nobody is meant.
    #[error("no target matches {wanted}: {against}")]
    NoMatch {
        /// What was asked for.
        wanted: String,
        /// Who there was to choose from.
        against: String,
    },
}

impl Selector {
    /// Returns the one plain name that was given, if that is all that was said.
    #[must_use]
    pub fn one(&self) -> Option<NodeName> {
        let ([include], [], false) = (self.include.as_slice(), self.exclude.as_slice(), self.all)
        else {
            return None;
        };
        match include.as_slice() {
            [Term::Names(pattern)] => pattern.name(),
            _ => None,
        }
    }

    /// Tells whether the groups file is needed.
    #[must_use]
    pub fn has_groups(&self) -> bool {
        let mut terms = self.include.iter().chain(&self.exclude);
        let is_group = |term: &Term| matches!(term, Term::Group(_));
        terms.any(|terms| terms.as_slice().iter().any(is_group))
    }

    /// Puts the groups in their place and counts what the ranges stand for.
    ///
    /// # Errors
    /// A group makes no sense, or the ranges stand for too many.
    pub fn resolve(&self, groups: Option<&Groups>) -> Result<Selection, SelectError> {
        let resolved = |said: &[Terms]| -> Result<Vec<Pattern>, SelectError> {
            let mut patterns = Vec::new();
            for terms in said {
                match groups {
                    Some(groups) => patterns.extend(groups.patterns(terms.as_slice())?),
                    None => patterns.extend(terms.patterns().cloned()),
                }
            }
            Ok(patterns)
        };
        let mut include = resolved(&self.include)?;
        if self.all {
            include.push("*".parse()?);
        }
        let mut count = 0_u64;
        for pattern in include.iter().filter(|pattern| !pattern.is_glob()) {
            count = count.saturating_add(pattern.count());
            if count > MAX_TARGETS {
                let pattern = pattern.as_str().to_owned();
                return Err(SelectError::TooMany { pattern, count });
            }
        }
        let exclude = resolved(&self.exclude)?;
        Ok(Selection { include, exclude })
    }
}

impl Selection {
    /// Tells whether who is meant depends on who exists.
    #[must_use]
    pub fn needs_inventory(&self) -> bool {
        self.include.iter().any(Pattern::is_glob)
    }

    /// Tells whether everybody is meant.
    #[must_use]
    pub fn is_everybody(&self) -> bool {
        self.include.iter().any(Pattern::is_everybody)
    }

    /// Tells whether `name` is meant.
    #[must_use]
    pub fn contains(&self, name: &NodeName) -> bool {
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(name));
        any(&self.include) && !any(&self.exclude)
    }

    /// Returns who is meant, of those in `existing` as far as there are wildcards.
    ///
    /// # Errors
    /// Nobody is, too many are, or a range has names that no node may have.
    pub fn freeze(&self, existing: &BTreeSet<NodeName>) -> Result<BTreeSet<NodeName>, SelectError> {
        let mut targets = BTreeSet::new();
        for pattern in &self.include {
            match pattern.is_glob() {
                true => targets.extend(
                    existing
                        .iter()
                        .filter(|name| pattern.matches(name))
                        .cloned(),
                ),
                false => targets.extend(pattern.expand()?),
            }
        }
        let excluded = |name: &NodeName| self.exclude.iter().any(|one| one.matches(name));
        targets.retain(|name| !excluded(name));
        let count = targets.len() as u64;
        if count > MAX_TARGETS {
            let pattern = self.wanted();
            return Err(SelectError::TooMany { pattern, count });
        }
        if targets.is_empty() {
            return Err(self.no_match(existing));
        }
        Ok(targets)
    }

    fn no_match(&self, existing: &BTreeSet<NodeName>) -> SelectError {
        let against = match (self.needs_inventory(), existing.len()) {
            (false, _) => "-x excludes all of them".into(),
            (true, 0) => "no agent is known, and none was found".into(),
            (true, 1) => format!("the one known agent is {}", compact::compact(existing)),
            (true, count) => {
                let names = compact::compact_cut(existing, SHOWN);
                format!("the {count} known agents are {names}")
            }
        };
        let wanted = self.wanted();
        SelectError::NoMatch { wanted, against }
    }

    /// Returns the words for a message.
    fn wanted(&self) -> String {
        let words = |patterns: &[Pattern]| {
            let shown = patterns.iter().take(SHOWN).map(Pattern::as_str);
            let shown = shown.collect::<Vec<_>>().join(",");
            let more = patterns.len().saturating_sub(SHOWN);
            if more > 0 {
                format!("{shown} and {more} more")
            } else {
                shown
            }
        };
        match (self.include.as_slice(), self.exclude.as_slice()) {
            ([], _) => "nothing (every group is empty)".into(),
            (include, []) => format!("\"{}\"", words(include)),
            (include, exclude) => format!("\"{}\" without \"{}\"", words(include), words(exclude)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[&str]) -> BTreeSet<NodeName> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn selector(include: &[&str], exclude: &[&str]) -> Selector {
        let terms = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Selector {
            include: terms(include),
            exclude: terms(exclude),
            all: false,
        }
    }

    fn select(include: &[&str], exclude: &[&str], existing: &[&str]) -> Result<String, String> {
        let selection = selector(include, exclude).resolve(None);
        let targets = selection.and_then(|selection| selection.freeze(&names(existing)));
        targets
            .map(|all| compact::compact(&all))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn targets_are_sorted_and_each_is_there_once() {
        assert_eq!(
            select(&["web[02-03],db", "web[01-02]"], &["web03"], &[]).unwrap(),
            "db,web[01-02]"
        );
    }

    #[test]
    fn wildcards_choose_among_those_who_exist_and_ranges_among_all() {
        let existing = ["db1", "db2", "web1"];

        assert_eq!(
            select(&["db*,x[1-2]"], &["*2"], &existing).unwrap(),
            "db1,x1"
        );
    }

    #[test]
    fn no_match_is_an_error_that_says_what_there_was() {
        let said =
            |include, exclude| select(&[include], &[exclude], &["web1", "web2"]).unwrap_err();

        assert_eq!(
            said("db*", "x"),
            "no target matches \"db*\" without \"x\": the 2 known agents are web[1-2]"
        );
        assert!(said("a", "a").ends_with("-x excludes all of them"));
        assert!(
            select(&["*"], &[], &[])
                .unwrap_err()
                .contains("no agent is known")
        );
    }

    #[test]
    fn too_many_targets_are_refused_before_they_are_made() {
        assert_eq!(
            select(&["w[1-100000]"], &[], &[]).unwrap_err(),
            "\"w[1-100000]\" makes 100000 targets, and a command may have 20000"
        );
        assert!(select(&["w[1-9999],v[1-9999]"], &["w*", "v[2-9999]"], &[]).is_ok());
        assert!(select(&["w[1-19999],a,b"], &[], &[]).is_err());
    }

    #[test]
    fn only_one_plain_name_is_one_target() {
        let one = |include: &[&str]| selector(include, &[]).one().map(String::from);

        assert_eq!(one(&["srv-1"]), Some("srv-1".into()));
        for several in [&["srv-[1-1]"][..], &["s*"], &["@g"], &["a,b"], &["a", "a"]] {
            assert_eq!(one(several), None, "{several:?}");
        }
    }
}
