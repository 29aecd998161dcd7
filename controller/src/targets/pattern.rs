//! A name with ranges and wildcards: `web[01-20]`, `rack[1-3]-node[01-16]`, `db*`.

use std::str::FromStr;

use proto::{
    id::{NodeName, ParseLabelError},
    text::escaped,
};

use super::number::{MAX_DIGITS, Span, number, shown_width, written};

/// The longest pattern, in bytes: some hundred ranges, and no room for mischief.
const MAX_LEN: usize = 4096;

/// A pattern of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// These characters.
    Text(String),
    /// One of these numbers.
    Numbers(Vec<Span>),
    /// Any characters, or none: `*`.
    Any,
    /// Any one character: `?`.
    One,
}

/// Why a text is no pattern. All texts are shown escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParsePatternError {
    /// It is no name, nor a pattern of names.
    #[error(transparent)]
    Name(#[from] ParseLabelError),
    /// A character that no name has.
    #[error(
        "\"{pattern}\": no name has {found:?} in it; names have lower-case letters, digits and hyphens, ranges [01-20], wildcards * and ?"
    )]
    Character {
        /// The pattern.
        pattern: String,
        /// The character.
        found: char,
    },
    /// A bracket without its other half.
    #[error("\"{pattern}\": a bracket without its other half; a range is written [01-20]")]
    Bracket {
        /// The pattern.
        pattern: String,
    },
    /// What stands between brackets is no range.
    #[error(
        "\"{pattern}\": \"{range}\" is no range; write 7, 1-20 or 01-20, of numbers with at most {MAX_DIGITS} digits"
    )]
    Range {
        /// The pattern.
        pattern: String,
        /// What stands there.
        range: String,
    },
    /// A range that ends before it begins.
    #[error("\"{pattern}\": \"{range}\" ends before it begins")]
    Backwards {
        /// The pattern.
        pattern: String,
        /// What stands there.
        range: String,
    },
    /// The two ends of a range are padded differently.
    #[error(
        "\"{pattern}\": both ends of \"{range}\" need the same number of digits, or no zeros before them"
    )]
    Padding {
        /// The pattern.
        pattern: String,
        /// What stands there.
        range: String,
    },
    /// It is too long.
    #[error("a pattern of more than {MAX_LEN} bytes")]
    TooLong,
}

impl FromStr for Pattern {
    type Err = ParsePatternError;

    fn from_str(text: &str) -> Result<Self, ParsePatternError> {
        if text.len() > MAX_LEN {
            return Err(ParsePatternError::TooLong);
        }
        if !text.contains(['[', ']', '*', '?']) {
            let name: NodeName = text.parse()?;
            return Ok(Self::from(&name));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let after = &rest[c.len_utf8()..];
            rest = match c {
                '[' => {
                    let (inner, after) = after.split_once(']').ok_or_else(|| bracket(text))?;
                    parts.push(Part::Numbers(spans(text, inner)?));
                    after
                }
                ']' => return Err(bracket(text)),
                '*' => {
                    parts.push(Part::Any);
                    after
                }
                '?' => {
                    parts.push(Part::One);
                    after
                }
                'a'..='z' | '0'..='9' | '-' => {
                    match parts.last_mut() {
                        Some(Part::Text(text)) => text.push(c),
                        Some(_) | None => parts.push(Part::Text(c.into())),
                    }
                    after
                }
                found => {
                    let pattern = escaped(text);
                    return Err(ParsePatternError::Character { pattern, found });
                }
            };
        }
        let text = text.to_owned();
        Ok(Self { text, parts })
    }
}

impl From<&NodeName> for Pattern {
    fn from(name: &NodeName) -> Self {
        Self {
            text: name.to_string(),
            parts: vec![Part::Text(name.to_string())],
        }
    }
}

fn bracket(pattern: &str) -> ParsePatternError {
    let pattern = escaped(pattern);
    ParsePatternError::Bracket { pattern }
}

fn spans(pattern: &str, inner: &str) -> Result<Vec<Span>, ParsePatternError> {
    inner.split(',').map(|range| span(pattern, range)).collect()
}

fn span(pattern: &str, range: &str) -> Result<Span, ParsePatternError> {
    let (pattern, shown) = (escaped(pattern), escaped(range));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (Some(from), Some(to)) = (number(first), number(last)) else {
        let range = shown;
        return Err(ParsePatternError::Range { pattern, range });
    };
    let width = shown_width(first);
    if from > to {
        let range = shown;
        return Err(ParsePatternError::Backwards { pattern, range });
    }
    if shown_width(last) > 0 && last.len() != width.max(first.len()) {
        let range = shown;
        return Err(ParsePatternError::Padding { pattern, range });
    }
    Ok(Span {
        first: from,
        last: to,
        width,
    })
}

impl Pattern {
    /// Returns the pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Tells whether it has wildcards, so that who it means depends on who exists.
    #[must_use]
    pub fn is_glob(&self) -> bool {
        let wild = |part: &Part| matches!(part, Part::Any | Part::One);
        self.parts.iter().any(wild)
    }

    /// Tells whether it means everybody.
    #[must_use]
    pub fn is_everybody(&self) -> bool {
        self.parts.iter().all(|part| *part == Part::Any)
    }

    /// Returns the name, if it is one without ranges and wildcards.
    #[must_use]
    pub fn name(&self) -> Option<NodeName> {
        match self.parts.as_slice() {
            [Part::Text(text)] => text.parse().ok(),
            _ => None,
        }
    }

