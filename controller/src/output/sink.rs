//! Where a run's output goes, without ever stopping the link.
//!
//! A pager that is not scrolled blocks whoever writes to it. Writing therefore happens on a thread
//! of its own, behind a bounded queue: when that is full, the run's stream is not read, and so the
//! process waits; the link itself goes on.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write},
    sync::{Mutex, PoisonError},
    thread,
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::{
    WriteError, current_line, live,
    terminal::{Line, Neutraliser},
};

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

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdout => "standard output",
            Self::Stderr => "standard error",
        })
    }
}

/// Output cannot be written any more; [`Sink::finish`] says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the output cannot be written")]
pub struct SinkClosed;

/// Writes output on a thread of its own, which is there from the first piece on: many commands write
/// nothing, and a thread costs more than they do.
#[derive(Debug)]
pub struct Sink {
    queue: mpsc::Sender<(Stream, Bytes)>,
    /// Never locked across an await.
    writer: Mutex<Writer>,
}

#[derive(Debug)]
enum Writer {
    /// Not there yet.
    Waiting(mpsc::Receiver<(Stream, Bytes)>, View),
    /// At work, and says how it ended.
    Started(oneshot::Receiver<Result<(), WriteError>>),
    /// The operating system gave no thread.
    Failed(io::Error),
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
    /// Prepares to write.
    #[must_use]
    pub fn new(view: View) -> Self {
        let (queue, pieces) = mpsc::channel(QUEUE);
        let writer = Mutex::new(Writer::Waiting(pieces, view));
        Self { queue, writer }
    }

    /// Waits until a piece can be queued.
    ///
    /// # Errors
    /// Nothing can be written any more.
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped.
    pub async fn ready(&self) -> Result<Place<'_>, SinkClosed> {
        self.writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .start();
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
    pub async fn finish(self) -> Result<(), WriteError> {
        drop(self.queue);
        let broken = |source| WriteError {
            stream: Stream::Stdout,
            source,
        };
        match self
            .writer
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
        {
            Writer::Waiting(..) => Ok(()),
            Writer::Started(end) => end
                .await
                .unwrap_or_else(|_| Err(broken(io::Error::other("the output thread broke")))),
            Writer::Failed(error) => Err(broken(error)),
        }
    }
}

impl Writer {
    /// Starts the thread, if it is not there.
    fn start(&mut self) {
        let (end, ended) = oneshot::channel();
        let waiting = match self {
            Self::Waiting(..) => std::mem::replace(self, Self::Started(ended)),
            Self::Started(_) | Self::Failed(_) => return,
        };
        let Self::Waiting(pieces, view) = waiting else {
            return;
        };
        let writing = thread::Builder::new().name("output".into());
        let started = writing.spawn(move || {
            // Nobody waits for the end of what is left early.
            drop(end.send(write_all(pieces, view)));
        });
        if let Err(error) = started {
            *self = Self::Failed(error);
        }
    }
}

fn write_all(mut pieces: mpsc::Receiver<(Stream, Bytes)>, view: View) -> Result<(), WriteError> {
    let mut stdout = Target::new(Stream::Stdout, view);
    let mut stderr = Target::new(Stream::Stderr, view);
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
        // What comes in a moment is written with less waking up: 1 GiB in 1.12 instead of 1.18 s.
        thread::yield_now();
    }
    stdout.finish()?;
    stderr.finish()
}

/// Writes, and puts what is drawn on the terminal aside meanwhile.
fn shown<T>(on_terminal: bool, write: impl FnOnce() -> T) -> T {
    if on_terminal {
        live::aside(write)
    } else {
        write()
    }
}

/// One of this process's own streams.
struct Target {
    stream: Stream,
    to: Box<dyn Write>,
    terminal: bool,
    neutraliser: Option<Neutraliser>,
    line: Written,
    /// As it came.
    gathered: Vec<u8>,
}

/// Whether more of a stream follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Last,
}

/// Which line a stream writes.
enum Written {
    /// The one on which this program's messages appear too.
    WithMessages,
    /// One of its own.
    Apart(Line),
}

