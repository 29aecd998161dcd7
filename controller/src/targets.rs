//! Which agents a command is for: the targeting grammar, parsed once.
//!
//! Owns the words of `-t`, `-x` and `-F`, the groups file, and the way back from many names to a
//! short text. Pure but for reading the groups file: who exists is handed in, and nobody is asked.
//!
//! **Invariant:** nothing is expanded before it is counted, so that no range costs memory; and a
//! selection that matches nothing is an error, never "all" and never success.

pub mod compact;
pub mod filter;
pub mod groups;
mod number;
mod pattern;
mod select;
mod term;

pub use self::{
    filter::Filter,
    groups::Groups,
    pattern::{ParsePatternError, Pattern},
    select::{SelectError, Selection, Selector},
    term::{GroupName, ParseTermsError, Term, Terms},
};

/// The most targets of one command: four times the largest fleet that is measured.
pub const MAX_TARGETS: u64 = 20_000;
