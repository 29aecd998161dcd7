//! What a person or a program sees: standard output for results, standard error for the rest.
//!
//! Owns the only writes to both. **Invariant:** bytes from an agent reach a terminal only through
//! [`terminal::Neutraliser`], unless somebody asked for them as they are (`run --raw`, `shell`), and an
//! error's text only escaped, since it may quote a peer.

pub(crate) mod backlog;
mod characters;
pub mod events;
pub mod fleet;
mod live;
pub(crate) mod messages;
pub mod report;
mod sink;
pub mod status;
pub mod terminal;

use std::{
    fmt::Display,
    io::{self, Write as _},
    sync::{Mutex, MutexGuard, PoisonError},
};

use proto::text::escaped;

pub use self::characters::Characters;
pub use self::live::Live;
pub use self::sink::{Sink, SinkClosed, Stream, View};
use self::terminal::{Line, OURS};

/// The line on which the next message begins, unless it is made to begin on a new one. Who writes there
/// holds it until that is done, so that it is what stands there.
static LINE: Mutex<Line> = Mutex::new(Line::new());

/// Held by who waits for [`LINE`]: without it, a thread that writes all the time would always be the next.
static TURN: Mutex<()> = Mutex::new(());

/// One of this process's own streams could not be written: what was asked for has not arrived.
#[derive(Debug, thiserror::Error)]
#[error("{stream} cannot be written")]
pub struct WriteError {
    /// Which.
    pub stream: Stream,
    /// Why not.
    #[source]
    pub source: io::Error,
}

impl WriteError {
    /// Tells whether the reader went away, as `head` does when it has enough: nobody wants to know.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.source.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Writes a line of a result to standard output.
///
/// # Errors
/// It did not arrive there.
pub fn line(text: &dyn Display) -> Result<(), WriteError> {
    whole(&format!("{text}\n"))
}

/// Writes a text to standard output.
///
/// # Errors
/// Not all of it arrived there.
pub fn whole(text: &str) -> Result<(), WriteError> {
    let mut stdout = io::stdout();
    let written = stdout.write_all(text.as_bytes());
    written
        .and_then(|()| stdout.flush())
        .map_err(|source| WriteError {
            stream: Stream::Stdout,
            source,
        })
}

/// Writes a message of this program to standard error, always on a line of its own.
pub fn say(text: &dyn Display) {
    tell(&format!("{OURS} {text}"));
}

/// Writes a line about all targets to standard error. Where there are several, no line of a host
/// is without its name, so this one needs no mark.
pub fn tell(text: &dyn Display) {
    messages::tell(text.to_string());
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

/// Returns an error and its causes as one harmless line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    escaped(&raw_chain(error))
}

/// Returns an error and its causes in one text, which is not to be shown as it is.
#[must_use]
pub fn raw_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Waits for the line. A panic of another thread must not silence this one.
fn current_line() -> MutexGuard<'static, Line> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    LINE.lock().unwrap_or_else(PoisonError::into_inner)
}
