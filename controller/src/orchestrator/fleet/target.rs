//! One target of a fleet: it is asked, heard and, where it must be, cancelled.
//!
//! **Invariant:** neither the target nor whoever shows its output is waited for alone: a
//! cancellation is always heard.

use std::{collections::VecDeque, pin::pin, sync::Arc};

use node::{link::Pace, run::StdinSender};
use proto::{
    id::NodeName,
    run::{Ended, KnownOfLost, Outcome, Progress},
};
use tokio::sync::watch;

use super::{End, Event, Shared, Skip, What, input::Feed};
use crate::{
    maybe::maybe,
    orchestrator::RunError,
    output::{
        Stream,
        backlog::{Backlog, Bounds},
        chain,
    },
    runner::{CancelError, Canceller, Running},
};

/// News of one target that wait to be told, before no more is heard: a peer can make any number.
const NEWS: usize = 16;

/// What a target's task works with.
pub(super) struct Job {
    pub(super) shared: Arc<Shared>,
    pub(super) target: NodeName,
    pub(super) feed: Option<Feed>,
    pub(super) cancel: watch::Receiver<bool>,
}

/// Returns the outcome of which nothing is known.
pub(super) const fn not_known() -> Outcome {
    Outcome::Lost(KnownOfLost {
        sent: true,
        started: false,
        ended: None,
        stdout_bytes: 0,
        stderr_bytes: 0,
    })
}

impl Job {
    /// Does it all, and says how it ended.
    pub(super) async fn run(mut self) {
        let end = match self.start().await {
            Ok(running) => self.hear(running).await,
            Err(_) if *self.cancel.borrow() => End::Skipped(Skip::Interrupted),
            Err(error) => not_started(&error),
        };
        self.over();
        self.say(What::Ended(end)).await;
    }

    async fn say(&self, what: What) {
        let target = self.target.clone();
        // Whoever no longer listens has said that it leaves.
        drop(self.shared.events.send(Event { target, what }).await);
    }

    fn over(&self) {
        self.shared.lock_afoot().remove(&self.target);
    }

    /// Asks the target; one that is not reached is looked up once more.
    async fn start(&self) -> Result<Running, RunError> {
        let mut wish = self.shared.wish.clone();
        wish.target = self.target.clone();
        let runner = &self.shared.runner;
        let unwanted = || async { asked_to_end(&mut self.cancel.clone()).await };
        match runner.start_unless(unwanted(), wish.clone()).await {
            Err(error) if may_be_looked_up_again(&error) && !*self.cancel.borrow() => {
                tracing::debug!(target = %self.target, %error, "looked up once more");
                runner.start_unless(unwanted(), wish).await
            }
            first => first,
        }
    }

    async fn hear(&mut self, running: Running) -> End {
        let canceller = running.canceller();
        let mut hearing = Hearing {
            running,
            backlog: Backlog::new(Bounds::MANY),
            news: VecDeque::new(),
            gap: 0,
            over: false,
            away: false,
            pace: Pace::Full,
        };
        let stdin = hearing.running.take_stdin();
        let feed = stdin.zip(self.feed.take());
        let listened = self.listen(&mut hearing, &canceller, feed).await;
        let running = hearing.running;
        self.shared.runner.note_target(&running);
        if !listened {
            tracing::debug!(target = %self.target, "left while it ran");
        }
        if let Some(refused) = running.not_let_in() {
            return not_started(&refused);
        }
        End::Over {
            outcome: running.outcome().cloned().unwrap_or(not_known()),
            ended: running.ended().cloned(),
            broken: running.broken().map(chain),
            left_out: running.left_out(),
        }
    }

    /// Passes on what happens until the end, and tells whether somebody listened until then.
    async fn listen(
        &mut self,
        hearing: &mut Hearing,
        canceller: &Canceller,
        feed: Option<(StdinSender, Feed)>,
    ) -> bool {
        let grace = self.shared.grace;
        let mut feeding = pin!(feed.map(|(to, feed)| give(to, feed)));
        let mut cancelling = pin!(None);
        let mut cancelled = false;
        while !hearing.is_over() {
            tokio::select! {
                biased; // output may always be ready, and the rest must be heard
                () = asked_to_end(&mut self.cancel), if !cancelled => {
                    cancelled = true;
                    cancelling.set(Some(canceller.cancel(grace)));
                }
                acknowledged = maybe(cancelling.as_mut()) => {
                    cancelling.set(None);
                    if hearing.acknowledged(acknowledged) {
                        self.over();
                    }
                }
                given = maybe(feeding.as_mut()) => {
                    feeding.set(None);
                    if let (Err(why), false) = (given, cancelled || hearing.over) {
                        // What it has read so far must not count as the whole.
                        let note = format!("standard input cannot be read to its end: {why}; cancelling");
                        hearing.news.push_back(What::Note(note));
                        cancelled = true;
                        cancelling.set(Some(canceller.cancel(grace)));
                    }
                }
                place = self.shared.events.reserve(), if hearing.has_news() => {
                    let (Ok(place), Some(what)) = (place, hearing.news()) else {
                        return false;
                    };
                    let target = self.target.clone();
                    place.send(Event { target, what });
                }
                progress = hearing.running.next(), if hearing.takes_more() => {
                    hearing.take(progress);
                }
                () = hearing.backlog.stall() => hearing.backlog.read_on(),
            }
            // An acknowledgement must find room in the link's window, whatever else waits.
            hearing.keep_pace(cancelling.is_none());
        }
        true
    }
}

