//! From YAML to a profile, or to an error that says where.

use serde_saphyr::options;

use crate::{ProfileName, profile::Profile};

/// Why a text is no profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseProfileError {
    /// It is not YAML, or not of the schema.
    #[error("{file}:{line}:{column}: {why}")]
    Schema {
        /// The file's name, as it was given.
        file: String,
        /// The line, counted from 1; 0 if the error has no place.
        line: u64,
        /// The column, counted from 1; 0 if the error has no place.
        column: u64,
        /// What is wrong there.
        why: String,
    },
    /// It calls itself otherwise than its file.
    #[error("{file}: the profile calls itself {name}")]
    Name {
        /// The file's name, as it was given.
        file: String,
        /// The name within.
        name: ProfileName,
    },
    /// It starts its shell otherwise than runs do.
    #[error("{file}: {shell} is started as {expected:?}")]
    Launch {
        /// The file's name, as it was given.
        file: String,
        /// The shell.
        shell: proto::shell::Shell,
        /// The argv before the script.
        expected: Vec<String>,
    },
}

impl Profile {
    /// Reads the profile in `yaml`, whose file is called `name` without its ending.
    ///
    /// # Errors
    ///
    /// With the place, when the text is not YAML, has a key that is unknown, twice there or missing,
    /// or a value of another kind; and when name or launch are not what they must be.
    pub fn parse(name: &str, yaml: &str) -> Result<Self, ParseProfileError> {
        let options = options! { with_snippet: false };
        let profile: Self =
            serde_saphyr::from_str_with_options(yaml, options).map_err(|error| {
                let place = error.location();
                ParseProfileError::Schema {
                    file: name.to_owned(),
                    line: place.map_or(0, |place| place.line()),
                    column: place.map_or(0, |place| place.column()),
                    why: error.to_string(),
                }
            })?;
        if profile.name.as_str() != name {
            return Err(ParseProfileError::Name {
                file: name.to_owned(),
                name: profile.name,
            });
        }
        let shell = profile.shell.name;
        let expected: Vec<String> = std::iter::once(shell.as_str())
            .chain(shell.launch_options().iter().copied())
            .map(str::to_owned)
            .collect();
        if profile.shell.launch != expected {
            return Err(ParseProfileError::Launch {
                file: name.to_owned(),
                shell,
                expected,
            });
        }
        Ok(profile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINUX: &str = include_str!("../linux-server.yaml");

    fn refused(from: &str, to: &str) -> ParseProfileError {
        assert!(LINUX.contains(from));
        Profile::parse("linux-server", &LINUX.replacen(from, to, 1)).unwrap_err()
    }

    /// Returns the number of the first line that begins with `start`.
    fn line_of(start: &str) -> u64 {
        let at = LINUX.lines().position(|line| line.starts_with(start));
        at.unwrap() as u64 + 1
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_name_and_line() {
        let error = refused("line_end: lf", "line_ends: lf");

        let ParseProfileError::Schema { line, why, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(*line, line_of("line_end"), "{error}");
        assert!(why.contains("line_ends"), "{error}");
        assert!(
            error
                .to_string()
                .starts_with(&format!("linux-server:{line}:"))
        );
    }

    #[test]
    fn an_unknown_key_of_an_inner_part_is_refused() {
        let error = refused("  manager: systemd", "  manger: systemd");

        assert!(error.to_string().contains("manger"), "{error}");
    }

    #[test]
    fn a_missing_key_a_double_key_and_another_kind_are_refused() {
        for (from, to) in [
            ("title: Linux server\n", ""),
            ("title: Linux server\n", "title: a\ntitle: b\n"),
            ("max_lines: 500", "max_lines: many"),
            ("max_lines: 500", "max_lines: 0"),
            ("os: linux", "os: plan9"),
            ("name: bash", "name: fish"),
        ] {
            let error = refused(from, to);
            assert!(
                matches!(error, ParseProfileError::Schema { .. }),
                "{to}: {error}"
            );
        }
    }

    #[test]
    fn a_name_other_than_the_file_is_refused() {
        let error = Profile::parse("linux", LINUX).unwrap_err();

        assert!(matches!(error, ParseProfileError::Name { .. }), "{error}");
    }

    #[test]
    fn a_launch_of_its_own_is_refused() {
        let error = refused("[bash, --noprofile, --norc, -c]", "[bash, --login, -c]");

        assert!(matches!(error, ParseProfileError::Launch { .. }), "{error}");
    }
}
