//! What a person or a program sees: standard output for results, standard error for the rest.
//!
//! Owns the only writes to both. **Invariant:** bytes from an agent reach a terminal only through
//! [`terminal::Neutraliser`].

pub mod events;
pub mod report;
mod sink;
pub mod terminal;

use std::{
    fmt::Display,
    io::{self, Write as _},
};

pub use sink::{Sink, SinkClosed, Stream, View};

/// Writes a line of a result to standard output.
///
/// # Errors
/// Nobody reads it.
pub fn line(text: &dyn Display) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}

/// Writes a message of this program to standard error.
pub fn say(text: &dyn Display) {
    // Without a standard error there is nobody to tell.
    drop(writeln!(io::stderr(), "controller: {text}"));
}

/// Writes an error with its whole chain, once, and what to do next.
pub fn fail(error: &dyn std::error::Error, next: Option<&str>) {
    let mut text = chain(error);
    if let Some(next) = next {
        text.push_str("\n  ");
        text.push_str(next);
    }
    say(&text);
}

/// Returns an error and its causes as one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
