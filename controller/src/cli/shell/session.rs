//! A session: what is typed goes there, what is shown comes here, until one side has enough.
//!
//! **Invariant:** nothing here waits for the terminal or for the agent alone: the wish to leave is always
//! heard, by a signal at least.

use std::{collections::VecDeque, io, pin::pin, time::Duration};

use bytes::Bytes;
use node::{link::Pace, run::StdinSender};
use proto::{
    frame::Resize,
    run::{Ended, Progress},
};
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    escape::{Escape, Escapes, Typed},
    keyboard,
    raw::{self, Raw},
    signals::{Signals, Told},
};
use crate::{
    maybe::maybe,
    output::{
        Sink, Stream, WriteError,
        backlog::{Backlog, Bounds},
        chain,
        terminal::OURS,
    },
    runner::{CancelError, Running},
};

/// How much of what was typed or pasted waits for the other side before no more is read. What is
/// typed behind that, `~.` too, is seen only when there is room again; a signal is heard at once.
const TYPED_AHEAD: usize = 256 << 10;

/// What can be said to this program.
const HELP: &str =
    "after a newline: ~. leaves and ends what runs there, ~~ is one ~, ~? is this help";

/// How a session ended.
pub(super) enum Left {
    /// The run is over.
    Over,
    /// It was left twice: the run may go on.
    Early,
    /// What was to be shown could not be written here.
    OutputFailed(WriteError),
}

/// Something for the other side's terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ToRun {
    Bytes(Bytes),
    Resize(Resize),
}

