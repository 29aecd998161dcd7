//! The terminal's modes while a session holds it: every key is a byte for the other side.
//!
//! **Invariant:** whoever ends the session, by whatever way, drops [`Raw`], and that puts back the modes
//! that were found. Guarded by `a_panic_puts_the_modes_back` and the scenarios `shell`.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use proto::frame::Resize;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// A terminal, and its modes as they are and as a session needs them.
pub(super) struct Modes {
    terminal: OwnedFd,
    before: Termios,
    raw: Termios,
}

/// A terminal in raw mode; as it was before, once this is dropped.
pub(super) struct Raw(Modes);

impl Modes {
    /// Reads the modes of a terminal.
    pub(super) fn of(terminal: impl AsFd) -> io::Result<Self> {
        let terminal = terminal.as_fd().try_clone_to_owned()?;
        let before = tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        Ok(Self {
            terminal,
            before,
            raw,
        })
    }

    /// Takes over the terminal.
    pub(super) fn enter(self) -> Raw {
        let taken = Raw(self);
        taken.enter_again();
        taken
    }

    /// Waits for nothing that is still to be shown: a stopped terminal would hold up the end.
    fn set(&self, modes: &Termios) {
        // A terminal that is gone has no modes either, and its hang-up is heard elsewhere.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, modes);
    }
}

impl Raw {
    /// Takes it over again, after the shell here had it: SIGSTOP cannot be heard, but its end can.
    pub(super) fn enter_again(&self) {
        self.0.set(&self.0.raw);
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.0.set(&self.0.before);
    }
}

/// Returns the size of a terminal.
pub(super) fn size(terminal: impl AsFd) -> io::Result<Resize> {
    let size = tcgetwinsize(terminal)?;
    Ok(Resize {
        columns: size.ws_col,
        rows: size.ws_row,
    })
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use rustix::{
        fs::{Mode, OFlags, open},
        pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
        termios::LocalModes,
    };

    use super::*;

    #[test]
    fn a_panic_puts_the_modes_back() {
        let (_other_side, terminal) = terminal();
        let before = shown(&terminal);
        let raw = Modes::of(&terminal).unwrap().enter();
        assert_ne!(shown(&terminal), before);

        let broken = catch_unwind(AssertUnwindSafe(|| {
            let _held = raw;
            assert!(
                !tcgetattr(&terminal)
                    .unwrap()
                    .local_modes
                    .contains(LocalModes::ECHO)
            );
            panic!("as a defect does");
        }));

        assert!(broken.is_err());
        assert_eq!(shown(&terminal), before);
    }

    #[test]
    fn what_is_no_terminal_has_no_modes() {
        let file = tempfile::tempfile().unwrap();

        assert!(Modes::of(&file).is_err());
        assert!(size(&file).is_err());
    }

    /// Both sides of a new terminal; it lasts as long as they do.
    fn terminal() -> (OwnedFd, OwnedFd) {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs = open(
            name.as_c_str(),
            OFlags::RDWR | OFlags::NOCTTY,
            Mode::empty(),
        )
        .unwrap();
        (ours, theirs)
    }

    fn shown(terminal: &OwnedFd) -> String {
        format!("{:?}", tcgetattr(terminal).unwrap())
    }
}
