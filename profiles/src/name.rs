//! The name of a profile.

use std::{fmt, str::FromStr};

use serde::Deserialize;

/// The longest name: it stands in file names and in columns of a table.
const MAX_LEN: usize = 63;

/// The name of a profile, which is also its file's: lower-case letters, digits and hyphens.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct ProfileName(String);

impl ProfileName {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProfileName {
    type Err = ParseProfileNameError;

    fn from_str(text: &str) -> Result<Self, ParseProfileNameError> {
        let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let well_formed = (1..=MAX_LEN).contains(&text.len()) && text.bytes().all(letter);
        well_formed
            .then(|| Self(text.to_owned()))
            .ok_or(ParseProfileNameError)
    }
}

impl TryFrom<String> for ProfileName {
    type Error = ParseProfileNameError;

    fn try_from(text: String) -> Result<Self, ParseProfileNameError> {
        text.parse()
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not the name of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a profile: use 1 to 63 lower-case letters, digits and hyphens")]
pub struct ParseProfileNameError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_reads_what_it_shows_and_refuses_paths() {
        let name: ProfileName = "linux-server".parse().unwrap();

        assert_eq!(name.to_string().parse(), Ok(name));
        for hostile in ["", "../x", "a b", "Linux", "a\n"] {
            assert_eq!(
                hostile.parse::<ProfileName>(),
                Err(ParseProfileNameError),
                "{hostile:?} was taken"
            );
        }
    }
}
