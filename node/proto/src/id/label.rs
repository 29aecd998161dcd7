//! Names of meshes and nodes: one DNS label each.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The longest DNS label (RFC 1035 §2.3.4).
const MAX_LABEL_LEN: usize = 63;

macro_rules! label {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Returns the name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseLabelError;

            fn from_str(text: &str) -> Result<Self, ParseLabelError> {
                check(text).map(|()| Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseLabelError;

            fn try_from(text: String) -> Result<Self, ParseLabelError> {
                check(&text).map(|()| Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

label! {
    /// The name of a node within its mesh and role, such as `srv-linux-01`.
    NodeName
}
label! {
    /// The name of a mesh; a label for people. What a mesh *is*, its fingerprint decides.
    MeshName
}

/// A text that is not one DNS label. The text is shown escaped and cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{shown}\" is not a name: use 1 to 63 lower-case letters, digits and inner hyphens, such as srv-linux-01"
)]
pub struct ParseLabelError {
    shown: String,
}

fn check(text: &str) -> Result<(), ParseLabelError> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let well_formed = (1..=MAX_LABEL_LEN).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-');
    if well_formed {
        return Ok(());
    }
    let cut: String = text.chars().take(MAX_LABEL_LEN + 1).collect();
    Err(ParseLabelError {
        shown: cut.escape_default().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_names_are_taken() {
        for name in ["a", "7", "srv-linux-01", "desktop-abc", &"x".repeat(63)] {
            assert_eq!(name.parse::<NodeName>().map(String::from), Ok(name.into()));
        }
    }

    #[test]
    fn names_that_hide_something_are_refused() {
        let hostile = [
            "",
            "-a",
            "a-",
            "a.b",
            "a,b",
            "A",
            "../a",
            "a/b",
            "a\0",
            "a\n",
            "a b",
            "\u{202e}a",
            "ä",
        ];

        for name in hostile {
            assert!(name.parse::<NodeName>().is_err(), "{name:?} was taken");
        }
        assert!("x".repeat(64).parse::<NodeName>().is_err());
    }

    #[test]
    fn a_refused_name_is_shown_escaped() {
        let error = "\u{1b}[2Jx".parse::<NodeName>().expect_err("hostile");

        assert!(!error.to_string().contains('\u{1b}'), "{error}");
    }

    proptest! {
        #[test]
        fn no_name_carries_anything_but_a_dns_label(text in "\\PC{0,70}|[a-z0-9-]{0,70}") {
            if let Ok(name) = text.parse::<NodeName>() {
                let name = name.as_str();
                prop_assert!(name.len() <= 63 && !name.is_empty());
                prop_assert!(name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-')));
                prop_assert!(!name.starts_with('-') && !name.ends_with('-'));
            }
        }
    }
}
