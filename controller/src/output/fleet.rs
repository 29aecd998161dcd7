//! Output of several targets.
//!
//! Owns the forms in which it is shown: prefixed lines, folded, compared, one JSON object, events, a
//! folder; and the arithmetic of the summary. Writes nothing by itself but the folder.
//!
//! **Invariant:** every line that a host wrote is shown behind its name or indented, whatever it
//! prints, so that it can forge no other host's line, no header and no summary. Guarded by
//! `no_output_makes_a_line_without_its_prefix` and the scenarios of `display`.

mod diff;
mod fold;
mod folder;
mod json;
mod lines;
mod prefix;
mod results;
mod summary;

pub use self::{
    diff::compare,
    fold::fold,
    folder::{Folder, FolderError, Shelf},
    json::{Discovered, FleetEvent, Whole},
    prefix::Prefixes,
    results::{Result as TargetResult, Results},
    summary::{Counted, Summary, discovered},
};
