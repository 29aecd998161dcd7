//! Filters on what hosts say of themselves: `-F os.family=linux`, `-F tools=docker`.
//!
//! The keys are those of the capabilities document, as `controller capabilities --json` shows it.
//! What a host says is its own word: a filter chooses, and protects nobody.

use std::{fmt, str::FromStr};

use proto::{
    capability::{Capabilities, Capability},
    text::escaped,
};
use serde_json::Value;

/// The keys, and of which capability each is a part.
const KEYS: [(&str, Capability); 17] = [
    ("os.family", Capability::Os),
    ("os.distribution", Capability::Os),
    ("os.resembles", Capability::Os),
    ("os.version", Capability::Os),
    ("os.kernel", Capability::Os),
    ("architecture", Capability::Architecture),
    ("hostname", Capability::Hostname),
    ("shells", Capability::Shells),
    ("package_managers", Capability::PackageManagers),
    ("init", Capability::Init),
    ("tools", Capability::Tools),
    ("domain.name", Capability::Domain),
    ("domain.kind", Capability::Domain),
    ("privilege.level", Capability::Privilege),
    ("privilege.user", Capability::Privilege),
    ("enclosure.container", Capability::Enclosure),
    ("enclosure.virtual_machine", Capability::Enclosure),
];

/// Keys of lists of programs, of which one may be asked for: `tools.docker=yes`.
const LISTS: [&str; 3] = ["shells", "package_managers", "tools"];

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    text: String,
    key: &'static str,
    capability: Capability,
    value: String,
    wants: bool,
}

/// What a host's word means to a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fits {
    /// The condition holds.
    Yes,
    /// It does not.
    No,
    /// The host could not tell.
    Unknown,
}

/// Why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseFilterError {
    /// It has no `=`, or nothing on one side of it.
    #[error("\"{shown}\" is not a filter: write KEY=VALUE or KEY!=VALUE, such as os.family=linux")]
    Form {
        /// The text, escaped.
        shown: String,
    },
    /// It asks for what no host tells.
    #[error(
        "there is no capability \"{shown}\"; did you mean \"{nearest}\"? The keys are {}, and tools.NAME=yes or =no, likewise shells and package_managers",
        keys()
    )]
    Key {
        /// The key, escaped.
        shown: String,
        /// The known key that is most like it.
        nearest: &'static str,
    },
    /// A program of a list is there or not, and nothing else.
    #[error("\"{shown}\" can be yes or no")]
    YesOrNo {
        /// The key, escaped.
        shown: String,
    },
}

fn keys() -> String {
    KEYS.map(|(key, _)| key).join(", ")
}

impl FromStr for Filter {
    type Err = ParseFilterError;

    fn from_str(text: &str) -> Result<Self, ParseFilterError> {
        let form = || ParseFilterError::Form {
            shown: escaped(text),
        };
        let (key, value) = text.split_once('=').ok_or_else(form)?;
        let (key, wants) = match key.strip_suffix('!') {
            Some(key) => (key.trim(), false),
            None => (key.trim(), true),
        };
        let value = value.trim();
        if key.is_empty() || value.is_empty() {
            return Err(form());
        }
        let member = key.split_once('.').filter(|(list, _)| LISTS.contains(list));
        let (key, value, wants) = match (member, value) {
            (None, _) => (key, value, wants),
            (Some((list, program)), "yes" | "true") => (list, program, wants),
            (Some((list, program)), "no" | "false") => (list, program, !wants),
            (Some(_), _) => {
                let shown = escaped(key);
                return Err(ParseFilterError::YesOrNo { shown });
            }
        };
        let known = KEYS.into_iter().find(|(known, _)| *known == key);
        let (key, capability) = known.ok_or_else(|| ParseFilterError::Key {
            shown: escaped(key),
            nearest: nearest(key),
        })?;
        Ok(Self {
            text: text.to_owned(),
            key,
            capability,
            value: value.to_lowercase(),
            wants,
        })
    }
}

fn nearest(key: &str) -> &'static str {
    let distance = |known: &&str| strsim::damerau_levenshtein(known, key);
    let known = KEYS.into_iter().map(|(known, _)| known);
    known.min_by_key(distance).unwrap_or("os.family")
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escaped(&self.text))
    }
}

