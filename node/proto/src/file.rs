//! Files over the mesh: what is asked, what is answered, and which names may travel.
//!
//! Owns the vocabulary of a copy. Every question is a stream of its own; its first frame is
//! [`Frame::File`](crate::frame::Frame::File), and what follows depends on the [`FileAction`]:
//!
//! ```text
//! Look               ─► FileFound
//! List               ─► FileEntry … FileDone
//! MakeFolder         ─► FileDone (made), FileFound (was there)
//! Settle, MakeLink   ─► FileDone
//! Get                ─► FileFound, FileStart, FileBytes …, FileEnd
//! Put                ─► FileHeld;  then the caller: FileStart, FileBytes …, FileEnd;  ─► FileDone
//! ```
//!
//! and any of them is answered by `FileRefused` instead, at any point. Whoever receives content says
//! first what it holds of it already (the request of a `Get`, or `FileHeld`); the sender compares
//! that with its own beginning and says in `FileStart` where it goes on: there, or at 0. The last
//! word of the content is its length and SHA-256, over all of it.
//!
//! **Invariant:** a [`FileName`] is one component of a path: it cannot leave the folder in which it
//! is looked up, on any platform for which [`FileName::check_for`] was asked. Guarded by
//! `no_name_leaves_its_folder`.

mod attributes;
mod name;
mod refusal;
mod request;

pub use attributes::{Attributes, Entry, FileKind, FileTime, Start, Sum};
pub use name::{FileName, FilePath, FilePathError, NameFault};
pub use refusal::{FileFault, FileRefusal, PathText};
pub use request::{FileAction, FileRequest, Place, PlaceError};
