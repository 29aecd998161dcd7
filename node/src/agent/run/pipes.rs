//! A process's output, as it is produced: from its pipes into the run's spool.
//!
//! Owns the two pipes. Who hears the output, and whether anybody does, is not known here.

use std::{
    io,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use proto::{
    codec::{HEADER_LEN, header},
    frame::FrameKind,
};
use tokio::{
    net::unix::pipe::Receiver,
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::agent::spool::{Spool, Waited};

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
    /// When all that was in the pipes is read: the process has ended, and others that it left behind
    /// may hold the pipes open.
    Drained,
}

/// Why pumping stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pumped {
    /// Everything was read.
    All,
    /// The limit of output was reached; everything up to it was read.
    Limit,
}

/// The output of one run.
#[derive(Debug)]
pub(super) struct Pipes {
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
    /// Bytes that were in the pipe when the process ended and are not read yet.
    owed: u64,
}

/// When a run last printed something, for the idle limit.
///
/// The time in which its caller does not read does not count: a process that is held up by that is
/// not idle.
#[derive(Debug)]
pub(super) struct Activity {
    start: Instant,
    /// Milliseconds since the start.
    last_ms: AtomicU64,
    waiting: AtomicBool,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            last_ms: AtomicU64::new(0),
            waiting: AtomicBool::new(false),
        }
    }

    pub(super) const fn start(&self) -> Instant {
        self.start
    }

    fn waiting(&self) {
        self.waiting.store(true, Ordering::Relaxed);
    }

    fn goes_on(&self) {
        self.waiting.store(false, Ordering::Relaxed);
    }

    fn note(&self) {
        let ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(ms, Ordering::Relaxed);
        self.goes_on();
    }

    /// Returns when there has been no output for `limit`; never without a limit.
    pub(super) async fn idle_for(&self, limit: Option<Duration>) {
        let Some(limit) = limit else {
            return std::future::pending().await;
        };
        loop {
            let due = match self.waiting.load(Ordering::Relaxed) {
                true => Instant::now() + limit,
                false => {
                    self.start + Duration::from_millis(self.last_ms.load(Ordering::Relaxed)) + limit
                }
            };
            if due <= Instant::now() {
                return;
            }
            sleep_until(due).await;
        }
    }
}

impl Pipes {
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

    /// Moves output into `spool` until the pipes end, or `until` allows an earlier end.
    ///
    /// A spool without room stops the reading, and so full pipes stop the processes; when those have
    /// ended, what they left is read in any case, and no more than that.
    pub(super) async fn pump(
        &mut self,
        spool: &Spool,
        activity: &Activity,
        mut until: watch::Receiver<Until>,
    ) -> Pumped {
        let mut drain_end = None;
        loop {
            let left = self.left(spool);
            let must_read = drain_end.is_some() && !self.owes_nothing();
            let (stdout, stderr) = (&mut self.stdout, &mut self.stderr);
            if !stdout.is_open() && !stderr.is_open() {
                return Pumped::All;
            }
            let all_read = drain_end.filter(|_| stdout.owed == 0 && stderr.owed == 0);
            let held = hold_back(spool, activity, must_read);
            let (pipe, frame) = tokio::select! {
                (pipe, frame) = next_frame(held, stdout, stderr, left) => (pipe, frame),
                () = ended(&mut until), if drain_end.is_none() => {
                    drain_end = Some(Instant::now() + DRAIN_LIMIT);
                    self.stdout.owe();
                    self.stderr.owe();
                    continue;
                }
                () = reached(all_read) => return Pumped::All,
            };
            let Some(frame) = frame else {
                continue;
            };
            let len = (frame.len() - HEADER_LEN) as u64;
            if len == 0 {
                return Pumped::Limit;
            }
            pipe.owed = pipe.owed.saturating_sub(len);
            spool.append(frame);
            activity.note();
            if drain_end.is_some_and(|end| end <= Instant::now()) && self.owes_nothing() {
                return Pumped::All;
            }
        }
    }

    const fn owes_nothing(&self) -> bool {
        self.stdout.owed == 0 && self.stderr.owed == 0
    }

    /// Returns how many bytes may still be read.
    fn left(&self, spool: &Spool) -> usize {
        let Some(limit) = self.limit else {
            return usize::MAX;
        };
        let left = limit.saturating_sub(spool.end().total());
        usize::try_from(left).unwrap_or(usize::MAX)
    }
}

/// Waits until the spool has room.
async fn hold_back(spool: &Spool, activity: &Activity, must_read: bool) {
    if must_read {
        return;
    }
    activity.waiting();
    if spool.room().await == Waited::Yes {
        activity.note();
    } else {
        activity.goes_on();
    }
}

async fn next_frame<'a>(
    held: impl Future<Output = ()>,
    stdout: &'a mut Pipe,
    stderr: &'a mut Pipe,
    left: usize,
) -> (&'a mut Pipe, Option<Bytes>) {
    held.await;
    tokio::select! {
        frame = stdout.read(left), if stdout.is_open() => (stdout, frame),
        frame = stderr.read(left), if stderr.is_open() => (stderr, frame),
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

#[cfg(test)]
mod tests {
    use std::{
        process::{Command, Stdio},
        sync::Arc,
    };

    use proto::{id::RunId, run::OnLinkLoss};

    use super::*;
    use crate::agent::spool::Folder;

    #[tokio::test]
    async fn what_is_read_after_the_end_is_what_was_there_and_not_what_others_go_on_to_write() {
        let home = tempfile::tempdir().unwrap();
        let folder = Arc::new(Folder::open(home.path(), |_| true).unwrap());
        // Nobody hears this run.
        let kept = OnLinkLoss::Keep { orphan_ms: 60_000 };
        let (spool, _) = Spool::new(RunId::from_bytes([1; 16]), folder, kept);
        let mut left_behind = Command::new("yes").stdout(Stdio::piped()).spawn().unwrap();
        let stdout = std::os::fd::OwnedFd::from(left_behind.stdout.take().unwrap());
        let receiver = Receiver::from_owned_fd(stdout).unwrap();
        let mut pipes = Pipes::new(Some(receiver), None, None);
        let (_until, ended) = watch::channel(Until::Drained);

        let pumped = pipes.pump(&spool, &Activity::new(), ended).await;

        assert_eq!(pumped, Pumped::All);
        // Room for a caller that reads, one read, and what a pipe holds.
        let most = (64 << 10) + LARGEST_READ as u64 + (1 << 20);
        let read = spool.end().total();
        assert!(read <= most, "{read} bytes");
        left_behind.kill().unwrap();
        left_behind.wait().unwrap();
    }
}