impl Target {
    fn new(stream: Stream, view: View) -> Self {
        let messages_on_terminal = io::stderr().is_terminal();
        let (to, terminal, line): (Box<dyn Write>, _, _) = match stream {
            Stream::Stdout => {
                let terminal = io::stdout().is_terminal();
                let line = if terminal && messages_on_terminal {
                    Written::WithMessages
                } else {
                    Written::Apart(Line::new())
                };
                (stdout_of(terminal), terminal, line)
            }
            Stream::Stderr => {
                let line = Written::WithMessages;
                (Box::new(io::stderr()), messages_on_terminal, line)
            }
        };
        let neutralise = terminal && view == View::Auto;
        Self {
            stream,
            to,
            terminal,
            neutraliser: neutralise.then(Neutraliser::default),
            line,
            gathered: Vec::new(),
        }
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), WriteError> {
        // Not gathered: a large piece is written as it is.
        if self.gathered.is_empty() && piece.len() >= BATCH / 4 {
            return self.put(piece, End::Open);
        }
        self.gathered.extend_from_slice(piece);
        if self.gathered.len() >= BATCH {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let mut gathered = std::mem::take(&mut self.gathered);
        let written = self.put(&gathered, End::Open);
        gathered.clear();
        self.gathered = gathered;
        written
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        let gathered = std::mem::take(&mut self.gathered);
        self.put(&gathered, End::Last)
    }

    /// Writes bytes in the form in which they are shown. What is before them on the line decides that,
    /// so nobody else writes there from then on until they are written.
    fn put(&mut self, bytes: &[u8], end: End) -> Result<(), WriteError> {
        let mut shared;
        let line = match &mut self.line {
            Written::WithMessages => {
                shared = current_line();
                &mut *shared
            }
            Written::Apart(line) => line,
        };
        let neutralised;
        let bytes = match &mut self.neutraliser {
            Some(neutraliser) => {
                let mut text = neutraliser.push(bytes, line);
                if end == End::Last {
                    text.push_str(&neutraliser.finish(line));
                }
                neutralised = text;
                neutralised.as_bytes()
            }
            None => {
                line.pass(bytes);
                bytes
            }
        };
        if bytes.is_empty() {
            return Ok(());
        }
        let to = &mut self.to;
        let written = shown(self.terminal, || {
            to.write_all(bytes).and_then(|()| to.flush())
        });
        written.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> WriteError {
        WriteError {
            stream: self.stream,
            source,
        }
    }
}

/// Returns standard output without the standard library's look for lines in it, which costs more than
/// the writing. A terminal keeps it: on Windows it is what turns bytes into characters.
fn stdout_of(terminal: bool) -> Box<dyn Write> {
    let stdout = io::stdout();
    #[cfg(unix)]
    let own = std::os::fd::AsFd::as_fd(&stdout).try_clone_to_owned();
    #[cfg(windows)]
    let own = std::os::windows::io::AsHandle::as_handle(&stdout).try_clone_to_owned();
    match own {
        Ok(own) if !terminal => Box::new(std::fs::File::from(own)),
        Ok(_) | Err(_) => Box::new(stdout),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::output::messages;

    /// A terminal that a test looks at.
    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn line_that_a_message_made_begin_is_no_continuation() {
        let mut screen = Screen::default();
        let mut target = Target {
            stream: Stream::Stdout,
            to: Box::new(screen.clone()),
            terminal: true,
            neutraliser: Some(Neutraliser::default()),
            line: Written::WithMessages,
            gathered: Vec::new(),
        };

        target.write(b"begun, ").unwrap();
        target.flush().unwrap();
        target.write(b"controller: x: cancelled\n").unwrap();
        messages::write(&mut screen, "controller: a message");
        target.finish().unwrap();

        let shown = String::from_utf8(screen.0.lock().unwrap().clone()).unwrap();
        let expected = "begun, \ncontroller: a message\ncontroller (remote): x: cancelled\n";
        assert_eq!(shown, expected);
    }
}
