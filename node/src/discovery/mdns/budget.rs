//! How much work strangers may cause: a share of one core, with a reserve for bursts.
//!
//! Pure: time comes in. libp2p-mdns queues what it parsed without a bound, and cannot be asked how
//! much that is. But each entry in a queue cost time to parse, so bounding the time bounds the
//! memory, whatever the packets look like.

use std::time::{Duration, Instant};

/// The reserve, and so the longest burst: a look-up that a thousand agents answer.
///
/// *Measured* in a debug build: one answer costs 65 µs. A flood of answers with 30 entries each
/// takes 4 MB until the reserve is empty. The worst packets, many answers that each repeat many
/// entries, take up to 64 MB: a task of libp2p-mdns handles 128 packets before it lets others look.
const RESERVE: Duration = Duration::from_millis(100);

/// The reserve fills by one part in so many of the time that passes: a tenth of a core.
const SHARE: u32 = 10;

/// What is left of the working time that strangers may cause.
#[derive(Debug)]
pub(super) struct Budget {
    left: Duration,
    charged: Duration,
    at: Instant,
}

impl Budget {
    /// Starts with a full reserve for a worker that has not worked yet.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            left: RESERVE,
            charged: Duration::ZERO,
            at: now,
        }
    }

    /// Charges the work done since the last call, where `worked` is all work since the start.
    /// Returns whether the reserve sufficed.
    pub(super) fn charge(&mut self, worked: Duration, now: Instant) -> bool {
        let refill = now.saturating_duration_since(self.at) / SHARE;
        let cost = worked.saturating_sub(self.charged);
        let available = self.left.saturating_add(refill).min(RESERVE);
        self.left = available.saturating_sub(cost);
        self.charged = worked;
        self.at = now;

        cost < available
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_a_core_lasts_for_ever() {
        let mut clock = Clock::new();

        for _ in 0..10_000 {
            assert!(clock.charge_after(ms(10), ms(1)));
        }
    }

    #[test]
    fn a_burst_within_the_reserve_is_served_and_a_longer_one_is_not() {
        let mut clock = Clock::new();

        assert!(clock.charge_after(ms(90), ms(90)));
        assert!(!clock.charge_after(ms(90), ms(90)));
    }

    #[test]
    fn a_full_core_is_refused_after_the_reserve() {
        let mut clock = Clock::new();

        let served = (0..1_000)
            .take_while(|_| clock.charge_after(ms(1), ms(1)))
            .count();

        // 100 ms, and a tenth of what passed until then.
        assert!((105..=111).contains(&served), "{served}");
    }

    #[test]
    fn a_quiet_day_fills_no_more_than_the_reserve() {
        let mut clock = Clock::new();

        assert!(clock.charge_after(Duration::from_secs(86_400), Duration::ZERO));
        assert!(!clock.charge_after(ms(101), ms(101)));
    }

    struct Clock {
        budget: Budget,
        now: Instant,
        worked: Duration,
    }

    impl Clock {
        fn new() -> Self {
            let now = Instant::now();
            Self {
                budget: Budget::new(now),
                now,
                worked: Duration::ZERO,
            }
        }

        fn charge_after(&mut self, passed: Duration, work: Duration) -> bool {
            self.now += passed;
            self.worked += work;
            self.budget.charge(self.worked, self.now)
        }
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }
}
