//! A process's output, as it is produced: from its pipes into the run's stream.
//!
//! Owns the two pipes and what was sent of them. Back-pressure is in bytes and needs no code of its
//! own: a full stream stops the reading, and so a full pipe stops the process.
//!
//! **Invariant:** a frame that was begun is sent whole, or the stream is of no further use: [`Pumped`]
//! tells which.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use proto::{
    codec::{HEADER_LEN, header},
    frame::FrameKind,
};
use quinn::SendStream;
use tokio::{
    net::unix::pipe::Receiver,
    sync::watch,
    time::{Instant, sleep_until},
};

/// How much is read from a pipe at first: most output is short.
const FIRST_READ: usize = 16 << 10;

/// How much is read at once from a pipe that is always full.
const LARGEST_READ: usize = 256 << 10;

/// Below this much room a new buffer is taken; small frames share one.
const MIN_ROOM: usize = 4 << 10;

/// How long others that hold the pipes open may still add to the output after the run's own end.
const DRAIN_LIMIT: Duration = Duration::from_millis(100);

/// When the pumping may stop before the pipes end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// Never: the process still runs.
    End,
    /// When all that was in the pipes is sent: the process has ended, and others that it left behind
    /// may hold the pipes open.
    Drained,
}

/// Why pumping stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pumped {
    /// Everything was sent.
    All,
    /// The limit of output was reached; everything up to it was sent.
    Limit,
    /// The caller does not read any more.
    Abandoned,
}

/// The output of one run.
#[derive(Debug)]
pub(super) struct Output {
    stdout: Pipe,
    stderr: Pipe,
    limit: Option<u64>,
}

#[derive(Debug)]
struct Pipe {
    kind: FrameKind,
    receiver: Option<Receiver>,
    buffer: BytesMut,
    /// How much the next read takes at most.
    size: usize,
    /// Bytes that were in the pipe when the process ended and are not sent yet.
    owed: u64,
}

/// How much output was sent, and when the last of it, for the idle limit.
///
/// The time in which the caller does not read does not count: a process that is held up by that is
/// not idle.
#[derive(Debug)]
pub(super) struct Activity {
    start: Instant,
    /// Milliseconds since the start, or [`SENDING`].
    last_ms: AtomicU64,
    stdout_bytes: AtomicU64,
    stderr_bytes: AtomicU64,
}

/// Output is on its way to the caller.
const SENDING: u64 = u64::MAX;

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            last_ms: AtomicU64::new(0),
            stdout_bytes: AtomicU64::new(0),
            stderr_bytes: AtomicU64::new(0),
        }
    }

    pub(super) const fn start(&self) -> Instant {
        self.start
    }

    fn sending(&self) {
        self.last_ms.store(SENDING, Ordering::Relaxed);
    }

    /// Returns how many bytes of one of the streams were sent.
    pub(super) fn sent(&self, kind: FrameKind) -> u64 {
        self.count(kind).load(Ordering::Relaxed)
    }

    fn count(&self, kind: FrameKind) -> &AtomicU64 {
        if kind == FrameKind::Stderr {
            &self.stderr_bytes
        } else {
            &self.stdout_bytes
        }
    }

    fn note(&self, kind: FrameKind, len: u64) {
        self.count(kind).fetch_add(len, Ordering::Relaxed);
        let ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(ms, Ordering::Relaxed);
    }

    /// Returns when there has been no output for `limit`; never without a limit.
    pub(super) async fn idle_for(&self, limit: Option<Duration>) {
        let Some(limit) = limit else {
            return std::future::pending().await;
        };
        loop {
            let due = match self.last_ms.load(Ordering::Relaxed) {
                SENDING => Instant::now() + limit,
                last_ms => self.start + Duration::from_millis(last_ms) + limit,
            };
            if due <= Instant::now() {
                return;
            }
            sleep_until(due).await;
        }
    }
}

impl Output {
    pub(super) fn new(
        stdout: Option<Receiver>,
        stderr: Option<Receiver>,
        limit: Option<u64>,
    ) -> Self {
        Self {
            stdout: Pipe::new(FrameKind::Stdout, stdout),
            stderr: Pipe::new(FrameKind::Stderr, stderr),
            limit,
        }
    }

