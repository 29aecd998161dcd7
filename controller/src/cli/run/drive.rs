//! Drives a run to its end: shows what it says and how it ended, feeds it, and hears Ctrl-C.
//!
//! **Invariant:** nothing here waits for a reader of this process's output or for the agent alone:
//! an interruption is always heard.

use std::{io, time::Duration};

use bytes::Bytes;
use node::link::Pace;
use proto::{
    id::NodeName,
    run::{Ended, Outcome, Progress, Refusal, Tree},
};
use tokio::{task::JoinSet, time::timeout};

use super::stdin::{self, Source};
use crate::{
    cli::interrupt::{Interrupted, Interrupts, LAST_WORDS},
    config::DEFAULT_GRACE,
    maybe::maybe,
    output::{
        self, Characters, Sink, Stream, View, WriteError,
        backlog::{Backlog, Bounds},
        chain,
        events::{Event, harmless_pretty_json},
        report::{Content, Gathered, Left, Report},
    },
    runner::{CancelError, Running},
};

/// What the caller wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Shown {
    /// The output's bytes, on the same streams.
    Bytes(View),
    /// One JSON object at the end.
    Json,
    /// A JSON object for each event.
    Ndjson,
}

impl Shown {
    /// Returns what stands at the end, for programs.
    pub(in crate::cli) fn last(self, mut report: Report, gathered: Gathered) -> Option<String> {
        match self {
            Self::Json => {
                report.output = Some(gathered);
                Some(harmless_pretty_json(&report) + "\n")
            }
            Self::Ndjson => Some(Event::Ended(&report).line()),
            Self::Bytes(_) => None,
        }
    }
}

/// What Ctrl-C means, and everything else that ends the hearing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum OnInterrupt {
    /// The run is cancelled; its processes get this time to end by themselves.
    Cancel {
        /// How long that is.
        grace: Duration,
    },
    /// The run is left as it is.
    Leave,
}

impl OnInterrupt {
    /// How long processes get that are ended because their output cannot be shown.
    const fn grace(self) -> Duration {
        match self {
            Self::Cancel { grace } => grace,
            Self::Leave => DEFAULT_GRACE,
        }
    }
}

/// How driving ended.
pub(in crate::cli) enum Driven {
    /// The run is over, and everything was shown.
    Over,
    /// A Ctrl-C that waits for nothing more: the run may go on, or its output was not all written.
    LeftEarly,
    /// Output could not be written here, and the run was cancelled for it if it still ran.
    OutputFailed(WriteError),
}

/// What driving needs of this process, had before anything is started elsewhere.
pub(in crate::cli) struct Stage {
    shown: Shown,
    asked: Asked,
    sink: Sink,
}

/// When the run was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Asked {
    /// Now.
    Now,
    /// Before, by whomever: an agent that knows no such run of this controller is no run's end.
    Before,
}

impl Stage {
    /// Sets the stage.
    pub(in crate::cli) fn set(shown: Shown, asked: Asked) -> Self {
        let view = match shown {
            Shown::Bytes(view) => view,
            Shown::Json | Shown::Ndjson => View::Raw,
        };
        let sink = Sink::new(view);
        Self { shown, asked, sink }
    }
}

struct Drive<'a> {
    target: NodeName,
    shown: Shown,
    asked: Asked,
    gathered: Gathered,
    /// Of both streams, what is not yet a whole character.
    text: [Characters; 2],
    /// Whether the link was said to be lost.
    away: bool,
    running: &'a mut Running,
}

/// Shows `running` until its end.
pub(in crate::cli) async fn drive(
    running: &mut Running,
    stage: Stage,
    source: Option<Source>,
    on_interrupt: OnInterrupt,
) -> Driven {
    let Stage { shown, asked, sink } = stage;
    let mut interrupts = Interrupts::listen();
    let mut feeding = JoinSet::new();
    if let (Some(source), Some(to)) = (source, running.take_stdin()) {
        feeding.spawn(stdin::feed(to, source));
    }
    let target = running.target().clone();
    let mut drive = Drive {
        target,
        shown,
        asked,
        gathered: Gathered::default(),
        text: [Characters::default(), Characters::default()],
        away: false,
        running,
    };
    let end = drive
        .until_over(&sink, &mut interrupts, &mut feeding, on_interrupt)
        .await;
    let last = drive.last(end, on_interrupt);
    if end == End::LeftEarly {
        if last.is_some() {
            // A reader that reads gets it; one that does not keeps nobody.
            drop(timeout(LAST_WORDS, write_last(sink, last)).await);
        }
        return Driven::LeftEarly;
    }
    tokio::select! {
        written = write_last(sink, last) => match written {
            Err(error) => Driven::OutputFailed(error),
            Ok(()) => Driven::Over,
        },
        () = interrupts.next() => {
            output::say(&format!("{}: {Interrupted}", drive.target));
            Driven::LeftEarly
        }
    }
}

