//! How soon the way back is looked for once more.
//!
//! At once, as a rule: output is to flow again when the path is back. But an agent may let this
//! controller in and hang up on it, again and again; that must not become a storm of handshakes.

use std::time::Duration;

use tokio::time::Instant;

/// A link that held this long was of use, whatever ended it.
const OF_USE: Duration = Duration::from_secs(5);

/// The pause after the first link that was of no use.
const FIRST: Duration = Duration::from_millis(40);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(5);

/// What became of the last ways back.
#[derive(Debug, Default)]
pub(super) struct Eagerness {
    /// When the last one was found, if nothing came of it yet.
    found: Option<Instant>,
    pause: Duration,
}

impl Eagerness {
    /// Takes the news that a way back was found.
    pub(super) const fn found(&mut self, now: Instant) {
        self.found = Some(now);
    }

    /// Takes the news that the run goes on there.
    pub(super) fn served(&mut self) {
        *self = Self::default();
    }

    /// Returns how long to wait before the next look.
    pub(super) fn pause(&mut self, now: Instant) -> Duration {
        self.pause = match self.found.take() {
            Some(found) if now - found < OF_USE => (self.pause * 2).clamp(FIRST, LONGEST),
            Some(_) | None => Duration::ZERO,
        };
        self.pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_look_is_at_once_and_so_is_one_after_a_link_of_use() {
        let mut eagerness = Eagerness::default();
        let now = Instant::now();

        assert_eq!(eagerness.pause(now), Duration::ZERO);
        eagerness.found(now);
        assert_eq!(eagerness.pause(now + OF_USE), Duration::ZERO);
        eagerness.found(now);
        eagerness.served();
        assert_eq!(eagerness.pause(now), Duration::ZERO);
    }

    #[test]
    fn pauses_grow_while_links_are_of_no_use() {
        let mut eagerness = Eagerness::default();
        let now = Instant::now();

        let pauses = [0; 10].map(|_| {
            eagerness.found(now);
            eagerness.pause(now)
        });

        assert_eq!(pauses[0], FIRST);
        assert_eq!(pauses[1], 2 * FIRST);
        assert_eq!(pauses[9], LONGEST);
    }
}
