//! The groups file: names for sets of agents, of which one may hold others.
//!
//! ```toml
//! web = ["web[01-20]", "@edge"]
//! edge = ["edge-a", "edge-b"]
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use proto::text::escaped;

use super::{
    pattern::Pattern,
    term::{GroupName, ParseTermsError, Term, Terms},
};

/// The longest groups file, in bytes: more than 20,000 targets take.
const MAX_LEN: u64 = 4 << 20;

/// How deep groups may hold groups. Deeper nesting is nobody's overview.
const MAX_DEPTH: usize = 32;

/// The groups of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    path: PathBuf,
    /// Nothing if there is no file.
    by_name: Option<BTreeMap<GroupName, Vec<Term>>>,
}

/// Why groups are of no use.
#[derive(Debug, thiserror::Error)]
pub enum GroupsError {
    /// The file cannot be read.
    #[error("read the groups")]
    Read(#[source] io::Error),
    /// It is too long.
    #[error("{}: longer than the {MAX_LEN} bytes that a groups file may have", .path.display())]
    TooLong {
        /// Which file.
        path: PathBuf,
    },
    /// It is not TOML, or a group is no list of texts.
    #[error("{}, line {line}: {why}; a group is a list such as web = [\"web[01-20]\", \"@edge\"]", .path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// The parser's message, escaped.
        why: String,
    },
    /// A group is called or holds what makes no sense.
    #[error("{}, group \"{group}\"", .path.display())]
    Entry {
        /// Which file.
        path: PathBuf,
        /// Which group, escaped.
        group: String,
        /// Why not.
        #[source]
        source: ParseTermsError,
    },
    /// A group is asked for, and there is no file.
    #[error("there is no groups file {}, in which {wanted} would be", .path.display())]
    NoFile {
        /// Which file.
        path: PathBuf,
        /// Which group.
        wanted: GroupName,
    },
    /// There is no such group.
    #[error("{}: {chain}: there is no such group{}", .path.display(), known(.nearest.as_ref()))]
    Unknown {
        /// Which file.
        path: PathBuf,
        /// How it was come by.
        chain: String,
        /// A group with a similar name.
        nearest: Option<GroupName>,
    },
    /// A group holds itself.
    #[error("{}: {chain} goes round in a circle", .path.display())]
    Cycle {
        /// Which file.
        path: PathBuf,
        /// The way round.
        chain: String,
    },
    /// Groups hold groups too deeply.
    #[error("{}: {chain}: groups are nested more than {MAX_DEPTH} deep", .path.display())]
    TooDeep {
        /// Which file.
        path: PathBuf,
        /// The way down.
        chain: String,
    },
}

fn known(nearest: Option<&GroupName>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

impl Groups {
    /// Reads the file at `path`, if there is one.
    ///
    /// # Errors
    /// It is there and of no use.
    pub fn load(path: &Path) -> Result<Self, GroupsError> {
        let path = path.to_owned();
        let file = match fs_err::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let by_name = None;
                return Ok(Self { path, by_name });
            }
            Err(source) => return Err(GroupsError::Read(source)),
        };
        let mut text = String::new();
        let read = file.take(MAX_LEN + 1).read_to_string(&mut text);
        let read = read.map_err(|source| {
            // Without the file's name, unlike an error of opening.
            GroupsError::Read(io::Error::other(format!("{}: {source}", path.display())))
        })?;
        if read as u64 > MAX_LEN {
            return Err(GroupsError::TooLong { path });
        }
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: PathBuf) -> Result<Self, GroupsError> {
        let table: BTreeMap<String, Vec<String>> = match toml::from_str(text) {
            Ok(table) => table,
            Err(error) => {
                let before = error.span().map_or(0, |span| span.start).min(text.len());
                let newlines = text.as_bytes()[..before].iter();
                let line = 1 + newlines.filter(|byte| **byte == b'\n').count();
                let why = escaped(&error.message().trim_end().replace('\n', ", "));
                return Err(GroupsError::Parse { path, line, why });
            }
        };
        let mut by_name = BTreeMap::new();
        for (name, entries) in table {
            let (name, terms) = entry(&name, &entries).map_err(|source| GroupsError::Entry {
                path: path.clone(),
                group: escaped(&name),
                source,
            })?;
            by_name.insert(name, terms);
        }
        let by_name = Some(by_name);
        Ok(Self { path, by_name })
    }

    /// Returns the patterns of `terms`, those of groups in their place, each group once.
    ///
    /// # Errors
    /// A group does not exist, or holds itself.
    pub fn patterns(&self, terms: &[Term]) -> Result<Vec<Pattern>, GroupsError> {
        let mut walk = Walk {
            groups: self,
            chain: Vec::new(),
            done: BTreeSet::new(),
            patterns: Vec::new(),
        };
        walk.terms(terms)?;
        Ok(walk.patterns)
    }
}

