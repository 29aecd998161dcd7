//! A run that was asked for, until its outcome is known: over one link after another, if it must.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use node::{
    clock::now_ms,
    link::{DialError, Link, Pace},
    links::{Found, Links},
    run::{BrokenRun, CancelError, Run, StdinSender, cancel},
};
use proto::{
    id::{NodeName, RunId},
    run::{Ended, KnownOfLost, OnLinkLoss, Outcome, Progress, Refusal, RunRequest},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::{
    RunError,
    eagerness::Eagerness,
    silence::{LONGEST, LONGEST_OF_TERMINAL, Silence},
};

/// How long a caller looks for the way back when the request does not say how long the agent waits.
const LOOK_FOR: Duration = Duration::from_secs(600);

/// How long a link may be away before that is worth a word.
const WORTH_A_WORD: Duration = Duration::from_secs(2);

/// How a run ended whose cancellation overtook its request.
static NEVER_STARTED: Outcome = Outcome::NotStarted;

type WayBack = Pin<Box<dyn Future<Output = Result<Found, DialError>> + Send>>;

/// A run that was asked for. Its end is an [`Outcome`], always.
pub struct Running {
    id: RunId,
    run: Run,
    found: Found,
    links: Arc<Links>,
    /// What was asked for, if it was asked for here.
    request: Option<Box<RunRequest>>,
    acknowledged: Option<(Outcome, Ended)>,
    silence: Silence,
    eagerness: Eagerness,
    /// Whether the run is to be attached to on the link that it has.
    attach_here: bool,
    /// Whether it has left its first link.
    moved: bool,
    way_back: Option<WayBack>,
    /// Since when the link is away, and whether that was said.
    away: Option<(Instant, Said)>,
    pace: Pace,
    /// The link of the moment, for those who cancel.
    link: watch::Sender<Arc<Link>>,
    /// Whether somebody here did.
    cancelled: Arc<AtomicBool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Yes,
    No,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("id", &self.id)
            .field("target", self.target())
            .field("run", &self.run)
            .finish_non_exhaustive()
    }
}

/// What happens to a run next.
enum Step {
    Heard(Option<Progress>),
    /// The agent does not answer on this link.
    Silent,
    Found(Result<Found, DialError>),
    Overdue,
    StillAway,
}

impl Running {
    pub(super) fn new(run: Run, id: RunId, found: Found, links: Arc<Links>) -> Self {
        let link = watch::Sender::new(Arc::clone(&found.link));
        Self {
            id,
            run,
            found,
            links,
            request: None,
            acknowledged: None,
            silence: Silence::new(LONGEST),
            eagerness: Eagerness::default(),
            attach_here: false,
            moved: false,
            way_back: None,
            away: None,
            pace: Pace::Full,
            link,
            cancelled: Arc::default(),
        }
    }

    pub(super) fn of_request(mut self, request: RunRequest) -> Self {
        if request.stdin.is_terminal() {
            self.silence = Silence::new(LONGEST_OF_TERMINAL);
        }
        self.request = Some(Box::new(request));
        self
    }

    pub(super) const fn found(&self) -> &Found {
        &self.found
    }

    /// Returns the id of the run.
    #[must_use]
    pub const fn id(&self) -> RunId {
        self.id
    }

    /// Returns on which agent it runs.
    #[must_use]
    pub fn target(&self) -> &NodeName {
        &self.found.link.peer().name
    }

