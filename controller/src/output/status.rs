//! One line on a terminal's standard error that is written over: how far something is.
//!
//! Nothing is shown where standard error is no terminal. Messages of [`super::say`] come after
//! [`Status::clear`].

use std::io::{self, IsTerminal as _, Write as _};

use proto::text::escaped;

/// A line that is written over.
#[derive(Debug)]
pub struct Status {
    is_shown: bool,
    on_terminal: bool,
}

impl Status {
    /// Shows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            is_shown: false,
            on_terminal: io::stderr().is_terminal(),
        }
    }

    /// Tells whether anybody would see a line.
    #[must_use]
    pub const fn is_seen(&self) -> bool {
        self.on_terminal
    }

    /// Shows `text`, which is to be short, in the place of what was shown.
    pub fn show(&mut self, text: &str) {
        if self.on_terminal {
            self.is_shown = true;
            self.write(&escaped(text));
        }
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            self.write("");
        }
    }

    fn write(&self, text: &str) {
        // In one piece; and without a standard error there is nobody to tell.
        drop(io::stderr().write_all(format!("\r{text}\x1b[K").as_bytes()));
    }
}

impl Default for Status {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        self.clear();
    }
}
