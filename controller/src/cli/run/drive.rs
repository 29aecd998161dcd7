//! Drives a run to its end: shows what it says, feeds it, and hears Ctrl-C.
//!
//! **Invariant:** nothing here waits for a reader of this process's output or for the agent alone:
//! an interruption is always heard.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use node::run::CancelError;
use proto::{
    id::NodeName,
    run::{Ended, Progress, Tree},
};
use tokio::task::JoinSet;

use super::stdin::{self, Source};
use crate::{
    cli::interrupt::Interrupts,
    orchestrator::Running,
    output::{
        self, Sink, Stream, View, WriteError, chain,
        events::Event,
        report::{Content, Gathered},
    },
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

/// How driving ended.
pub(in crate::cli) enum Driven {
    /// The run is over; this was gathered of its output.
    Over(Gathered),
    /// The second Ctrl-C: the run may go on.
    LeftEarly,
    /// Output could not be written here, and the run was cancelled for it if it still ran.
    OutputFailed(WriteError),
}

/// What driving needs of this process, had before anything is started elsewhere.
pub(in crate::cli) struct Stage {
    shown: Shown,
    sink: Sink,
}

impl Stage {
    /// Sets the stage.
    pub(in crate::cli) fn set(shown: Shown) -> anyhow::Result<Self> {
        let view = match shown {
            Shown::Bytes(view) => view,
            Shown::Json | Shown::Ndjson => View::Raw,
        };
        let sink = Sink::spawn(view).context("start the output thread")?;
        Ok(Self { shown, sink })
    }
}

struct Drive<'a> {
    target: NodeName,
    shown: Shown,
    gathered: Gathered,
    running: &'a mut Running,
}

/// Shows `running` until its end.
pub(in crate::cli) async fn drive(
    running: &mut Running,
    stage: Stage,
    source: Option<Source>,
    grace: Duration,
) -> Driven {
    let Stage { shown, sink } = stage;
    let mut interrupts = Interrupts::listen();
    let mut feeding = JoinSet::new();
    if let (Some(source), Some(to)) = (source, running.take_stdin()) {
        feeding.spawn(stdin::feed(to, source));
    }
    let target = running.found().link.peer().name.clone();
    let mut drive = Drive {
        target,
        shown,
        gathered: Gathered::default(),
        running,
    };
    let end = drive.until_over(&sink, &mut interrupts, grace).await;
    if end == End::LeftEarly {
        return Driven::LeftEarly;
    }
    let written = tokio::task::spawn_blocking(move || sink.finish());
    tokio::select! {
        written = written => match written {
            Ok(Err(error)) => Driven::OutputFailed(error),
            Ok(Ok(())) | Err(_) => Driven::Over(drive.gathered),
        },
        () = interrupts.next() => Driven::LeftEarly,
    }
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
        grace: Duration,
    ) -> End {
        let canceller = self.running.canceller();
        let mut cancelling = std::pin::pin!(None);
        let mut why = Why::Nothing;
        let mut piece: Option<(Stream, Bytes)> = None;
        loop {
            tokio::select! {
                () = interrupts.next() => {
                    if why == Why::Interrupted {
                        self.leave();
                        return End::LeftEarly;
                    }
                    output::say(&format!(
                        "{}: cancelling; Ctrl-C again leaves at once",
                        self.target
                    ));
                    why = Why::Interrupted;
                    cancelling.set(Some(canceller.cancel(grace)));
                }
                place = sink.ready(), if piece.is_some() && why != Why::OutputClosed => match place {
                    Ok(place) => if let Some((stream, bytes)) = piece.take() {
                        place.write(stream, bytes);
                    },
                    Err(_) => {
                        piece = None;
                        why = Why::OutputClosed;
                        cancelling.set(Some(canceller.cancel(grace)));
                    }
                },
                progress = self.running.next(), if piece.is_none() || why == Why::OutputClosed => {
                    match progress {
                        Some(progress) => piece = self.take(progress),
                        None => break,
                    }
                }
                acknowledged = acknowledgement(cancelling.as_mut()) => {
                    cancelling.set(None);
                    self.acknowledged(&acknowledged);
                    if piece.is_some() {
                        // Our own reader holds us up; the processes are gone.
                        break;
                    }
                }
            }
        }
        End::Over
    }

    /// Turns what happened into what is shown next.
    fn take(&mut self, progress: Progress) -> Option<(Stream, Bytes)> {
        if let Progress::Earlier(_) = progress {
            output::say(&format!(
                "{}: this run id was used before; nothing is started, and this is the first result, whose output is not kept",
                self.target
            ));
        }
        if self.shown == Shown::Ndjson {
            return self.event(&progress).map(|line| (Stream::Stdout, line));
        }
        let (stream, bytes) = match progress {
            Progress::Stdout(bytes) => (Stream::Stdout, bytes),
            Progress::Stderr(bytes) => (Stream::Stderr, bytes),
            Progress::Started(_) | Progress::Earlier(_) | Progress::Over => return None,
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

    fn event(&self, progress: &Progress) -> Option<Bytes> {
        let run = self.running.id().to_string();
        let event = match progress {
            Progress::Started(started) => Event::started(run, &self.target, *started),
            Progress::Earlier(earlier) => Event::earlier(run, &self.target, *earlier),
            Progress::Stdout(bytes) => Event::Stdout(Content::of(bytes)),
            Progress::Stderr(bytes) => Event::Stderr(Content::of(bytes)),
            Progress::Over => return None,
        };
        Some(Bytes::from(event.line()))
    }

    fn acknowledged(&self, acknowledged: &Result<Ended, CancelError>) {
        match acknowledged {
            Ok(Ended {
                tree: Tree::Gone | Tree::Left { .. },
                ..
            }) => {}
            Ok(Ended {
                tree: Tree::Unconfirmed { pids },
                ..
            }) => output::say(&format!(
                "{}: NOT confirmed: processes {pids:?} could not be ended",
                self.target
            )),
            // It ended by itself meanwhile.
            Err(CancelError::Refused(_)) => {}
            Err(error @ (CancelError::Link(_) | CancelError::Violation)) => output::say(&format!(
                "{}: the cancellation is not confirmed: {}",
                self.target,
                chain(error)
            )),
        }
    }

    fn leave(&self) {
        output::say(&format!(
            "{}: left without confirmation; run {} may still be ending there",
            self.target,
            self.running.id()
        ));
    }
}

/// Why the run is being cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Nothing,
    Interrupted,
    OutputClosed,
}

/// Waits for a cancellation's end, if there is one in progress.
async fn acknowledgement<F: Future>(cancelling: std::pin::Pin<&mut Option<F>>) -> F::Output {
    match cancelling.as_pin_mut() {
        Some(cancelling) => cancelling.await,
        None => std::future::pending().await,
    }
}