impl Filter {
    /// Judges a host by what it says. Upper and lower case are alike.
    #[must_use]
    pub fn fits(&self, document: &Capabilities) -> Fits {
        let document_json = serde_json::to_value(document).unwrap_or(Value::Null);
        let words = words(&document_json, self.key);
        if words.contains(&self.value) == self.wants && !words.is_empty() {
            return Fits::Yes;
        }
        match (words.is_empty(), document.failure(self.capability)) {
            (_, Some(_)) => Fits::Unknown,
            // The host has no such thing, or its list does not hold it.
            (true, None) if !self.wants => Fits::Yes,
            (_, None) => Fits::No,
        }
    }
}

/// Returns all that stands at `key`, in lower case.
fn words(document: &Value, key: &str) -> Vec<String> {
    let mut value = document;
    for step in key.split('.') {
        value = value.get(step).unwrap_or(&Value::Null);
    }
    match value.as_array() {
        Some(items) => items.iter().filter_map(word).collect(),
        None => word(value).into_iter().collect(),
    }
}

/// Returns a text, the name of a program, or what an "other" is called.
fn word(value: &Value) -> Option<String> {
    let named = value.get("name").or_else(|| value.get("other"));
    named.unwrap_or(value).as_str().map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use proto::{
        capability::{FailureReason, InitSystem, List, Os, OsFamily, ProbeFailure, Program},
        text::Text,
    };

    use super::*;

    fn host() -> Capabilities {
        let docker = Program {
            name: Text::cut("docker"),
            path: Text::cut("/usr/bin/docker"),
            version: None,
        };
        Capabilities {
            agent_version: Text::cut("0.1.0"),
            probed_at_ms: 0,
            os: Some(Os {
                family: OsFamily::Linux,
                title: None,
                distribution: Some(Text::cut("debian")),
                resembles: List::default(),
                version: None,
                kernel: None,
            }),
            architecture: None,
            hostname: Some(Text::cut("Srv-1")),
            shells: None,
            package_managers: Some(List::default()),
            init: Some(InitSystem::Other(Text::cut("tini"))),
            tools: Some(List::cut(vec![docker]).0),
            domain: None,
            privilege: None,
            mounts: None,
            workspaces: None,
            enclosure: None,
            failures: List::cut(vec![ProbeFailure {
                capability: Capability::Architecture,
                part: None,
                reason: FailureReason::Unsupported,
            }])
            .0,
        }
    }

    #[test]
    fn filters_judge_a_host_by_its_document() {
        let table = [
            ("os.family=linux", Fits::Yes),
            ("os.family=windows", Fits::No),
            ("os.family!=windows", Fits::Yes),
            ("os.distribution=debian", Fits::Yes),
            ("hostname=srv-1", Fits::Yes),
            ("init=tini", Fits::Yes),
            ("tools=docker", Fits::Yes),
            ("tools.docker=yes", Fits::Yes),
            ("tools.docker=no", Fits::No),
            ("tools.git!=yes", Fits::Yes),
            ("package_managers.apt-get=no", Fits::Yes),
            ("domain.name=corp", Fits::No),
            ("domain.name!=corp", Fits::Yes),
            ("architecture=x86_64", Fits::Unknown),
            ("architecture!=x86_64", Fits::Unknown),
        ];

        for (text, expected) in table {
            let filter: Filter = text.parse().unwrap();
            assert_eq!(filter.fits(&host()), expected, "{text}");
        }
    }

    #[test]
    fn every_key_is_one_of_the_document() {
        let full = serde_json::to_value(host()).unwrap();
        for (key, capability) in KEYS {
            let first = key.split('.').next().unwrap();
            assert_eq!(first, capability.as_str());
            assert!(full.get(first).is_some(), "{key}");
        }
    }

    #[test]
    fn filters_that_mean_nothing_are_refused() {
        let refused = |text: &str| text.parse::<Filter>().expect_err(text).to_string();

        for text in ["", "=", "os.family", "os.family=", "!=x", "os.family!="] {
            assert!(refused(text).contains("is not a filter"), "{text}");
        }
        assert!(refused("os.famly=linux").contains("did you mean \"os.family\"?"));
        assert!(refused("tools.docker=24").contains("can be yes or no"));
    }
}
