//! Where a run's output goes, without ever stopping the link.
//!
//! A pager that is not scrolled blocks whoever writes to it. Writing therefore happens on a thread
//! of its own, behind a bounded queue: when that is full, the run's stream is not read, and so the
//! process waits; the link itself goes on.

use std::{
    io::{self, IsTerminal as _, Write},
    thread::{self, JoinHandle},
};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::terminal::Neutraliser;

/// Pieces of output between the link and the writer: at most this many times a receive batch.
const QUEUE: usize = 16;

/// The most that is gathered before it is written.
const BATCH: usize = 256 << 10;

/// How remote bytes are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Neutralised on a terminal, unchanged elsewhere.
    Auto,
    /// Unchanged everywhere.
    Raw,
}

/// One of the two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Nobody reads this process's output any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("standard output was closed")]
pub struct SinkClosed;

/// Writes output on a thread of its own.
#[derive(Debug)]
pub struct Sink {
    queue: mpsc::Sender<(Stream, Bytes)>,
    writer: JoinHandle<Result<(), SinkClosed>>,
}

/// A place in the queue.
#[derive(Debug)]
pub struct Place<'a>(mpsc::Permit<'a, (Stream, Bytes)>);

impl Place<'_> {
    /// Queues a piece.
    pub fn write(self, stream: Stream, piece: Bytes) {
        self.0.send((stream, piece));
    }
}

impl Sink {
    /// Starts the writer.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub fn spawn(view: View) -> io::Result<Self> {
        let (queue, pieces) = mpsc::channel(QUEUE);
        let writer = thread::Builder::new()
            .name("output".into())
            .spawn(move || write_all(pieces, view))?;
        Ok(Self { queue, writer })
    }

    /// Waits until a piece can be queued.
    ///
    /// # Errors
    /// Nobody reads it.
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped.
    pub async fn ready(&self) -> Result<Place<'_>, SinkClosed> {
        self.queue
            .reserve()
            .await
            .map(Place)
            .map_err(|_| SinkClosed)
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    /// Some of it was not.
    pub fn finish(self) -> Result<(), SinkClosed> {
        drop(self.queue);
        self.writer.join().unwrap_or(Err(SinkClosed))
    }
}

fn write_all(mut pieces: mpsc::Receiver<(Stream, Bytes)>, view: View) -> Result<(), SinkClosed> {
    let mut stdout = Target::new(Box::new(io::stdout()), io::stdout().is_terminal(), view);
    let mut stderr = Target::new(Box::new(io::stderr()), io::stderr().is_terminal(), view);
    while let Some(piece) = pieces.blocking_recv() {
        let mut next = Some(piece);
        while let Some((stream, piece)) = next {
            let (this, other) = match stream {
                Stream::Stdout => (&mut stdout, &mut stderr),
                Stream::Stderr => (&mut stderr, &mut stdout),
            };
            // What was gathered for the other stream came first.
            other.flush()?;
            this.write(&piece)?;
            next = pieces.try_recv().ok();
        }
        stdout.flush()?;
        stderr.flush()?;
    }
    stdout.finish()?;
    stderr.finish()
}

/// One of this process's own streams.
struct Target {
    to: Box<dyn Write>,
    neutraliser: Option<Neutraliser>,
    gathered: Vec<u8>,
}

impl Target {
    fn new(to: Box<dyn Write>, terminal: bool, view: View) -> Self {
        let neutralise = terminal && view == View::Auto;
        Self {
            to,
            neutraliser: neutralise.then(Neutraliser::default),
            gathered: Vec::new(),
        }
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), SinkClosed> {
        match &mut self.neutraliser {
            Some(neutraliser) => self.gathered.extend(neutraliser.push(piece).into_bytes()),
            // Not gathered: a large piece is written as it is.
            None if self.gathered.is_empty() && piece.len() >= BATCH / 4 => {
                return self.to.write_all(piece).map_err(|_| SinkClosed);
            }
            None => self.gathered.extend_from_slice(piece),
        }
        if self.gathered.len() >= BATCH {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<(), SinkClosed> {
        let written = self
            .to
            .write_all(&self.gathered)
            .and_then(|()| self.to.flush());
        self.gathered.clear();
        written.map_err(|_| SinkClosed)
    }

    fn finish(&mut self) -> Result<(), SinkClosed> {
        if let Some(neutraliser) = &mut self.neutraliser {
            self.gathered.extend(neutraliser.finish().into_bytes());
        }
        self.flush()
    }
}