    /// Counts the names that its ranges stand for. A number that is too large is the largest.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.parts.iter().fold(1, |count: u64, part| match part {
            Part::Numbers(spans) => {
                count.saturating_mul(spans.iter().fold(0, |sum, span| sum + span.len()))
            }
            Part::Text(_) | Part::Any | Part::One => count,
        })
    }

    /// Returns the names that its ranges stand for. To be [counted](Self::count) before.
    ///
    /// # Errors
    /// One of them is none that a node may have.
    pub fn expand(&self) -> Result<Vec<NodeName>, ParsePatternError> {
        let mut names = vec![String::new()];
        for part in &self.parts {
            match part {
                Part::Text(text) => names.iter_mut().for_each(|name| name.push_str(text)),
                Part::Numbers(spans) => names = with_numbers(&names, spans),
                Part::Any => names.iter_mut().for_each(|name| name.push('*')),
                Part::One => names.iter_mut().for_each(|name| name.push('?')),
            }
        }
        let names = names.into_iter().map(NodeName::try_from);
        Ok(names.collect::<Result<_, _>>()?)
    }

    /// Tells whether it means `name`.
    ///
    /// The places of the name at which what was read of the pattern may end are the bits of one
    /// number, so that no pattern is slow.
    #[must_use]
    pub fn matches(&self, name: &NodeName) -> bool {
        let name = name.as_str();
        let mut places = 1_u64;
        for part in &self.parts {
            let mut next = 0_u64;
            for at in (0..=name.len()).filter(|at| places >> at & 1 == 1) {
                next |= part.ends(&name[at..]) << at;
            }
            places = next;
        }
        places >> name.len() & 1 == 1
    }
}

impl Part {
    /// Returns after how many characters of `rest` this part may end, as bits. A name has at most 63.
    fn ends(&self, rest: &str) -> u64 {
        match self {
            Self::Text(text) if rest.starts_with(text.as_str()) => 1 << text.len(),
            Self::Text(_) => 0,
            Self::One => u64::from(!rest.is_empty()) << 1,
            Self::Any => (0..=rest.len()).fold(0, |ends, len| ends | 1 << len),
            Self::Numbers(spans) => (1..=rest.len().min(MAX_DIGITS))
                .filter(|len| spans.iter().any(|span| span.contains(&rest[..*len])))
                .fold(0, |ends, len| ends | 1 << len),
        }
    }
}

fn with_numbers(names: &[String], spans: &[Span]) -> Vec<String> {
    let numbers = || {
        let each = |span: &Span| (span.first..=span.last).zip(std::iter::repeat(span.width));
        spans.iter().flat_map(each)
    };
    let with = |name: &String| -> Vec<String> {
        let named = numbers().map(|(number, width)| format!("{name}{}", written(number, width)));
        named.collect()
    };
    names.iter().flat_map(with).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let pattern: Pattern = text.parse().unwrap();
        let names = pattern.expand().unwrap();
        assert_eq!(names.len() as u64, pattern.count(), "{text}");
        assert!(names.iter().all(|name| pattern.matches(name)), "{text}");
        names.iter().map(ToString::to_string).collect()
    }

    fn refused(text: &str) -> String {
        text.parse::<Pattern>().expect_err(text).to_string()
    }

    fn matches(pattern: &str, name: &str) -> bool {
        let pattern: Pattern = pattern.parse().unwrap();
        pattern.matches(&name.parse().unwrap())
    }

    #[test]
    fn range_keeps_the_zeros_of_its_first_number() {
        assert_eq!(names("web[08-11]"), ["web08", "web09", "web10", "web11"]);
        assert_eq!(names("w[9-10]"), ["w9", "w10"]);
        assert_eq!(names("w[099-100]"), ["w099", "w100"]);
        assert_eq!(names("w[98-101]x"), ["w98x", "w99x", "w100x", "w101x"]);
    }

    #[test]
    fn brackets_hold_lists_and_stand_wherever_a_number_does() {
        assert_eq!(names("n[1-3,7]"), ["n1", "n2", "n3", "n7"]);
        assert_eq!(
            names("r[1-2]-n[01-02]"),
            ["r1-n01", "r1-n02", "r2-n01", "r2-n02"]
        );
        assert_eq!(names("[1-2]"), ["1", "2"]);
    }

    #[test]
    fn huge_ranges_are_counted_without_being_expanded() {
        let count = |text: &str| text.parse::<Pattern>().unwrap().count();

        assert_eq!(count("w[1-100000]"), 100_000);
        assert_eq!(count("w[0-999999999][0-999999999][0-999999999]"), u64::MAX);
    }

    #[test]
    fn wildcards_match_as_in_a_shell() {
        assert!(matches("db*", "db") && matches("db*", "db-7") && !matches("db*", "xdb"));
        assert!(matches("db?", "db7") && !matches("db?", "db") && !matches("db?", "db17"));
        assert!(matches("*-[01-03]*", "srv-02x") && !matches("*-[01-03]*", "srv-2x"));
        assert!(!matches("*a*a*a*a*a*a*a*a*b", &"a".repeat(63)));
        assert!(matches("*", "x") && matches("a*b*", "a-b"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_place() {
        assert!(refused("web[1-3").contains("a bracket without its other half"));
        assert!(refused("web1-3]").contains("a bracket without its other half"));
        assert!(refused("web[]").contains("\"\" is no range"));
        assert!(refused("web[a-b]").contains("\"a-b\" is no range"));
        assert!(refused("web[5-1]").contains("\"5-1\" ends before it begins"));
        assert!(refused("web[1-03]").contains("same number of digits"));
        assert!(refused("web[1-10000000000]").contains("is no range"));
        assert!(refused("Web*").contains("'W'"));
        assert!(refused("\u{1b}*").contains("\\u{1b}"));
        assert!(refused("Web").contains("is not a name"));
        assert!("-[1-2]".parse::<Pattern>().unwrap().expand().is_err());
    }
}