fn entry(name: &str, entries: &[String]) -> Result<(GroupName, Vec<Term>), ParseTermsError> {
    let name = name.parse()?;
    let mut terms = Vec::new();
    for text in entries {
        terms.extend_from_slice(text.parse::<Terms>()?.as_slice());
    }
    Ok((name, terms))
}

struct Walk<'a> {
    groups: &'a Groups,
    /// The groups that are being walked, the outermost first.
    chain: Vec<&'a GroupName>,
    done: BTreeSet<&'a GroupName>,
    patterns: Vec<Pattern>,
}

impl<'a> Walk<'a> {
    fn terms(&mut self, terms: &[Term]) -> Result<(), GroupsError> {
        for term in terms {
            match term {
                Term::Names(pattern) => self.patterns.push(pattern.clone()),
                Term::Group(name) => self.group(name)?,
            }
        }
        Ok(())
    }

    fn group(&mut self, name: &GroupName) -> Result<(), GroupsError> {
        let path = self.groups.path.clone();
        let Some(by_name) = &self.groups.by_name else {
            let wanted = name.clone();
            return Err(GroupsError::NoFile { path, wanted });
        };
        let chain = || {
            let walked = self.chain.iter().map(ToString::to_string);
            let walked: Vec<String> = walked.chain([name.to_string()]).collect();
            walked.join(" → ")
        };
        let Some((name, terms)) = by_name.get_key_value(name) else {
            let chain = chain();
            let nearest = nearest(name, by_name.keys()).cloned();
            return Err(GroupsError::Unknown {
                path,
                chain,
                nearest,
            });
        };
        if self.chain.contains(&name) {
            let chain = chain();
            return Err(GroupsError::Cycle { path, chain });
        }
        if self.chain.len() == MAX_DEPTH {
            let chain = chain();
            return Err(GroupsError::TooDeep { path, chain });
        }
        if self.done.insert(name) {
            self.chain.push(name);
            self.terms(terms)?;
            self.chain.pop();
        }
        Ok(())
    }
}

fn nearest<'a>(
    name: &GroupName,
    known: impl Iterator<Item = &'a GroupName>,
) -> Option<&'a GroupName> {
    let distance = |other: &&GroupName| strsim::damerau_levenshtein(name.as_str(), other.as_str());
    known
        .min_by_key(distance)
        .filter(|other| distance(other) <= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Groups, GroupsError> {
        Groups::parse(text, "groups.toml".into())
    }

    fn patterns(text: &str, of: &str) -> Result<Vec<String>, String> {
        let terms: Terms = of.parse().unwrap();
        let groups = parse(text).map_err(|error| error.to_string())?;
        let patterns = groups.patterns(terms.as_slice());
        let patterns = patterns.map_err(|error| error.to_string())?;
        Ok(patterns.iter().map(|one| one.as_str().to_owned()).collect())
    }

    #[test]
    fn groups_hold_names_ranges_and_groups() {
        let text =
            "web = [\"web[01-20],x\", \"@edge\"]\nedge = [\"e1\"]\nall = [\"@web\", \"@edge\"]";

        assert_eq!(
            patterns(text, "@all,y").unwrap(),
            ["web[01-20]", "x", "e1", "y"]
        );
    }

    #[test]
    fn the_example_is_a_groups_file() {
        let text = include_str!("../../../examples/groups.toml");

        assert_eq!(
            patterns(text, "@production").unwrap(),
            ["web[01-20]", "db-a", "db-b", "db-test*"]
        );
    }

    #[test]
    fn circle_is_named_with_the_whole_way_round() {
        let text = "a = [\"@b\"]\nb = [\"x\", \"@c\"]\nc = [\"@a\"]";

        assert_eq!(
            patterns(text, "@a").unwrap_err(),
            "groups.toml: @a → @b → @c → @a goes round in a circle"
        );
    }

    #[test]
    fn unknown_group_is_named_with_the_way_to_it_and_its_nearest() {
        let text = "web = [\"@egde\"]\nedge = []";

        assert_eq!(
            patterns(text, "@web").unwrap_err(),
            "groups.toml: @web → @egde: there is no such group; did you mean @edge?"
        );
    }

    #[test]
    fn deep_nesting_ends_with_a_message_and_not_with_the_stack() {
        use std::fmt::Write as _;
        let mut text = String::new();
        for n in 0..5000 {
            writeln!(text, "g{n} = [\"@g{}\"]", n + 1).unwrap();
        }

        let error = patterns(&text, "@g0").unwrap_err();
        assert!(error.ends_with("nested more than 32 deep"), "{error}");
    }

    #[test]
    fn bad_entry_names_its_file_and_group_or_line() {
        let entry = parse("web = [\"web[3-1]\"]").unwrap_err();
        let shown = crate::output::chain(&entry);
        assert!(
            shown.starts_with("groups.toml, group \"web\": \"web[3-1]\""),
            "{shown}"
        );

        for text in ["web = 7", "\nweb = [1]", "web ="] {
            let shown = parse(text).unwrap_err().to_string();
            assert!(shown.starts_with("groups.toml, line "), "{shown}");
        }
    }
}
