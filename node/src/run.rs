//! The caller's half of a run: from the request to the outcome, over as many streams as it takes.
//!
//! Owns sending the request, attaching again, and hearing the agent. Which link, policy and display
//! are not its business; the legal order of frames is `proto`'s.
//!
//! **Invariant:** a request that was not sent is an error of [`Run::start`], which proves that nothing
//! was started; after it, [`Run::next`] ends with an [`Outcome`], or says [`Progress::Away`] for as
//! long as the run may be attached to again.

mod stdin;

use std::time::Duration;

use proto::{
    codec::EncodeError,
    frame::{Cancel, Frame},
    id::RunId,
    run::{
        Again, Attach, CallerRun, CallerViolation, Ended, Hold, KnownOfLost, OnLinkLoss, Outcome,
        Progress, Refusal, RunRequest, StdinMode,
    },
};
use quinn::SendStream;

use self::stdin::Feed;
pub use self::stdin::{InputGap, StdinClosed, StdinSender};
use crate::{
    close::CloseCode,
    fault,
    link::{DialError, FrameReader, Link, ReadFrameError, SendFrameError, send_frame},
};

/// A run that was asked for.
#[derive(Debug)]
pub struct Run {
    id: RunId,
    frames: Option<FrameReader>,
    state: CallerRun,
    hold: Hold,
    /// The way to standard input, until somebody takes it.
    stdin: Option<StdinSender>,
    feed: Option<Feed>,
    /// The other half of a stream that attaches: for input, once the agent says from where.
    send: Option<SendStream>,
    broken: Option<BrokenRun>,
}

