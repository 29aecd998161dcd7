//! The terminal's modes while a session holds it: every key is a byte for the other side.
//!
//! **Invariant:** whoever ends the session, by whatever way, drops [`Raw`], and that puts back the modes
//! that were found. Guarded by the scenarios `shell`, which compare them.

use std::io;

use proto::frame::Resize;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// The modes of the terminal on standard input as they are, and as a session needs them.
pub(super) struct Modes {
    before: Termios,
    raw: Termios,
}

/// A terminal in raw mode; as it was before, once this is dropped.
pub(super) struct Raw(Modes);

impl Modes {
    /// Reads the modes.
    pub(super) fn read() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        Ok(Self { before, raw })
    }

    /// Takes over the terminal.
    pub(super) fn enter(self) -> Raw {
        let taken = Raw(self);
        taken.enter_again();
        taken
    }
}

impl Raw {
    /// Takes it over again, after the shell here had it: SIGSTOP cannot be heard, but its end can.
    pub(super) fn enter_again(&self) {
        set(&self.0.raw);
    }
}

/// Waits for nothing that is still to be shown: a stopped terminal would hold up the end.
fn set(modes: &Termios) {
    // A terminal that is gone has no modes either, and its hang-up is heard elsewhere.
    let _ = tcsetattr(io::stdin(), OptionalActions::Now, modes);
}

impl Drop for Raw {
    fn drop(&mut self) {
        set(&self.0.before);
    }
}

/// Returns the size of the terminal on standard input.
pub(super) fn size() -> io::Result<Resize> {
    let size = tcgetwinsize(io::stdin())?;
    Ok(Resize {
        columns: size.ws_col,
        rows: size.ws_row,
    })
}
