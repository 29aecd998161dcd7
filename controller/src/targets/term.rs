//! The words of one `-t` or `-x`: names, patterns and groups, with commas between them.

use std::{fmt, str::FromStr};

use proto::text::escaped;

use super::pattern::{ParsePatternError, Pattern};

/// The longest name of a group, in bytes: as long as a node's.
const MAX_GROUP_LEN: usize = 63;

/// One of the things that can be named as targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    /// Names.
    Names(Pattern),
    /// A group of the groups file: `@web`.
    Group(GroupName),
}

/// Terms, of which there is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms(Vec<Term>);

/// The name of a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(String);

/// Why a text names no targets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseTermsError {
    /// A pattern makes no sense.
    #[error(transparent)]
    Pattern(#[from] ParsePatternError),
    /// A group's name makes no sense.
    #[error(
        "\"{shown}\" is not the name of a group: use letters, digits, hyphens, dots and underscores"
    )]
    Group {
        /// The text, escaped and cut.
        shown: String,
    },
}

impl FromStr for Terms {
    type Err = ParseTermsError;

    fn from_str(text: &str) -> Result<Self, ParseTermsError> {
        split(text)
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl FromStr for Term {
    type Err = ParseTermsError;

    fn from_str(text: &str) -> Result<Self, ParseTermsError> {
        match text.trim().strip_prefix('@') {
            Some(name) => Ok(Self::Group(name.parse()?)),
            None => Ok(Self::Names(text.trim().parse()?)),
        }
    }
}

impl FromStr for GroupName {
    type Err = ParseTermsError;

    fn from_str(text: &str) -> Result<Self, ParseTermsError> {
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if (1..=MAX_GROUP_LEN).contains(&text.len()) && text.chars().all(inner) {
            return Ok(Self(text.to_owned()));
        }
        let cut: String = text.chars().take(MAX_GROUP_LEN + 1).collect();
        let shown = escaped(&cut);
        Err(ParseTermsError::Group { shown })
    }
}

impl GroupName {
    /// Returns the name without its sign.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.0)
    }
}

impl Terms {
    /// Returns the terms.
    #[must_use]
    pub fn as_slice(&self) -> &[Term] {
        &self.0
    }

    /// Returns the patterns among them.
    pub fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.0.iter().filter_map(|term| match term {
            Term::Names(pattern) => Some(pattern),
            Term::Group(_) => None,
        })
    }
}

/// Splits at the commas that are not within brackets.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut within = false;
    text.split(move |c| {
        within = match c {
            '[' => true,
            ']' => false,
            _ => within,
        };
        c == ',' && !within
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_separate_terms_but_not_ranges() {
        let terms: Terms = "web[1-3,7], db*,@group".parse().unwrap();

        let [Term::Names(web), Term::Names(db), Term::Group(group)] = terms.as_slice() else {
            panic!("{terms:?}")
        };
        assert_eq!((web.as_str(), db.as_str()), ("web[1-3,7]", "db*"));
        assert_eq!(group.to_string(), "@group");
    }

    #[test]
    fn nothing_is_no_target() {
        for text in ["", ",", "a,", ",a", " ", "@", "@a b", "@\u{1b}"] {
            let error = text.parse::<Terms>().expect_err(text).to_string();
            assert!(error.contains("is not"), "{error}");
            assert!(!error.contains('\u{1b}'), "{error:?}");
        }
    }
}