    /// Sets how much the agent may send before it is read.
    pub fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
        self.found.link.set_pace(pace);
    }

    /// Takes the way to standard input, if there is one.
    pub fn take_stdin(&mut self) -> Option<StdinSender> {
        self.run.take_stdin()
    }

    /// Returns what happens next, and `None` after the end.
    ///
    /// A link that is lost, or goes silent, is replaced meanwhile: [`Progress::Away`] says that it takes
    /// its time, [`Progress::Attached`] that the run goes on.
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped.
    pub async fn next(&mut self) -> Option<Progress> {
        loop {
            if self.run.is_away() {
                if std::mem::take(&mut self.attach_here) {
                    self.resume().await;
                }
                if self.run.is_away() {
                    self.look_for_way_back();
                }
            }
            match self.step().await {
                Step::Heard(Some(Progress::Away)) => {}
                Step::Heard(Some(earlier @ Progress::Earlier(_))) => {
                    self.heard(Some(&earlier));
                    // Who repeats a request takes nobody's place; this one is meant.
                    if self.is_kept() {
                        self.run.leave();
                        self.attach_here = true;
                    }
                    return Some(earlier);
                }
                Step::Heard(progress) => {
                    self.heard(progress.as_ref());
                    return progress;
                }
                Step::Silent => self.look_for_way_back(),
                Step::Found(Ok(found)) => self.go_on_at(found).await,
                Step::Found(Err(error)) => {
                    tracing::warn!(%error, "there is no way back to the run");
                    return Some(self.give_up());
                }
                Step::Overdue => return Some(self.give_up()),
                Step::StillAway => {
                    self.away = self.away.map(|(since, _)| (since, Said::Yes));
                    return Some(Progress::Away);
                }
            }
        }
    }

    async fn step(&mut self) -> Step {
        let limit = self.limit();
        let away = self.away;
        let may_be_kept = self.is_kept();
        let link = Arc::clone(&self.found.link);
        tokio::select! {
            biased; // a run that speaks needs no timers
            progress = self.run.next(&link) => Step::Heard(progress),
            found = found(&mut self.way_back) => {
                self.way_back = None;
                Step::Found(found)
            }
            () = self.silence.unanswered(&link), if may_be_kept && away.is_none() => Step::Silent,
            () = until(away.map(|(since, _)| since + limit)) => Step::Overdue,
            () = until(unsaid(away)) => Step::StillAway,
        }
    }

    /// Takes the agent's word on how the run ended, from the answer to a cancellation. It counts
    /// where the run's own stream breaks before it says so.
    pub fn acknowledged(&mut self, ended: Ended) {
        self.acknowledged = ended.result.outcome().map(|outcome| (outcome, ended));
    }

    /// Takes the agent's refusal of a cancellation: the run ended by itself, or was never started.
    pub fn not_cancelled(&mut self, refusal: &Refusal) {
        if *refusal == Refusal::GivenUp {
            self.run.not_started();
        }
    }

    /// Returns how the run ended, once it has.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        match (self.run.outcome()?, &self.acknowledged) {
            (Outcome::Lost(_), Some((outcome, _))) => Some(outcome),
            // The cancellation came first, and its answer may come later than the request's.
            (Outcome::Refused(Refusal::GivenUp), _) if self.cancelled.load(Ordering::Relaxed) => {
                Some(&NEVER_STARTED)
            }
            (outcome, _) => Some(outcome),
        }
    }

    /// Returns the agent's account of the end, if it gave one.
    #[must_use]
    pub fn ended(&self) -> Option<&Ended> {
        let acknowledged = self.acknowledged.as_ref().map(|(_, ended)| ended);
        self.run.ended().or(acknowledged)
    }

    /// Returns what is known of the run so far.
    #[must_use]
    pub const fn known(&self) -> KnownOfLost {
        self.run.known()
    }

    /// Returns how many bytes of output were no longer kept when they were asked for.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.run.left_out()
    }

    /// Returns what broke the run, if something did.
    #[must_use]
    pub const fn broken(&self) -> Option<&BrokenRun> {
        self.run.broken()
    }

    /// Returns why the target did not let this controller in, if that is how the run ended.
    ///
    /// Requests are sent before the target has judged this controller's certificate. It refuses by
    /// TLS, before it looks at any request.
    #[must_use]
    pub fn not_let_in(&self) -> Option<RunError> {
        let Some(Outcome::Lost(KnownOfLost { started: false, .. })) = self.outcome() else {
            return None;
        };
        if self.moved {
            return None; // what became of the first request, nobody said
        }
        let Some(BrokenRun::Link(source @ DialError::Refused { .. })) = self.broken() else {
            return None;
        };
        Some(RunError::NotLetIn {
            target: self.target().clone(),
            source: source.clone(),
        })
    }

    /// Returns the means to cancel the run while its output is being read.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller {
            id: self.id,
            link: self.link.subscribe(),
            cancelled: Arc::clone(&self.cancelled),
        }
    }

    fn heard(&mut self, progress: Option<&Progress>) {
        self.silence.heard();
        if let Some(Progress::Started(_) | Progress::Stdout(_) | Progress::Stderr(_)) = progress {
            self.eagerness.served();
        }
        if !self.run.is_away() {
            // Whatever was suspected of the link, it speaks.
            self.way_back = None;
            self.away = None;
        }
    }

    fn look_for_way_back(&mut self) {
        self.away.get_or_insert((Instant::now(), Said::No));
        if self.way_back.is_none() {
            let (links, lost) = (Arc::clone(&self.links), Arc::clone(&self.found.link));
            let pause = self.eagerness.pause(Instant::now());
            self.way_back = Some(Box::pin(async move {
                sleep(pause).await;
                links.back_to(lost).await
            }));
        }
    }

    /// Goes on with the run over a new link.
    async fn go_on_at(&mut self, found: Found) {
        self.run.leave();
        self.moved = true;
        self.eagerness.found(Instant::now());
        found.link.set_pace(self.pace);
        self.silence.heard();
        self.link.send_replace(Arc::clone(&found.link));
        let before = std::mem::replace(&mut self.found, found);
        self.links.let_go(&before.link);
        self.resume().await;
    }

    async fn resume(&mut self) {
        let request = self.request.as_mut().map(|request| {
            // The agent judges by its window whether the question is fresh.
            request.issued_at_ms = now_ms();
            &**request
        });
        if let Err(error) = self.run.resume(&self.found.link, request).await {
            tracing::debug!(%error, "the way back broke, too");
        }
    }

    fn give_up(&mut self) -> Progress {
        self.run.leave();
        self.run.give_up();
        self.way_back = None;
        Progress::Over
    }

    fn is_kept(&self) -> bool {
        let request = self.request.as_ref();
        request.is_none_or(|request| request.on_link_loss != OnLinkLoss::End)
    }

    /// How long the way back is looked for: as long as the agent waits.
    fn limit(&self) -> Duration {
        match self.request.as_ref().map(|request| request.on_link_loss) {
            Some(OnLinkLoss::Keep { orphan_ms }) => Duration::from_millis(orphan_ms),
            Some(OnLinkLoss::End | OnLinkLoss::Detach) | None => LOOK_FOR,
        }
    }
}

