//! Files over the mesh: the disk's side of a copy, the same for both ends, and the caller's half.
//!
//! ```text
//! source ─► content (thread ═ queue ═ stream) ══ QUIC ══ content (stream ═ queue ═ thread) ─► partial
//! ```
//!
//! Owns reading, writing and listing by descriptors (`folder`, `source`, `partial`, `walk`),
//! the way between a disk and a stream (`content`), and asking an agent (`ask`). What may be
//! copied is decided elsewhere; which files a folder needs is the orchestrator's business.
//!
//! **How a file arrives.** It is written under a hidden name beside the final one,
//! `.NAME.mesosync-ID.part`, readable by its owner alone; its SHA-256 is compared with the sender's;
//! it gets its mode and time, is made durable, and is then renamed. So the final name shows the old
//! content or all of the new, whoever else writes to it, and of several copies at once one wins
//! whole. A copy that breaks leaves the hidden file, and the same copy (same source, same
//! destination) goes on at its end, if its beginning is still that of the source. A full disk and
//! damaged content leave nothing.
//!
//! **What is kept of a file.** Its bytes and permission bits (`rwxrwxrwx`; set-user-id, set-group-id
//! and sticky never travel), its time on demand. It belongs to whoever writes it. Holes are filled.
//!
//! **Where relative paths start.** At an agent in the home folder of its user; at a controller in
//! the current folder. `~` is a name like any other.
//!
//! **Invariant:** nothing that the other end says leads out of the folder that the operator named:
//! names are single components (`proto::file`), and below that folder no symbolic link is followed.
//! Guarded by the tests of `folder` and the scenarios `files`.

mod ask;
mod content;
mod folder;
mod partial;
mod source;
mod walk;

pub use ask::{CopyError, Files, Moved, Sending, Times};
pub use content::Meter;
pub use folder::{look, make_folder, make_link, settle};
pub use walk::{Wanted, list};

pub(crate) use content::{Last, Received, SendContentError, receive, send};
pub(crate) use folder::Folder;
pub(crate) use partial::Partial;
pub(crate) use source::Source;
