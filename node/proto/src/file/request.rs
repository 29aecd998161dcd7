//! What a controller asks of an agent's files.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Entry, FileName, FilePath, FileTime, Sum};
use crate::{capability::within_bound, id::TransferId, run::Audience, text::Text};

/// A request about one agent's files.
///
/// Nothing here needs a record of what was seen before: each action may happen twice. A `Put` that
/// is repeated writes the same content again, and the file is whole at every moment in between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRequest {
    /// For whom this is, so that it is of no use to another agent.
    pub audience: Audience,
    /// When it was made, by the controller's clock, in milliseconds since 1970.
    pub issued_at_ms: u64,
    /// For how long after that it may be accepted, in milliseconds.
    pub valid_for_ms: u32,
    /// The person or service that asks, for the record.
    pub principal: Text<128>,
    /// What to do.
    pub action: FileAction,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileAction {
    /// Say what lies there. A symbolic link that the operator named is followed.
    Look {
        /// Where.
        at: Place,
    },
    /// List a folder and all below it.
    List {
        /// Which.
        at: Place,
    },
    /// Send a regular file.
    Get {
        /// Which.
        at: Place,
        /// What the caller has of it.
        held: Sum,
    },
    /// Take a regular file and put it there, whole, in one step.
    Put {
        /// Where: a name in a folder that is there.
        at: Place,
        /// Names this copy, so that a broken one can be continued.
        transfer: TransferId,
        /// Its permission bits.
        mode: u16,
        /// Its time; that of the copy if absent.
        modified: Option<FileTime>,
    },
    /// Make a folder, if there is none.
    MakeFolder {
        /// Where: a name in a folder that is there.
        at: Place,
        /// Its permission bits. Its owner may use it until it is settled.
        mode: u16,
    },
    /// Give a folder its last attributes, when all is in it.
    Settle {
        /// Which.
        at: Place,
        /// Its permission bits.
        mode: u16,
        /// Its time; left as it is if absent.
        modified: Option<FileTime>,
    },
    /// Make a symbolic link, where there is nothing or another link.
    MakeLink {
        /// Where: a name in a folder that is there.
        at: Place,
        /// Where it leads. It is never followed.
        target: FilePath,
    },
}

impl FileAction {
    /// Returns the place that this is about.
    #[must_use]
    pub const fn place(&self) -> &Place {
        match self {
            Self::Look { at }
            | Self::List { at }
            | Self::Get { at, .. }
            | Self::Put { at, .. }
            | Self::MakeFolder { at, .. }
            | Self::Settle { at, .. }
            | Self::MakeLink { at, .. } => at,
        }
    }
}

/// Where something lies: a path that the operator wrote, and names below it.
///
/// The path means what it means on that host, symbolic links included. The names below it come from
/// a listing, and none of them is followed if it is a symbolic link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The operator's part.
    pub root: FilePath,
    /// The rest, from the outermost folder to the file.
    #[serde(deserialize_with = "within_bound::<_, _, { Entry::MAX_DEPTH }>")]
    below: Vec<FileName>,
}

impl Place {
    /// Returns the place that a path names.
    #[must_use]
    pub const fn at(root: FilePath) -> Self {
        Self {
            root,
            below: Vec::new(),
        }
    }

    /// Returns the place called `name` in the folder that this is.
    ///
    /// # Errors
    /// It would lie deeper than [`Entry::MAX_DEPTH`].
    pub fn child(&self, name: FileName) -> Result<Self, PlaceError> {
        if self.below.len() >= Entry::MAX_DEPTH {
            return Err(PlaceError);
        }
        let mut child = self.clone();
        child.below.push(name);
        Ok(child)
    }

    /// Returns the names below the operator's part.
    #[must_use]
    pub fn below(&self) -> &[FileName] {
        &self.below
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.root)?;
        let mut needs_slash = !matches!(self.root.as_bytes(), [] | [.., b'/']);
        for name in &self.below {
            let slash = if needs_slash { "/" } else { "" };
            write!(f, "{slash}{name}")?;
            needs_slash = true;
        }
        Ok(())
    }
}

/// A place that lies too deep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("lies more than {} folders deep", Entry::MAX_DEPTH)]
pub struct PlaceError;

// The longest place fits into a control frame.
const _: () = assert!(Entry::MAX_DEPTH * (FileName::MAX_LEN + 2) + FilePath::MAX_LEN < 48 << 10);

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> FileName {
        text.as_bytes().to_vec().try_into().unwrap()
    }

    #[test]
    fn a_place_is_shown_as_a_path() {
        let shown = |root: &str| {
            let root = root.as_bytes().to_vec().try_into().unwrap();
            let place = Place::at(root).child(name("a")).unwrap();
            place.child(name("b\n")).unwrap().to_string()
        };

        assert_eq!(shown(""), "a/b\\n");
        assert_eq!(shown("/"), "/a/b\\n");
        assert_eq!(shown("/srv"), "/srv/a/b\\n");
    }

    #[test]
    fn a_place_that_lies_too_deep_is_refused_here_and_off_the_wire() {
        let mut place = Place::at(Vec::new().try_into().unwrap());
        for _ in 0..Entry::MAX_DEPTH {
            place = place.child(name("x")).unwrap();
        }
        let deeper = (Vec::<u8>::new(), vec![b"x".to_vec(); Entry::MAX_DEPTH + 1]);
        let deeper = postcard::to_allocvec(&deeper).unwrap();

        assert_eq!(place.child(name("x")), Err(PlaceError));
        assert!(postcard::from_bytes::<Place>(&deeper).is_err());
    }

    #[test]
    fn a_hostile_name_is_refused_off_the_wire() {
        for hostile in ["..", "", ".", "a/b", "/etc", "a\0"] {
            let bytes = postcard::to_allocvec(&("root", vec![hostile])).unwrap();

            assert!(
                postcard::from_bytes::<Place>(&bytes).is_err(),
                "{hostile:?}"
            );
        }
    }
}
