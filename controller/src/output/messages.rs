//! This program's messages on standard error, each on a line of its own, and what is drawn below them.
//!
//! A command that does not listen to signals writes them as it goes: Ctrl-C ends it, whatever it waits
//! for. One that listens must not wait for a reader, who may be the same that leaves the output unread
//! (`2>&1 | less`). From [`never_wait`] on, a thread of their own writes them, behind a bounded queue:
//! what does not fit is counted and dropped, and one line says how many.
//!
//! **Invariant:** from then on nobody but that thread waits for standard error, or for who writes to the
//! same terminal. Guarded by the scenarios of `interrupts`.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use super::{
    current_line,
    live::{self, Frame},
    terminal::OURS,
};

/// Messages that wait for their reader; a fleet tells of a few reasons, and of each target that is
/// looked for again.
const QUEUE: usize = 64;

/// How long a message is waited for that finds no other before it, so that what is shown next stands
/// behind it: much for a reader that reads, nothing for a link if none does, and then only once.
const IN_ORDER: Duration = Duration::from_millis(20);

static MESSAGES: Mutex<Messages> = Mutex::new(Messages::new());

/// Wakes the thread, and who waits for it.
static CHANGED: Condvar = Condvar::new();

#[derive(Debug)]
struct Messages {
    /// Whether they are queued.
    queued: bool,
    waiting: VecDeque<String>,
    dropped: u64,
    /// What is drawn when no message waits: only the newest counts.
    frame: Option<Frame>,
    writer: Writer,
}

/// What the thread does next.
#[derive(Debug)]
enum Next {
    Say(String),
    Draw(Frame),
}

/// The thread that writes. Many commands say nothing, so it begins with the first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    NotThere,
    Idle,
    /// It writes, or is to look at the queue.
    Busy,
}

impl Messages {
    const fn new() -> Self {
        Self {
            queued: false,
            waiting: VecDeque::new(),
            dropped: 0,
            frame: None,
            writer: Writer::NotThere,
        }
    }

    /// Queues a message, or counts it.
    fn push(&mut self, text: String) {
        if self.waiting.len() < QUEUE {
            self.waiting.push_back(text);
        } else {
            self.dropped += 1;
        }
    }

    /// Returns what is to be written next. Those that were dropped are newer than what waits.
    fn pop(&mut self) -> Option<Next> {
        if let Some(text) = self.waiting.pop_front() {
            return Some(Next::Say(text));
        }
        match std::mem::take(&mut self.dropped) {
            0 => self.frame.take().map(Next::Draw),
            dropped => Some(Next::Say(format!(
                "{OURS} {dropped} messages found no reader in time"
            ))),
        }
    }
}

/// From now on, no message is waited for.
pub(crate) fn never_wait() {
    lock().queued = true;
}

/// Tells everything that waits, and whether that was done in this time.
pub(crate) fn told_within(limit: Duration) -> bool {
    let busy = |messages: &mut Messages| messages.writer == Writer::Busy;
    let waited = CHANGED.wait_timeout_while(lock(), limit, busy);
    let (messages, _) = waited.unwrap_or_else(PoisonError::into_inner);
    messages.writer != Writer::Busy
}

/// Writes a message, or has it written.
pub(super) fn tell(text: String) {
    let mut messages = lock();
    if !messages.queued {
        drop(messages);
        write(&mut io::stderr(), &text);
        return;
    }
    messages.push(text);
    if wake(messages) {
        let _ = told_within(IN_ORDER);
    }
}

/// Has a frame drawn, and does not wait for it.
pub(super) fn draw(frame: Frame) {
    let mut messages = lock();
    messages.frame = Some(frame);
    let _ = wake(messages);
}

/// Has the thread look at what there is to do, and tells whether it had nothing else to do.
fn wake(mut messages: MutexGuard<'_, Messages>) -> bool {
    let before = std::mem::replace(&mut messages.writer, Writer::Busy);
    drop(messages);
    match before {
        Writer::Busy => return false,
        Writer::Idle => CHANGED.notify_all(),
        Writer::NotThere => start(),
    }
    true
}

fn start() {
    let started = thread::Builder::new().name("messages".into()).spawn(|| {
        loop {
            write_next();
        }
    });
    if started.is_err() {
        // Without a thread nobody writes, and so nobody is to wait for it. The next message may find one.
        lock().writer = Writer::NotThere;
    }
}

/// Waits for a message and writes it.
fn write_next() {
    let mut messages = lock();
    match messages.pop() {
        Some(next) => {
            drop(messages);
            match next {
                Next::Say(text) => write(&mut io::stderr(), &text),
                Next::Draw(frame) => live::show(frame),
            }
        }
        None => {
            messages.writer = Writer::Idle;
            CHANGED.notify_all();
            let idle = |messages: &mut Messages| messages.writer == Writer::Idle;
            drop(CHANGED.wait_while(messages, idle));
        }
    }
}

/// Writes on a line of its own. Without a standard error there is nobody to tell.
pub(super) fn write(to: &mut impl Write, text: &str) {
    // Held until it is written: what a host writes next begins a line, and is judged so.
    let mut line = current_line();
    let begun = !std::mem::take(&mut *line).is_empty();
    let newline = if begun { "\n" } else { "" };
    // In one piece.
    live::aside(|| drop(to.write_all(format!("{newline}{text}\n").as_bytes())));
}

/// A panic of another thread must not silence this one.
fn lock() -> MutexGuard<'static, Messages> {
    MESSAGES.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_do_not_fit_are_counted_in_one_line_behind_those_that_do() {
        let mut messages = Messages::new();

        (0..QUEUE + 3).for_each(|number| messages.push(number.to_string()));

        let mut said = std::iter::from_fn(|| match messages.pop()? {
            Next::Say(text) => Some(text),
            Next::Draw(_) => None,
        });
        for number in 0..QUEUE {
            assert_eq!(said.next(), Some(number.to_string()));
        }
        let counted = "controller: 3 messages found no reader in time";
        assert_eq!(said.next().as_deref(), Some(counted));
        assert_eq!(said.next(), None);
    }
}
