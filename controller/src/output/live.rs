//! What happens just now, drawn on a terminal's standard error and gone when it is over.
//!
//! A line for each running target while they are few, and counters always. Nothing of it comes from
//! a host but names, which are plain.
//!
//! **Invariant:** nothing is drawn while output is being written to the terminal, and the thread of the
//! messages draws, so that a terminal that is stopped does not stop the runs. Guarded by
//! `terminal_that_shows_nothing_keeps_no_fleet`.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, IsTerminal as _},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use proto::id::NodeName;

use super::messages;

/// Running targets that have lines of their own.
const FEW: usize = 10;

/// Frames drawn in a second at most.
const HERTZ: u8 = 10;

/// What is drawn, held by whoever draws or writes.
static DRAWN: Mutex<Option<Drawn>> = Mutex::new(None);

#[derive(Debug)]
struct Drawn {
    all: MultiProgress,
    lines: HashMap<NodeName, ProgressBar>,
    counters: ProgressBar,
}

/// What is to be drawn next.
#[derive(Debug)]
pub(super) enum Frame {
    /// The targets that have lines, and the counters.
    Of {
        lines: BTreeMap<NodeName, String>,
        counters: String,
    },
    /// Nothing any more.
    Gone,
}

/// Writes to the terminal while nothing is drawn there.
pub(super) fn aside<T>(write: impl FnOnce() -> T) -> T {
    match &*DRAWN.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(drawn) => drawn.all.suspend(write),
        None => write(),
    }
}

/// Draws how far many targets are.
#[derive(Debug)]
pub struct Live {
    begun: Instant,
    targets: usize,
    running: BTreeMap<NodeName, Instant>,
    ended: [usize; 2],
}

impl Live {
    /// Begins, if standard error is a terminal that can move its cursor.
    #[must_use]
    pub fn begin(targets: usize) -> Option<Self> {
        let able = std::env::var("TERM").is_ok_and(|term| !term.is_empty() && term != "dumb");
        if !able || !io::stderr().is_terminal() {
            return None;
        }
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(HERTZ));
        let counters = all.add(line());
        *DRAWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(Drawn {
            all,
            lines: HashMap::new(),
            counters,
        });
        Some(Self {
            begun: Instant::now(),
            targets,
            running: BTreeMap::new(),
            ended: [0, 0],
        })
    }

    /// Notes that a target has its turn.
    pub fn started(&mut self, target: &NodeName) {
        self.running.insert(target.clone(), Instant::now());
    }

    /// Notes that a target has ended.
    pub fn ended(&mut self, target: &NodeName, ok: bool) {
        self.running.remove(target);
        self.ended[usize::from(!ok)] += 1;
    }

    /// Has it drawn, once nothing else is being written.
    pub fn draw(&self) {
        let few = self.running.len() <= FEW;
        let line = |(name, since): (&NodeName, &Instant)| {
            let text = format!("  {name}  {:.0} s", since.elapsed().as_secs_f32());
            (name.clone(), text)
        };
        messages::draw(Frame::Of {
            lines: self.running.iter().filter(|_| few).map(line).collect(),
            counters: self.counted(),
        });
    }

    fn counted(&self) -> String {
        let [ok, failed] = self.ended;
        let running = self.running.len();
        let waiting = self.targets.saturating_sub(ok + failed + running);
        let seconds = self.begun.elapsed().as_secs_f32();
        format!("{running} running, {ok} ok, {failed} not, {waiting} waiting; {seconds:.0} s")
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        messages::draw(Frame::Gone);
    }
}

/// Draws. Waits for who writes to the terminal, and for the terminal.
pub(super) fn show(frame: Frame) {
    let mut drawn = DRAWN.lock().unwrap_or_else(PoisonError::into_inner);
    match frame {
        Frame::Of { lines, counters } => {
            if let Some(drawn) = &mut *drawn {
                drawn.show(&lines, counters);
            }
        }
        // A terminal that cannot be cleared shows an old line.
        Frame::Gone => drop(drawn.take().map(|drawn| drawn.all.clear())),
    }
}

impl Drawn {
    fn show(&mut self, lines: &BTreeMap<NodeName, String>, counters: String) {
        self.lines.retain(|name, line| {
            let stays = lines.contains_key(name);
            if !stays {
                line.finish_and_clear();
                self.all.remove(line);
            }
            stays
        });
        for (name, text) in lines {
            let drawn = self.lines.entry(name.clone());
            let drawn = drawn.or_insert_with(|| self.all.insert_before(&self.counters, line()));
            drawn.set_message(text.clone());
            drawn.tick();
        }
        self.counters.set_message(counters);
        self.counters.tick();
    }
}

fn line() -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_msg}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::no_length().with_style(style)
}
