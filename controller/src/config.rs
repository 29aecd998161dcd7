//! The controller's settings: a TOML file, each key also a `MESOSYNC_…` variable and a flag.
//!
//! A flag wins over a variable, a variable over the file, the file over the default. An unknown key
//! is an error that names the nearest known one, since a setting that is silently ignored is worse
//! than none.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use proto::id::NodeName;
use serde::Deserialize;

use crate::timespan::{limit, timespan};

/// How long an agent is looked for unless told otherwise.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Time between asking processes to end and killing them, unless told otherwise.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(2);

/// How long an agent keeps a run without its caller, unless told otherwise.
pub const DEFAULT_ORPHAN_LIMIT: Duration = Duration::from_secs(600);

/// The keys of the file.
const KEYS: [&str; 10] = [
    "identity",
    "connect-timeout",
    "timeout",
    "idle-timeout",
    "grace",
    "orphan-limit",
    "addresses",
    "mdns",
    "warm-links",
    "warm-idle",
];

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Config {
    /// The controller's identity file.
    pub identity: Option<PathBuf>,
    /// How long an agent is looked for.
    #[serde(default, deserialize_with = "limited")]
    pub connect_timeout: Option<Duration>,
    /// How long a run may take.
    #[serde(default, deserialize_with = "limited")]
    pub timeout: Option<Duration>,
    /// How long a run may be silent.
    #[serde(default, deserialize_with = "limited")]
    pub idle_timeout: Option<Duration>,
    /// Time between asking processes to end and killing them.
    #[serde(default, deserialize_with = "lasting")]
    pub grace: Option<Duration>,
    /// How long an agent keeps a run without its caller.
    #[serde(default, deserialize_with = "limited")]
    pub orphan_limit: Option<Duration>,
    /// Whether agents are looked for on the LAN.
    pub mdns: Option<bool>,
    /// How many links a daemon keeps.
    pub warm_links: Option<usize>,
    /// For how long it keeps one that is not used.
    #[serde(default, deserialize_with = "limited")]
    pub warm_idle: Option<Duration>,
    /// Addresses of agents that no discovery finds: name → `IP:PORT`.
    #[serde(default)]
    pub addresses: BTreeMap<NodeName, Vec<std::net::SocketAddr>>,
}

/// Why the configuration is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read the configuration")]
    Read {
        /// The reason, with the path.
        #[source]
        source: io::Error,
    },
    /// It is not TOML, or a value is of the wrong form.
    #[error("{path}, line {line}: {why}")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// The parser's message, escaped.
        why: String,
    },
    /// It sets what does not exist.
    #[error("{path}: unknown key \"{key}\"; did you mean \"{nearest}\"? The keys are {}", KEYS.join(", "))]
    UnknownKey {
        /// Which file.
        path: PathBuf,
        /// The key, escaped.
        key: String,
        /// The known key that is most like it.
        nearest: &'static str,
    },
}

impl Config {
    /// Reads the file at `path`; a file that does not exist says nothing.
    ///
    /// # Errors
    /// The file is there and of no use.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        match fs_err::read_to_string(path) {
            Ok(text) => Self::parse(&text, path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(ConfigError::Read { source }),
        }
    }

    fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let wrong = |error: toml::de::Error| {
            let before = error.span().map_or(0, |span| span.start).min(text.len());
            let newlines = text.as_bytes()[..before].iter();
            ConfigError::Parse {
                path: path.to_owned(),
                line: 1 + newlines.filter(|byte| **byte == b'\n').count(),
                why: proto::text::escaped(&error.message().trim_end().replace('\n', ", ")),
            }
        };
        let table: toml::Table = toml::from_str(text).map_err(wrong)?;
        if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(ConfigError::UnknownKey {
                path: path.to_owned(),
                key: proto::text::escaped(key),
                nearest: nearest(key),
            });
        }
        toml::from_str(text).map_err(wrong)
    }
}

fn nearest(key: &str) -> &'static str {
    KEYS.into_iter()
        .min_by_key(|known| strsim::damerau_levenshtein(known, key))
        .unwrap_or(KEYS[0])
}

fn lasting<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    timespan(&text).map(Some).map_err(serde::de::Error::custom)
}

fn limited<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    limit(&text).map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("controller.toml"))
    }

    #[test]
    fn settings_are_read() {
        let config =
            parse("connect-timeout = \"500ms\"\n[addresses]\nsrv-1 = [\"192.0.2.7:4433\"]")
                .expect("well formed");

        assert_eq!(config.connect_timeout, Some(Duration::from_millis(500)));
        assert_eq!(config.addresses.len(), 1);
    }

    #[test]
    fn the_example_is_a_configuration_that_sets_every_other_key() {
        let text = include_str!("../../examples/controller.toml");

        parse(text).expect("well formed");

        let keys = toml::from_str::<toml::Table>(text).expect("TOML");
        let missing: Vec<_> = KEYS
            .iter()
            .filter(|key| !keys.contains_key(**key))
            .collect();
        assert_eq!(missing, [&"identity"]);
    }

    #[test]
    fn an_unknown_key_names_the_nearest_known_one() {
        let error = parse("conect-timeout = \"1s\"")
            .expect_err("misspelt")
            .to_string();

        assert!(
            error.contains("did you mean \"connect-timeout\""),
            "{error}"
        );
    }

    #[test]
    fn a_wrong_value_names_its_line() {
        let error = parse("grace = \"1s\"\ntimeout = \"soon\"")
            .expect_err("no duration")
            .to_string();

        assert_eq!(
            error,
            "controller.toml, line 2: \"soon\" is no length of time: write 500ms, 30s, 5min or 1h30m"
        );
    }
}
