//! What happens just now, drawn on a terminal's standard error and gone when it is over.
//!
//! A line for each running target while they are few, and counters always. Nothing of it comes from
//! a host but names, which are plain.
//!
//! **Invariant:** nothing is drawn while output is being written to the terminal, and nothing that
//! draws waits for a writer: a terminal that is stopped must not stop the runs.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, IsTerminal as _},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use proto::id::NodeName;

/// Running targets that have lines of their own.
const FEW: usize = 10;

/// Frames drawn in a second at most.
const HERTZ: u8 = 10;

/// What is drawn, held by whoever draws or writes.
static DRAWN: Mutex<Option<MultiProgress>> = Mutex::new(None);

/// Writes to the terminal while nothing is drawn there.
pub(super) fn aside<T>(write: impl FnOnce() -> T) -> T {
    match &*DRAWN.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(drawn) => drawn.suspend(write),
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
    lines: HashMap<NodeName, ProgressBar>,
    counters: ProgressBar,
}

impl Live {
    /// Begins, if standard error is a terminal that can move its cursor.
    #[must_use]
    pub fn begin(targets: usize) -> Option<Self> {
        let able = std::env::var("TERM").is_ok_and(|term| !term.is_empty() && term != "dumb");
        if !able || !io::stderr().is_terminal() {
            return None;
        }
        let drawn = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(HERTZ));
        let counters = drawn.add(line());
        *DRAWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(drawn);
        Some(Self {
            begun: Instant::now(),
            targets,
            running: BTreeMap::new(),
            ended: [0, 0],
            lines: HashMap::new(),
            counters,
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

    /// Draws, unless something is being written.
    pub fn draw(&mut self) {
        let Ok(drawn) = DRAWN.try_lock() else { return };
        let Some(drawn) = &*drawn else { return };
        let shown = |name: &NodeName| self.running.len() <= FEW && self.running.contains_key(name);
        self.lines.retain(|name, line| {
            let stays = shown(name);
            if !stays {
                line.finish_and_clear();
                drawn.remove(line);
            }
            stays
        });
        for (name, since) in self.running.iter().filter(|(name, _)| shown(name)) {
            let drawn_line = self.lines.entry(name.clone());
            let drawn_line =
                drawn_line.or_insert_with(|| drawn.insert_before(&self.counters, line()));
            drawn_line.set_message(format!("  {name}  {:.0} s", since.elapsed().as_secs_f32()));
            drawn_line.tick();
        }
        self.counters.set_message(self.counted());
        self.counters.tick();
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
        // A terminal that is stopped, or cannot be cleared, shows an old line.
        if let Ok(mut drawn) = DRAWN.try_lock() {
            drop(drawn.take().map(|drawn| drawn.clear()));
        }
    }
}

fn line() -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_msg}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::no_length().with_style(style)
}