/// A run that is being heard.
struct Hearing {
    running: Running,
    backlog: Backlog,
    /// What is to be told before the output that waits.
    news: VecDeque<What>,
    /// Bytes that are no longer kept there, and of which nobody was told yet.
    gap: u64,
    over: bool,
    /// Whether the link was said to be lost.
    away: bool,
    pace: Pace,
}

impl Hearing {
    fn is_over(&self) -> bool {
        self.over && !self.has_news()
    }

    fn has_news(&self) -> bool {
        !(self.news.is_empty() && self.gap == 0 && self.backlog.is_empty())
    }

    fn takes_more(&self) -> bool {
        !self.over && self.news.len() < NEWS && self.backlog.takes_more()
    }

    fn news(&mut self) -> Option<What> {
        let output = |(stream, bytes)| What::Output(stream, bytes);
        let news = self.news.pop_front().or_else(|| self.missing());
        news.or_else(|| self.backlog.pop().map(output))
    }

    /// Tells of all that is missing at once.
    fn missing(&mut self) -> Option<What> {
        let gap = std::mem::take(&mut self.gap);
        (gap > 0).then(|| What::Note(format!("{gap} bytes of its output are no longer kept")))
    }

    fn take(&mut self, progress: Option<Progress>) {
        match progress {
            Some(Progress::Started(started)) => self.news.push_back(What::Started(started)),
            Some(Progress::Earlier(earlier)) => self.news.push_back(What::Earlier(earlier)),
            Some(Progress::Stdout(bytes)) => self.backlog.push(Stream::Stdout, bytes),
            Some(Progress::Stderr(bytes)) => self.backlog.push(Stream::Stderr, bytes),
            Some(Progress::Away) => {
                self.away = true;
                let note = "the link is lost, and the run goes on there; looking for the way back";
                self.news.push_back(What::Note(note.into()));
            }
            Some(Progress::Attached { left_out, .. }) => self.attached(left_out),
            Some(Progress::Over) => {}
            None => self.over = true,
        }
    }

    fn attached(&mut self, left_out: u64) {
        if std::mem::take(&mut self.away) {
            self.news.push_back(What::Note("the link is back".into()));
        }
        self.gap = self.gap.saturating_add(left_out);
    }

    /// Takes the answer to a cancellation, and tells whether the run is surely over.
    fn acknowledged(&mut self, acknowledged: Result<Ended, CancelError>) -> bool {
        match acknowledged {
            Ok(ended) => {
                self.running.acknowledged(ended);
                true
            }
            // It ended by itself meanwhile, or never began.
            Err(CancelError::Refused(refusal)) => {
                self.running.not_cancelled(&refusal);
                true
            }
            Err(error @ CancelError::Unheard(_)) => {
                let why = chain(&error);
                let note = format!("the cancellation is not confirmed: {why}");
                self.news.push_back(What::Note(note));
                false
            }
        }
    }

    fn keep_pace(&mut self, may_hold_back: bool) {
        let holds_back = self.pace == Pace::Least;
        let wanted = if may_hold_back && self.backlog.is_long(holds_back) {
            Pace::Least
        } else {
            Pace::Full
        };
        if self.pace != wanted {
            self.pace = wanted;
            self.running.set_pace(wanted);
        }
    }
}

/// Tells whether `error` proves that the target was not reached, rather than what it said.
const fn may_be_looked_up_again(error: &RunError) -> bool {
    match error {
        RunError::Unreachable(_) | RunError::Hello { .. } => true,
        RunError::Start { source, .. } | RunError::Attach { source, .. } => match source {
            node::run::StartRunError::Link(_) => true,
            node::run::StartRunError::TooLong(_) => false,
        },
        RunError::Told(told) => told.unreachable,
        RunError::Request(_) | RunError::NotLetIn { .. } => false,
    }
}

fn not_started(error: &RunError) -> End {
    End::NotStarted {
        unreachable: may_be_looked_up_again(error) || matches!(error, RunError::NotLetIn { .. }),
        why: chain(error),
    }
}

/// Gives a run its standard input. An error is the reason why it is not complete.
async fn give(mut to: StdinSender, mut feed: Feed) -> Result<(), String> {
    while let Some(piece) = feed.next().await {
        if to.send(piece?).await.is_err() {
            return Ok(()); // the run has ended, which says more
        }
    }
    to.finish().await;
    Ok(())
}

/// Waits until the whole is to end; for ever if nobody can say so any more.
async fn asked_to_end(cancel: &mut watch::Receiver<bool>) {
    if cancel.wait_for(|asked| *asked).await.is_err() {
        std::future::pending().await
    }
}