/// A person's hold on a run.
pub(super) struct Session<'a> {
    running: &'a mut Running,
    /// The terminal, until this person has left.
    raw: Option<Raw>,
    signals: Signals,
    escapes: Escapes,
    /// What goes to the run, and how many bytes of it were typed.
    out: VecDeque<ToRun>,
    out_len: usize,
    backlog: Backlog,
    pace: Pace,
    /// Whether output can be written no more.
    closed: bool,
    /// Whether the link was said to be lost.
    away: bool,
    over: bool,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        running: &'a mut Running,
        raw: Raw,
        signals: Signals,
        escape: Escape,
    ) -> Self {
        Self {
            running,
            raw: Some(raw),
            signals,
            escapes: Escapes::new(escape),
            out: VecDeque::new(),
            out_len: 0,
            backlog: Backlog::new(Bounds::ONE),
            pace: Pace::Full,
            closed: false,
            away: false,
            over: false,
        }
    }

    /// Holds the terminal to the end of the run, or until somebody leaves.
    pub(super) async fn hold(mut self, sink: Sink, grace: Duration) -> Left {
        // It may have changed since the request was made.
        self.resized();
        let mut feeding = JoinSet::new();
        // One at a time, so that what waits is counted here.
        let (queue, to_send) = mpsc::channel(1);
        if let Some(stdin) = self.running.take_stdin() {
            feeding.spawn(feed(stdin, to_send));
        }
        if self.until_over(&sink, &queue, grace).await == End::Early {
            return Left::Early;
        }
        tokio::select! {
            written = sink.finish() => match written {
                Err(error) => Left::OutputFailed(error),
                Ok(()) => Left::Over,
            },
            () = self.signals.leave() => Left::Early,
        }
    }

    async fn until_over(
        &mut self,
        sink: &Sink,
        queue: &mpsc::Sender<ToRun>,
        grace: Duration,
    ) -> End {
        let canceller = self.running.canceller();
        let mut cancelling = pin!(None);
        let mut keys = keyboard::read().ok();
        while !self.over || !self.backlog.is_empty() {
            let mut wish = None;
            tokio::select! {
                biased; // output may always be ready, and the rest must be heard
                told = self.signals.next() => match told {
                    Told::Leave => wish = Some(Wish::Said),
                    Told::HungUp => wish = Some(Wish::Implied),
                    Told::Resized => self.resized(),
                    Told::Resumed => self.resumed(),
                },
                acknowledged = maybe(cancelling.as_mut()) => {
                    cancelling.set(None);
                    self.acknowledged(acknowledged);
                }
                piece = next_piece(&mut keys), if self.takes_keys() => match piece {
                    Some(piece) => wish = self.typed(&piece),
                    None => {
                        keys = None;
                        wish = Some(Wish::Implied);
                    }
                },
                place = queue.reserve(), if !self.out.is_empty() => match place {
                    Ok(place) => if let Some(next) = self.next_out() {
                        place.send(next);
                    },
                    // The run has ended, which says more.
                    Err(_) => self.forget_typed(),
                },
                place = sink.ready(), if !self.backlog.is_empty() => match place {
                    Ok(place) => if let Some((stream, bytes)) = self.backlog.pop() {
                        place.write(stream, bytes);
                    },
                    Err(_) => {
                        self.backlog.clear();
                        self.closed = true;
                        wish = Some(Wish::Implied);
                    }
                },
                progress = self.running.next(), if !self.over && self.backlog.takes_more() => {
                    self.take(progress);
                }
                () = self.backlog.stall() => self.backlog.read_on(),
            }
            match wish.map(|wish| self.leave(wish)) {
                Some(Leaving::Now) if !self.over => cancelling.set(Some(canceller.cancel(grace))),
                Some(Leaving::AtOnce) => return End::Early,
                Some(Leaving::Now | Leaving::Already) | None => {}
            }
            self.keep_pace(cancelling.is_some());
        }
        End::Over
    }

    /// Gives the terminal back, so that a second wish to leave is a common Ctrl-C.
    fn leave(&mut self, wish: Wish) -> Leaving {
        if self.raw.take().is_none() {
            return match wish {
                Wish::Said => Leaving::AtOnce,
                Wish::Implied => Leaving::Already,
            };
        }
        if !self.over {
            let target = self.running.target();
            self.say(&format!(
                "{target}: ending what runs there; Ctrl-C leaves at once"
            ));
        }
        Leaving::Now
    }

    /// Takes what was typed, and tells whether it says to leave.
    fn typed(&mut self, piece: &[u8]) -> Option<Wish> {
        let mut wish = None;
        for typed in self.escapes.push(piece) {
            match typed {
                Typed::Bytes(bytes) => {
                    self.out_len += bytes.len();
                    self.out.push_back(ToRun::Bytes(bytes));
                }
                Typed::Help => self.notice(HELP),
                Typed::Leave => wish = Some(Wish::Said),
            }
        }
        wish
    }

    /// Whether keys are for the run: not any more when the terminal was given back.
    const fn takes_keys(&self) -> bool {
        self.raw.is_some() && self.out_len < TYPED_AHEAD
    }

    fn next_out(&mut self) -> Option<ToRun> {
        let next = self.out.pop_front()?;
        if let ToRun::Bytes(bytes) = &next {
            self.out_len -= bytes.len();
        }
        Some(next)
    }

    fn forget_typed(&mut self) {
        self.out.clear();
        self.out_len = 0;
    }

    fn resized(&mut self) {
        let Ok(size) = raw::size(io::stdin()) else {
            return; // the terminal is gone, which is heard elsewhere
        };
        // Of the sizes that wait, the last one counts.
        match self.out.back_mut() {
            Some(ToRun::Resize(waiting)) => *waiting = size,
            Some(ToRun::Bytes(_)) | None => self.out.push_back(ToRun::Resize(size)),
        }
    }

    fn resumed(&mut self) {
        if let Some(raw) = &self.raw {
            raw.enter_again();
            self.resized();
        }
    }

    /// Takes what the run says.
    fn take(&mut self, progress: Option<Progress>) {
        match progress {
            Some(Progress::Stdout(bytes)) => self.show(Stream::Stdout, bytes),
            Some(Progress::Stderr(bytes)) => self.show(Stream::Stderr, bytes),
            Some(Progress::Started(_) | Progress::Over) => {}
            Some(Progress::Earlier(_)) => self.notice("this run id was used before"),
            Some(Progress::Away) => {
                self.away = true;
                self.notice("the link is lost, looking for the way back");
            }
            Some(Progress::Attached { left_out, .. }) => {
                if std::mem::take(&mut self.away) {
                    self.notice("the link is back");
                }
                if left_out > 0 {
                    self.notice(&format!("{left_out} bytes of output are no longer kept"));
                }
            }
            None => self.over = true,
        }
    }

    fn show(&mut self, stream: Stream, bytes: Bytes) {
        if !self.closed {
            self.backlog.push(stream, bytes);
        }
    }

    /// Says something of this program's own while the other side has the terminal.
    fn notice(&mut self, text: &str) {
        self.show_line(&format!("[mesosync: {text}]"));
    }

    /// Says something when the terminal is this side's again.
    fn say(&mut self, text: &str) {
        self.show_line(&format!("{OURS} {text}"));
    }

    /// Shows a line behind the output so far, and never waits for a terminal that shows nothing.
    fn show_line(&mut self, line: &str) {
        // In raw mode a line feed alone does not go back to the first column.
        self.show(Stream::Stderr, format!("\r\n{line}\r\n").into());
    }

    fn acknowledged(&mut self, acknowledged: Result<Ended, CancelError>) {
        match acknowledged {
            Ok(ended) => self.running.acknowledged(ended),
            // It ended by itself meanwhile, or never began.
            Err(CancelError::Refused(refusal)) => self.running.not_cancelled(&refusal),
            Err(error @ CancelError::Unheard(_)) => {
                let target = self.running.target();
                self.say(&format!(
                    "{target}: the end is not confirmed: {}",
                    chain(&error)
                ));
            }
        }
    }

    /// An acknowledgement must find room in the link's window, whatever else waits.
    fn keep_pace(&mut self, cancelling: bool) {
        let holds_back = self.backlog.is_long(self.pace == Pace::Least) && !cancelling;
        let wanted = if holds_back { Pace::Least } else { Pace::Full };
        if self.pace != wanted {
            self.pace = wanted;
            self.running.set_pace(wanted);
        }
    }
}

/// What a wish to leave means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    /// The first: what runs there is ended.
    Now,
    /// The same once more, which changes nothing.
    Already,
    /// The second: nothing more is waited for.
    AtOnce,
}

/// Where a wish to leave comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// Somebody says so, and may say so twice.
    Said,
    /// The terminal is gone, which shows in several ways: a signal, the end of what is typed, output
    /// that cannot be written.
    Implied,
}

/// How hearing the run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Over,
    Early,
}

/// Sends what is for the run, in its order, for as long as somebody takes it.
async fn feed(mut stdin: StdinSender, mut to_send: mpsc::Receiver<ToRun>) {
    while let Some(next) = to_send.recv().await {
        let sent = match next {
            ToRun::Bytes(bytes) => stdin.send(bytes).await,
            ToRun::Resize(size) => stdin.resize(size).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Waits for what is typed next; for ever when the terminal has ended.
async fn next_piece(keys: &mut Option<mpsc::Receiver<Bytes>>) -> Option<Bytes> {
    match keys {
        Some(keys) => keys.recv().await,
        None => std::future::pending().await,
    }
}
