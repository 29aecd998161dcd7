//! Whether a silent agent is still there.
//!
//! A run may be silent for hours, and a path may be cut at any moment: both look the same. So an agent
//! that says nothing is asked, soon at first and then less and less often.

use std::{sync::Arc, time::Duration};

use node::{link::Link, run::probe};
use tokio::time::{Instant, sleep_until, timeout};

/// Silence after output that is worth a question.
const FIRST: Duration = Duration::from_millis(200);

/// The longest pause between two questions: what a link's keep-alive costs, too.
pub(super) const LONGEST: Duration = Duration::from_secs(5);

/// The same while a person types, who waits for each key to show.
pub(super) const LONGEST_OF_TERMINAL: Duration = Duration::from_secs(1);

/// How long an answer may take at least. One lost packet is sent again within that time.
const ANSWER_LIMIT: Duration = Duration::from_millis(200);

/// How many round trips it may take.
const ANSWER_TRIPS: u32 = 4;

type Question = std::pin::Pin<Box<dyn Future<Output = bool> + Send>>;

/// What is known of an agent's silence.
pub(super) struct Silence {
    since: Instant,
    pause: Duration,
    longest: Duration,
    question: Option<Question>,
}

impl std::fmt::Debug for Silence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Silence")
            .field("since", &self.since)
            .finish_non_exhaustive()
    }
}

impl Silence {
    /// Begins now, with pauses up to `longest`.
    pub(super) fn new(longest: Duration) -> Self {
        Self {
            since: Instant::now(),
            pause: FIRST,
            longest,
            question: None,
        }
    }

    /// Takes the news that the agent said something.
    pub(super) fn heard(&mut self) {
        *self = Self::new(self.longest);
    }

    /// Returns when the agent does not answer.
    ///
    /// # Cancel safety
    /// Goes on where it was when this is dropped and called again for the same link.
    pub(super) async fn unanswered(&mut self, link: &Arc<Link>) {
        loop {
            let question = match &mut self.question {
                Some(question) => question,
                None => {
                    sleep_until(self.since + self.pause).await;
                    self.question.insert(ask(Arc::clone(link)))
                }
            };
            let answered = question.await;
            self.question = None;
            self.since = Instant::now();
            if !answered {
                return;
            }
            self.pause = (self.pause * 2).min(self.longest);
        }
    }
}

fn ask(link: Arc<Link>) -> Question {
    Box::pin(async move {
        let limit = ANSWER_LIMIT.max(link.rtt() * ANSWER_TRIPS);
        matches!(timeout(limit, probe(&link)).await, Ok(Ok(())))
    })
}