/// Writes what is queued, and `last` behind it, so that neither lands in the other.
async fn write_last(sink: Sink, last: Option<String>) -> Result<(), WriteError> {
    if let Some(last) = last {
        // Why it is closed is said at its end.
        if let Ok(place) = sink.ready().await {
            place.write(Stream::Stdout, last.into());
        }
    }
    sink.finish().await
}

/// How hearing the run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Over,
    LeftEarly,
}

impl Drive<'_> {
    async fn until_over(
        &mut self,
        sink: &Sink,
        interrupts: &mut Interrupts,
        feeding: &mut JoinSet<io::Result<()>>,
        on_interrupt: OnInterrupt,
    ) -> End {
        let grace = on_interrupt.grace();
        let canceller = self.running.canceller();
        let mut cancelling = std::pin::pin!(None);
        let mut interrupted = false;
        let mut closed = false;
        let mut backlog = Backlog::new(Bounds::ONE);
        let mut pace = Pace::Full;
        let mut over = false;
        while !over || !backlog.is_empty() {
            tokio::select! {
                biased; // output may always be ready, and the rest must be heard
                () = interrupts.next() => {
                    if on_interrupt == OnInterrupt::Leave {
                        return End::LeftEarly;
                    }
                    if interrupted {
                        self.leave();
                        return End::LeftEarly;
                    }
                    interrupted = true;
                    cancelling.set(Some(canceller.cancel(grace)));
                    output::say(&format!(
                        "{}: cancelling; Ctrl-C again leaves at once",
                        self.target
                    ));
                }
                acknowledged = maybe(cancelling.as_mut()) => {
                    cancelling.set(None);
                    self.acknowledged(acknowledged);
                    if interrupted && backlog.is_long(true) {
                        output::say(&format!(
                            "{}: ended there; its output waits for its reader here, and Ctrl-C drops it",
                            self.target
                        ));
                    }
                }
                Some(fed) = feeding.join_next() => if let (Ok(Err(error)), false) = (fed, over) {
                    // What the process has read so far must not count as the whole.
                    cancelling.set(Some(canceller.cancel(grace)));
                    output::say(&format!(
                        "{}: standard input cannot be read to its end: {error}; cancelling",
                        self.target
                    ));
                },
                place = sink.ready(), if !backlog.is_empty() => match place {
                    Ok(place) => if let Some((stream, bytes)) = backlog.pop() {
                        place.write(stream, bytes);
                    },
                    Err(_) => {
                        backlog.clear();
                        if on_interrupt == OnInterrupt::Leave {
                            return End::Over;
                        }
                        if !closed && !over {
                            cancelling.set(Some(canceller.cancel(grace)));
                        }
                        closed = true;
                    }
                },
                progress = self.running.next(), if !over && backlog.takes_more() => match progress {
                    Some(progress) => match self.take(progress) {
                        Some((stream, bytes)) if !closed => backlog.push(stream, bytes),
                        Some(_) | None => {}
                    },
                    None => over = true,
                },
                () = backlog.stall() => backlog.read_on(),
            }
            // An acknowledgement must find room in the link's window, whatever else waits.
            let holds_back = backlog.is_long(pace == Pace::Least) && cancelling.is_none();
            self.keep_pace(&mut pace, if holds_back { Pace::Least } else { Pace::Full });
        }
        End::Over
    }

    fn keep_pace(&mut self, pace: &mut Pace, wanted: Pace) {
        if *pace != wanted {
            *pace = wanted;
            self.running.set_pace(wanted);
        }
    }

    /// Turns what happened into what is shown next.
    fn take(&mut self, progress: Progress) -> Option<(Stream, Bytes)> {
        if let Some(notice) = self.notice(&progress) {
            output::say(&format!("{}: {notice}", self.target));
        }
        if self.shown == Shown::Ndjson {
            return self.events(&progress).map(|lines| (Stream::Stdout, lines));
        }
        let (stream, bytes) = match progress {
            Progress::Stdout(bytes) => (Stream::Stdout, bytes),
            Progress::Stderr(bytes) => (Stream::Stderr, bytes),
            Progress::Started(_)
            | Progress::Earlier(_)
            | Progress::Attached { .. }
            | Progress::Away
            | Progress::Over => return None,
        };
        if self.shown == Shown::Json {
            let gathered = match stream {
                Stream::Stdout => &mut self.gathered.stdout,
                Stream::Stderr => &mut self.gathered.stderr,
            };
            gathered.push(&bytes);
            return None;
        }
        Some((stream, bytes))
    }

    /// Returns what a person should know of what happened.
    fn notice(&mut self, progress: &Progress) -> Option<String> {
        match progress {
            Progress::Earlier(_) => Some(
                "this run id was used before; nothing is started, and this is the first run's output and result".into(),
            ),
            Progress::Away => {
                self.away = true;
                Some(format!(
                    "the link is lost, and the run goes on there; looking for the way back (run {})",
                    self.running.id()
                ))
            }
            Progress::Attached { left_out, .. } => {
                let back = std::mem::take(&mut self.away).then(|| "the link is back".to_owned());
                let gap = (*left_out > 0)
                    .then(|| format!("{left_out} bytes of its output are no longer kept"));
                back.into_iter().chain(gap).reduce(|back, gap| format!("{back}; {gap}"))
            }
            Progress::Started(_) | Progress::Stdout(_) | Progress::Stderr(_) | Progress::Over => None,
        }
    }

    /// Returns what happened as lines of JSON. Text is cut between characters, so that it stays text.
    fn events(&mut self, progress: &Progress) -> Option<Bytes> {
        let run = self.running.id().to_string();
        let [stdout, stderr] = &mut self.text;
        let lines = match progress {
            Progress::Started(started) => Event::started(run, &self.target, *started).line(),
            Progress::Earlier(earlier) => Event::earlier(run, &self.target, *earlier).line(),
            Progress::Attached { attached, left_out } => {
                Event::attached(run, &self.target, *attached, *left_out).line()
            }
            Progress::Away => Event::away(run, &self.target).line(),
            Progress::Stdout(bytes) => line(Event::Stdout, &stdout.push(bytes)),
            Progress::Stderr(bytes) => line(Event::Stderr, &stderr.push(bytes)),
            Progress::Over => {
                line(Event::Stdout, &stdout.finish()) + &line(Event::Stderr, &stderr.finish())
            }
        };
        (!lines.is_empty()).then(|| Bytes::from(lines))
    }

    fn acknowledged(&mut self, acknowledged: Result<Ended, CancelError>) {
        match acknowledged {
            Ok(ended) => {
                if let Tree::Unconfirmed { pids } = &ended.tree {
                    output::say(&format!(
                        "{}: NOT confirmed: processes {pids:?} could not be ended",
                        self.target
                    ));
                }
                self.running.acknowledged(ended);
            }
            // It ended by itself meanwhile, or never began.
            Err(CancelError::Refused(refusal)) => self.running.not_cancelled(&refusal),
            Err(error @ CancelError::Unheard(_)) => output::say(&format!(
                "{}: the cancellation is not confirmed: {}",
                self.target,
                chain(&error)
            )),
        }
    }

    /// Returns the report of the end; none where nothing was begun, which its error says.
    fn last(&mut self, end: End, on_interrupt: OnInterrupt) -> Option<String> {
        if self.running.not_let_in().is_some() {
            return None;
        }
        let (id, target) = (self.running.id(), self.target.clone());
        let report = match self.running.outcome() {
            Some(outcome) if self.asked == Asked::Before && is_unknown(outcome) => {
                Report::not_known(id, target, outcome)
            }
            Some(outcome) if end == End::Over => {
                Report::new(id, target, outcome, self.running.ended())
            }
            Some(_) => Report::left(id, target, Left::Ended),
            None if self.running.ended().is_some() => Report::left(id, target, Left::Ended),
            None if on_interrupt == OnInterrupt::Leave => Report::left(id, target, Left::Alone),
            None => Report::left(id, target, Left::Ending),
        };
        let left_out_bytes = self.running.left_out();
        let report = Report {
            left_out_bytes,
            ..report
        };
        self.shown.last(report, std::mem::take(&mut self.gathered))
    }

    fn leave(&self) {
        if self.running.ended().is_some() {
            output::say(&format!("{}: {Interrupted}", self.target));
            return;
        }
        output::say(&format!(
            "{}: left without confirmation; run {} may still be ending there",
            self.target,
            self.running.id()
        ));
    }
}

/// Tells whether the agent knows no such run of this controller.
pub(in crate::cli) const fn is_unknown(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Refused(Refusal::UnknownRun | Refusal::OtherController)
    )
}

fn line<'a>(event: fn(Content<'a>) -> Event<'a>, bytes: &'a [u8]) -> String {
    if bytes.is_empty() {
        return String::new();
    }
    event(Content::of(bytes)).line()
}