/// Why a request was not sent. Nothing was started by it.
#[derive(Debug, thiserror::Error)]
pub enum StartRunError {
    /// The link broke before.
    #[error("the link broke before the request was sent")]
    Link(#[source] DialError),
    /// The request is too long for a frame.
    #[error("the command is too long to be sent")]
    TooLong(#[source] EncodeError),
}

/// What broke the stream of a run.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BrokenRun {
    /// The link was lost.
    #[error("the link was lost")]
    Link(#[source] DialError),
    /// The agent ended the stream without a word.
    #[error("the agent ended the stream before the run's end")]
    Stream,
    /// The agent sent what the protocol does not allow.
    #[error("the agent broke the protocol")]
    Violation(#[source] CallerViolation),
    /// The agent wants input again that is not there any more.
    #[error("the agent broke the protocol")]
    Input(#[source] InputGap),
    /// The agent sent what is no frame.
    #[error("the agent broke the protocol: {0}")]
    Garbage(String),
}

impl BrokenRun {
    /// Tells whether another link may mend it: the peer on this one is to be believed, and only gone.
    const fn may_mend(&self) -> bool {
        match self {
            Self::Link(error) => !error.is_final(),
            Self::Stream => true,
            Self::Violation(_) | Self::Input(_) | Self::Garbage(_) => false,
        }
    }
}

impl Run {
    /// Sends the request.
    ///
    /// # Errors
    /// The request was not sent, which proves that nothing was started.
    pub async fn start(link: &Link, request: &RunRequest) -> Result<Self, StartRunError> {
        fault::point("caller-before-request");
        let (send, frames) = ask(link, Frame::Run(Box::new(request.clone()))).await?;
        fault::point("caller-after-request");
        let mut run = Self::of(
            request.id,
            CallerRun::sent(request.on_link_loss),
            Hold::Take,
        );
        run.frames = Some(frames);
        match request.stdin {
            StdinMode::Piped | StdinMode::Terminal { .. } => {
                let (sender, feed) = Feed::open(send);
                run.stdin = Some(sender);
                run.feed = Some(feed);
            }
            StdinMode::Closed => finish(send),
        }
        Ok(run)
    }

    /// Attaches to a run that was asked for before, by whomever, and of which nothing is here.
    ///
    /// # Errors
    /// That was not sent.
    pub async fn attach(link: &Link, id: RunId, hold: Hold) -> Result<Self, StartRunError> {
        let mut run = Self::of(id, CallerRun::attaching(OnLinkLoss::Detach), hold);
        run.resume(link, None).await?;
        Ok(run)
    }

    /// Takes over a run of which somebody else knows this much, to be [resumed](Self::resume).
    #[must_use]
    pub fn away(id: RunId, known: KnownOfLost, left_out: u64, hold: Hold) -> Self {
        let state = CallerRun::away(known, left_out, OnLinkLoss::Detach);
        Self::of(id, state, hold)
    }

    const fn of(id: RunId, state: CallerRun, hold: Hold) -> Self {
        Self {
            id,
            frames: None,
            state,
            hold,
            stdin: None,
            feed: None,
            send: None,
            broken: None,
        }
    }

    /// Goes on over another link: attaches where this caller's output ends, or repeats the `request`
    /// that nobody answered. Without one, it attaches in any case.
    ///
    /// # Errors
    /// That was not sent; it can be tried again.
    ///
    /// # Cancel safety
    /// When this is dropped, the run is still away.
    pub async fn resume(
        &mut self,
        link: &Link,
        request: Option<&RunRequest>,
    ) -> Result<(), StartRunError> {
        let mut state = self.state.clone();
        let repeats = match (state.again(), request) {
            (Again::Request, Some(request)) => Some(Frame::Run(Box::new(request.clone()))),
            (Again::Request | Again::Attach { .. }, _) => None,
        };
        let is_request = repeats.is_some();
        let known = self.state.known();
        let frame = repeats.unwrap_or(Frame::Attach(Attach {
            run: self.id,
            stdout_from: known.stdout_bytes,
            stderr_from: known.stderr_bytes,
            hold: self.hold,
        }));
        fault::point("caller-before-resume");
        let (send, frames) = ask(link, frame).await?;
        fault::point("caller-after-resume");
        self.state = state;
        self.frames = Some(frames);
        match &mut self.feed {
            // A process that starts now takes it from the beginning.
            Some(feed) if is_request => drop(feed.resume(send, Some(0))),
            Some(_) => self.send = Some(send),
            None => finish(send),
        }
        Ok(())
    }

    /// Takes the way to the process's standard input, if the request asked for one.
    pub fn take_stdin(&mut self) -> Option<StdinSender> {
        self.stdin.take()
    }

    /// Returns what happens next, and `None` after the run is over; see [`Self::outcome`]. While the
    /// run is away, nothing does.
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped.
    pub async fn next(&mut self, link: &Link) -> Option<Progress> {
        if self.state.outcome().is_some() {
            return None;
        }
        let Some(frames) = &mut self.frames else {
            return std::future::pending().await;
        };
        let read = match &mut self.feed {
            Some(feed) => tokio::select! {
                read = frames.next() => read,
                () = feed.pump() => return std::future::pending().await,
            },
            None => frames.next().await,
        };
        let broken = match read {
            Ok(Some(frame)) => match self.state.handle_frame(frame) {
                Ok(progress) => match self.go_on(&progress) {
                    Ok(()) => {
                        fault::point(fault_after(&progress));
                        return Some(progress);
                    }
                    Err(gap) => BrokenRun::Input(gap),
                },
                Err(violation) => BrokenRun::Violation(violation),
            },
            Ok(None) | Err(ReadFrameError::Stream { .. }) => broken_stream(link),
            Err(error @ (ReadFrameError::Decode(_) | ReadFrameError::CutShort)) => {
                BrokenRun::Garbage(error.to_string())
            }
        };
        Some(self.break_off(broken))
    }

    /// Leaves the link on which the run is heard, which may have gone silent.
    pub fn leave(&mut self) {
        self.frames = None;
        self.send = None;
        if let Some(feed) = &mut self.feed {
            feed.lost();
        }
        let _ = self.state.handle_lost();
    }

    /// Takes the agent's promise, from the answer to a cancellation, that nothing was started.
    pub fn not_started(&mut self) {
        self.state.handle_not_started();
    }

    /// Stops hoping for another link.
    pub fn give_up(&mut self) {
        self.state.give_up();
    }

    /// Tells whether the run waits for another link.
    #[must_use]
    pub const fn is_away(&self) -> bool {
        self.state.is_away()
    }

    /// Returns how the run ended, once it has.
    #[must_use]
    pub const fn outcome(&self) -> Option<&Outcome> {
        self.state.outcome()
    }

    /// Returns the agent's account of the end, if it gave one.
    #[must_use]
    pub const fn ended(&self) -> Option<&Ended> {
        self.state.ended()
    }

    /// Returns what this caller knows of the run.
    #[must_use]
    pub const fn known(&self) -> KnownOfLost {
        self.state.known()
    }

    /// Returns how many bytes of output were no longer kept when this caller asked for them.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.state.left_out()
    }

    /// Returns what broke the run's last stream, if something did.
    #[must_use]
    pub const fn broken(&self) -> Option<&BrokenRun> {
        self.broken.as_ref()
    }

    /// Lets input go on where the agent says.
    fn go_on(&mut self, progress: &Progress) -> Result<(), InputGap> {
        let (Progress::Attached { attached, .. }, Some(feed)) = (progress, &mut self.feed) else {
            return Ok(());
        };
        match self.send.take() {
            Some(send) => feed.resume(send, attached.stdin_from),
            None => Ok(()),
        }
    }

    fn break_off(&mut self, broken: BrokenRun) -> Progress {
        let may_mend = broken.may_mend();
        self.broken = Some(broken);
        self.leave();
        if !may_mend {
            self.state.give_up();
        }
        match self.state.is_away() {
            true => Progress::Away,
            false => Progress::Over,
        }
    }
}

/// Names the point at which a caller has heard this and nobody was told.
const fn fault_after(progress: &Progress) -> &'static str {
    match progress {
        Progress::Started(_) => "caller-heard-start",
        Progress::Earlier(_) => "caller-heard-earlier",
        Progress::Attached { .. } => "caller-heard-attached",
        Progress::Stdout(_) | Progress::Stderr(_) => "caller-heard-output",
        Progress::Away | Progress::Over => "caller-heard-end",
    }
}

/// Opens a stream and sends its first frame.
async fn ask(link: &Link, first: Frame) -> Result<(SendStream, FrameReader), StartRunError> {
    let (mut send, frames) = link.open().await.map_err(StartRunError::Link)?;
    match send_frame(&mut send, &first).await {
        Ok(()) => {}
        Err(SendFrameError::Encode(error)) => return Err(StartRunError::TooLong(error)),
        // Part of it may have left, so this is no proof: the stream tells the rest.
        Err(SendFrameError::Stream { .. }) => {}
    }
    Ok((send, frames))
}

fn finish(mut send: SendStream) {
    // Fails only if the stream is closed, which reading shows.
    drop(send.finish());
}

fn broken_stream(link: &Link) -> BrokenRun {
    match link.closed() {
        Some(error) => BrokenRun::Link(error),
        None => BrokenRun::Stream,
    }
}

/// Asks whether the peer is there, and waits for its answer.
///
/// # Errors
/// The link is lost, or the peer does not follow the protocol.
pub async fn probe(link: &Link) -> Result<(), StartRunError> {
    let (send, mut frames) = ask(link, Frame::Probe).await?;
    finish(send);
    // Whatever it says, it is there.
    match frames.next().await {
        Ok(_) => Ok(()),
        Err(_) => match link.closed() {
            Some(error) => Err(StartRunError::Link(error)),
            None => Ok(()),
        },
    }
}

/// Why a cancellation is not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    /// The agent knows no such run in progress.
    #[error("{0}")]
    Refused(Refusal),
    /// The link was lost.
    #[error("the link was lost")]
    Link(#[source] DialError),
    /// The agent broke the protocol.
    #[error("the agent does not answer as the protocol asks")]
    Violation,
}

/// Ends a run and all its processes, and waits for the agent's word that they are gone.
///
/// # Errors
/// The agent did not say so.
pub async fn cancel(link: &Link, run: RunId, grace: Duration) -> Result<Ended, CancelError> {
    let lost = |_| match link.closed() {
        Some(error) => CancelError::Link(error),
        None => CancelError::Violation,
    };
    let (mut send, mut frames) = link.open().await.map_err(CancelError::Link)?;
    let grace_ms = u32::try_from(grace.as_millis()).unwrap_or(u32::MAX);
    let frame = Frame::Cancel(Cancel { run, grace_ms });
    send_frame(&mut send, &frame)
        .await
        .map_err(|_| ())
        .map_err(lost)?;
    drop(send.finish());
    match frames.next().await.map_err(|_| ()).map_err(lost)? {
        Some(Frame::Ended(ended)) => Ok(ended),
        Some(Frame::Refused(refusal)) => Err(CancelError::Refused(refusal)),
        Some(_) => {
            link.close(CloseCode::ProtocolViolation);
            Err(CancelError::Violation)
        }
        None => Err(lost(())),
    }
}
