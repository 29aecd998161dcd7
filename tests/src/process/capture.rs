//! What a program has written so far: two streams, read by threads, bounded in memory.

use std::{
    io::Read,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

/// How much of each stream is kept; the rest is counted and dropped.
///
/// Far more than any scenario compares, and little enough for several labs at once.
const KEPT: usize = 64 << 20;

/// How much of each stream the text of a failure shows.
const SHOWN: usize = 16 << 10;

/// One of the two streams of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout = 0,
    Stderr = 1,
}

/// Both streams, and a bell that rings when one of them changes.
#[derive(Debug, Default)]
pub(super) struct Capture {
    streams: Mutex<[Captured; 2]>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Captured {
    kept: Vec<u8>,
    total: u64,
    /// Whether somebody reads; an unread stream does not end.
    followed: bool,
    ended: bool,
}

impl Capture {
    /// Reads `source` to its end in a thread of its own.
    pub(super) fn follow(
        self: &Arc<Self>,
        stream: Stream,
        source: Option<impl Read + Send + 'static>,
    ) {
        let Some(mut source) = source else { return };
        self.lock()[stream as usize].followed = true;
        let capture = Arc::clone(self);
        thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(read @ 1..) = source.read(&mut buffer) {
                capture.note(stream, &buffer[..read]);
            }
            capture.lock()[stream as usize].ended = true;
            capture.changed.notify_all();
        });
    }

    pub(super) fn bytes(&self, stream: Stream) -> Vec<u8> {
        self.lock()[stream as usize].kept.clone()
    }

    /// Hands out what was kept, and the number of bytes that there were.
    pub(super) fn take(&self, stream: Stream) -> (Vec<u8>, u64) {
        let captured = &mut self.lock()[stream as usize];
        (std::mem::take(&mut captured.kept), captured.total)
    }

    /// Waits for a whole line that contains `part`; nothing when there will be none in time.
    pub(super) fn wait_for_line(&self, part: &str, deadline: Instant) -> Option<String> {
        let mut searched = [0; 2];
        let mut streams = self.lock();
        loop {
            for (captured, searched) in streams.iter().zip(&mut searched) {
                if let Some(line) = captured.find_line(part, searched) {
                    return Some(line);
                }
            }
            if streams.iter().all(|captured| captured.ended) {
                return None;
            }
            streams = self.wait(streams, deadline)?;
        }
    }

    /// Waits until every stream that somebody reads has ended; says whether that came in time.
    pub(super) fn wait_for_end(&self, deadline: Instant) -> bool {
        let mut streams = self.lock();
        while streams
            .iter()
            .any(|captured| captured.followed && !captured.ended)
        {
            match self.wait(streams, deadline) {
                Some(changed) => streams = changed,
                None => return false,
            }
        }
        true
    }

    pub(super) fn describe(&self) -> String {
        let streams = self.lock();
        let tail = |stream: Stream| streams[stream as usize].tail();
        format!(
            "stdout: {}\nstderr: {}",
            tail(Stream::Stdout),
            tail(Stream::Stderr)
        )
    }

    fn note(&self, stream: Stream, bytes: &[u8]) {
        let captured = &mut self.lock()[stream as usize];
        captured.total += bytes.len() as u64;
        let room = KEPT.saturating_sub(captured.kept.len()).min(bytes.len());
        captured.kept.extend_from_slice(&bytes[..room]);
        self.changed.notify_all();
    }

    /// Waits for a change; nothing when the deadline has passed.
    fn wait<'a>(
        &self,
        streams: MutexGuard<'a, [Captured; 2]>,
        deadline: Instant,
    ) -> Option<MutexGuard<'a, [Captured; 2]>> {
        let left = deadline.checked_duration_since(Instant::now())?;
        let (streams, _) = self
            .changed
            .wait_timeout(streams, left)
            .unwrap_or_else(PoisonError::into_inner);
        Some(streams)
    }

    /// A panic in one test thread must not hide the output from the others.
    fn lock(&self) -> MutexGuard<'_, [Captured; 2]> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Captured {
    /// Looks through the lines that came since the last look, and remembers how far.
    fn find_line(&self, part: &str, searched: &mut usize) -> Option<String> {
        while let Some(length) = self.kept[*searched..]
            .iter()
            .position(|byte| *byte == b'\n')
        {
            let line = String::from_utf8_lossy(&self.kept[*searched..*searched + length]);
            *searched += length + 1;
            if line.contains(part) {
                return Some(line.into_owned());
            }
        }
        None
    }

    fn tail(&self) -> String {
        let from = self.kept.len().saturating_sub(SHOWN);
        let text = String::from_utf8_lossy(&self.kept[from..]);
        match self.total - (self.kept.len() - from) as u64 {
            0 => text.into_owned(),
            left_out => format!("({left_out} bytes not shown) {text}"),
        }
    }
}