async fn found(way_back: &mut Option<WayBack>) -> Result<Found, DialError> {
    match way_back {
        Some(way_back) => way_back.await,
        None => std::future::pending().await,
    }
}

fn unsaid(away: Option<(Instant, Said)>) -> Option<Instant> {
    match away {
        Some((since, Said::No)) => Some(since + WORTH_A_WORD),
        Some((_, Said::Yes)) | None => None,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// The means to cancel a run.
#[derive(Debug, Clone)]
pub struct Canceller {
    id: RunId,
    link: watch::Receiver<Arc<Link>>,
    cancelled: Arc<AtomicBool>,
}

impl Canceller {
    /// Ends the run and all its processes, and waits for the agent's word that they are gone. Where the
    /// link is lost or silent, it is asked on the next one.
    ///
    /// # Errors
    /// The agent did not say so.
    pub async fn cancel(&self, grace: Duration) -> Result<Ended, CancelError> {
        let mut links = self.link.clone();
        self.cancelled.store(true, Ordering::Relaxed);
        loop {
            let link = Arc::clone(&links.borrow_and_update());
            let asked = tokio::select! {
                asked = cancel(&link, self.id, grace) => asked,
                Ok(()) = links.changed() => continue,
            };
            match asked {
                // The run itself looks for another one, for as long as that has sense.
                Err(CancelError::Link(error)) => match links.changed().await {
                    Ok(()) => {}
                    Err(_) => return Err(CancelError::Link(error)),
                },
                done => return done,
            }
        }
    }
}
