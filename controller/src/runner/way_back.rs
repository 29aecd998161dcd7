//! The way back to a run whose daemon is gone.
//!
//! Owns for how long it is looked for, and what is said meanwhile. A look-up that fails ends nothing
//! as long as the agent keeps the run for its caller.
//!
//! **Invariant:** it ends: with the run, or with a reason why there is none.

use std::{pin::Pin, time::Duration};

use proto::run::OnLinkLoss;
use tokio::time::{Instant, sleep, sleep_until};

/// How long the way back is looked for when the request does not say how long the agent waits.
const LOOK_FOR: Duration = Duration::from_secs(600);

/// How long it may take before that is worth a word.
const WORTH_A_WORD: Duration = Duration::from_secs(2);

/// The pause after the first look-up that failed, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// One look-up: what it looks for, or why it is not found.
pub(super) type Look<T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send>>;

/// A search that goes on where it was.
pub(super) struct WayBack<T> {
    since: Instant,
    limit: Duration,
    pause: Duration,
    said: bool,
    look: Option<Look<T>>,
}

/// What comes of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<T> {
    Found(T),
    /// It takes its time.
    StillAway,
    /// It is looked for no more; why it was not found last.
    Lost(String),
}

impl<T> std::fmt::Debug for WayBack<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WayBack")
            .field("since", &self.since)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl<T: 'static> WayBack<T> {
    /// Begins now, to a run of which the agent thinks like this.
    pub(super) fn new(on_link_loss: OnLinkLoss) -> Self {
        let limit = match on_link_loss {
            OnLinkLoss::Keep { orphan_ms } => Duration::from_millis(orphan_ms),
            OnLinkLoss::Detach => LOOK_FOR,
            // The agent ends it; how, is worth one question.
            OnLinkLoss::End => Duration::ZERO,
        };
        Self {
            since: Instant::now(),
            limit,
            pause: PAUSES.0,
            said: false,
            look: None,
        }
    }

    /// Looks, as often as there is sense in it.
    ///
    /// # Cancel safety
    /// Goes on where it was when this is dropped and called again.
    pub(super) async fn next(&mut self, mut look: impl FnMut() -> Look<T>) -> Step<T> {
        loop {
            let looking = self.look.get_or_insert_with(&mut look);
            let looked = tokio::select! {
                biased; // what is found needs no word
                looked = looking => looked,
                () = sleep_until(self.since + WORTH_A_WORD), if !self.said => {
                    self.said = true;
                    return Step::StillAway;
                }
            };
            self.look = None;
            let why = match looked {
                Ok(found) => return Step::Found(found),
                Err(why) => why,
            };
            if self.since.elapsed() + self.pause > self.limit {
                return Step::Lost(why);
            }
            tracing::debug!(why, "no way back to the run yet");
            self.look = Some(after(self.pause, look()));
            self.pause = (self.pause * 2).min(PAUSES.1);
        }
    }
}

fn after<T: 'static>(pause: Duration, look: Look<T>) -> Look<T> {
    Box::pin(async move {
        sleep(pause).await;
        look.await
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails() -> Look<()> {
        Box::pin(async { Err("nobody is there".into()) })
    }

    #[tokio::test]
    async fn a_look_up_that_fails_is_repeated_until_the_agent_is_back() {
        let mut way_back = WayBack::new(OnLinkLoss::Detach);
        let mut looks = 0;
        let mut look = || -> Look<()> {
            looks += 1;
            match looks {
                1 | 2 => fails(),
                _ => Box::pin(async { Ok(()) }),
            }
        };

        let mut step = way_back.next(&mut look).await;
        while step == Step::StillAway {
            step = way_back.next(&mut look).await;
        }

        assert_eq!((step, looks), (Step::Found(()), 3));
    }

    #[tokio::test]
    async fn it_is_looked_for_no_more_when_the_agent_waits_no_more() {
        let mut way_back = WayBack::new(OnLinkLoss::Keep { orphan_ms: 500 });

        let mut step = way_back.next(fails).await;
        while step == Step::StillAway {
            step = way_back.next(fails).await;
        }

        assert_eq!(step, Step::Lost("nobody is there".into()));
    }

    #[tokio::test]
    async fn a_run_that_ends_with_its_link_is_asked_for_once() {
        let mut way_back = WayBack::new(OnLinkLoss::End);
        let mut looks = 0;

        let step = way_back
            .next(|| {
                looks += 1;
                fails()
            })
            .await;

        assert_eq!((step, looks), (Step::Lost("nobody is there".into()), 1));
    }
}