    /// Sends `first`, and then output until the pipes end, or `until` allows an earlier end.
    ///
    /// Everything goes this way, so that a caller that has no room keeps neither limits nor
    /// cancellations from the run.
    pub(super) async fn pump(
        &mut self,
        first: Bytes,
        send: &mut SendStream,
        activity: &Activity,
        mut until: watch::Receiver<Until>,
    ) -> Pumped {
        if send.write_chunk(first).await.is_err() {
            return Pumped::Abandoned;
        }
        let mut drain_end = None;
        loop {
            let room = self.room(activity);
            let (stdout, stderr) = (&mut self.stdout, &mut self.stderr);
            if !stdout.is_open() && !stderr.is_open() {
                return Pumped::All;
            }
            let all_sent = drain_end.filter(|_| stdout.owed == 0 && stderr.owed == 0);
            let (pipe, frame) = tokio::select! {
                frame = stdout.read(room), if stdout.is_open() => (stdout, frame),
                frame = stderr.read(room), if stderr.is_open() => (stderr, frame),
                () = ended(&mut until), if drain_end.is_none() => {
                    drain_end = Some(Instant::now() + DRAIN_LIMIT);
                    stdout.owe();
                    stderr.owe();
                    continue;
                }
                () = reached(all_sent) => return Pumped::All,
            };
            let Some(frame) = frame else {
                continue;
            };
            let len = (frame.len() - HEADER_LEN) as u64;
            if len == 0 {
                return Pumped::Limit;
            }
            activity.sending();
            if send.write_chunk(frame).await.is_err() {
                return Pumped::Abandoned;
            }
            activity.note(pipe.kind, len);
            pipe.owed = pipe.owed.saturating_sub(len);
            if drain_end.is_some_and(|end| end <= Instant::now()) && self.owes_nothing() {
                return Pumped::All;
            }
        }
    }

    const fn owes_nothing(&self) -> bool {
        self.stdout.owed == 0 && self.stderr.owed == 0
    }

    /// Returns how many bytes the next frame may have.
    fn room(&self, activity: &Activity) -> usize {
        let sent = activity.sent(FrameKind::Stdout) + activity.sent(FrameKind::Stderr);
        let left = self
            .limit
            .map_or(u64::MAX, |limit| limit.saturating_sub(sent));
        usize::try_from(left).unwrap_or(usize::MAX)
    }
}

/// Returns when the process has ended.
async fn ended(until: &mut watch::Receiver<Until>) {
    // The sender lives as long as the run; without it there is nothing to wait for.
    drop(until.wait_for(|until| *until == Until::Drained).await);
}

/// Returns at `instant`; never without one.
async fn reached(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

impl Pipe {
    fn new(kind: FrameKind, receiver: Option<Receiver>) -> Self {
        Self {
            kind,
            receiver,
            buffer: BytesMut::new(),
            size: FIRST_READ,
            owed: 0,
        }
    }

    const fn is_open(&self) -> bool {
        self.receiver.is_some()
    }

    /// Waits for bytes and returns them as a frame, or `None` when the pipe has ended.
    ///
    /// With no `room` left, a frame without a body says that there were bytes for it.
    ///
    /// # Cancel safety
    /// Bytes leave the pipe only when the frame is returned.
    async fn read(&mut self, room: usize) -> Option<Bytes> {
        loop {
            let receiver = self.receiver.as_ref()?;
            let ready = receiver.readable().await;
            if self.buffer.capacity() - self.buffer.len() < HEADER_LEN + MIN_ROOM {
                self.buffer.reserve(HEADER_LEN + self.size);
            }
            self.buffer.put_bytes(0, HEADER_LEN);
            // With no room, one byte is read and thrown away: the run ends at its limit.
            let wanted = room.min(self.size).max(1);
            let mut body = (&mut self.buffer).limit(wanted);
            match ready.and_then(|()| receiver.try_read_buf(&mut body)) {
                Ok(0) => self.receiver = None,
                // How a terminal ends on Linux: nobody holds its other side any more.
                Err(error) if error.raw_os_error() == Some(libc::EIO) => self.receiver = None,
                Ok(len) if room == 0 => self.buffer.truncate(self.buffer.len() - len),
                Ok(len) => {
                    self.buffer[..HEADER_LEN].copy_from_slice(&header(self.kind, len));
                    if len == self.size {
                        self.size = (self.size * 4).min(LARGEST_READ);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.buffer.clear();
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, "a pipe of a run broke");
                    self.receiver = None;
                }
            }
            self.receiver.as_ref()?;
            return Some(self.buffer.split().freeze());
        }
    }

    /// Notes what is in the pipe: all that the process wrote and that was not read yet.
    fn owe(&mut self) {
        let waiting = self.receiver.as_ref().map(rustix::io::ioctl_fionread);
        self.owed = match waiting {
            Some(Ok(len)) => len,
            Some(Err(_)) | None => 0,
        };
    }
}
