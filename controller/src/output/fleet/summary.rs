//! The arithmetic at the end: how many did what, and which exit code follows.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::Duration,
};

use proto::{
    id::NodeName,
    run::{Exit, Outcome},
};
use serde::Serialize;

use crate::{
    exit::Several,
    orchestrator::fleet::{End, Skip},
    targets::compact::compact_cut,
};

/// Numbers and ranges that are named in one place of the line.
const NAMED: usize = 4;

/// A way in which a target can end. In the order in which they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// With success.
    Ok,
    /// With another exit code than 0.
    Failed,
    /// By a signal.
    Signalled,
    /// By a limit.
    TimedOut,
    /// The agent did not start it.
    Refused,
    /// Because it was asked to.
    Cancelled,
    /// It was not reached.
    Unreachable,
    /// It was not asked, for another reason.
    NotStarted,
    /// Its end is not known.
    Lost,
    /// It was left while it might have run.
    Left,
    /// Its turn did not come.
    Skipped,
}

impl Counted {
    fn of(end: &End) -> Self {
        match end {
            End::Over { outcome, .. } => match outcome {
                Outcome::Finished(Exit::Code(0)) => Self::Ok,
                Outcome::Finished(Exit::Code(_)) => Self::Failed,
                Outcome::Finished(Exit::Signal(_)) => Self::Signalled,
                Outcome::TimedOut(_) => Self::TimedOut,
                Outcome::Refused(_) => Self::Refused,
                Outcome::Cancelled | Outcome::NotStarted => Self::Cancelled,
                Outcome::Lost(_) => Self::Lost,
            },
            End::NotStarted {
                unreachable: true, ..
            } => Self::Unreachable,
            End::NotStarted { .. } => Self::NotStarted,
            End::Skipped(_) => Self::Skipped,
            End::Left => Self::Left,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "exit≠0",
            Self::Signalled => "ended by a signal",
            Self::TimedOut => "timed out",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
            Self::Unreachable => "unreachable",
            Self::NotStarted => "not started",
            Self::Lost => "lost",
            Self::Left => "left",
            Self::Skipped => "skipped",
        }
    }

    /// Tells whether the target itself said how it ended.
    const fn is_finished(self) -> bool {
        match self {
            Self::Ok
            | Self::Failed
            | Self::Signalled
            | Self::TimedOut
            | Self::Refused
            | Self::Cancelled => true,
            Self::Unreachable | Self::NotStarted | Self::Lost | Self::Left | Self::Skipped => false,
        }
    }
}

/// How the targets of one command ended.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    targets: usize,
    finished: usize,
    elapsed_ms: u64,
    /// Whether no more were started because too many had failed.
    stopped_by_threshold: bool,
    /// Who ended in which way.
    #[serde(flatten)]
    ended: BTreeMap<Counted, BTreeSet<NodeName>>,
    /// Those of whose output some was no longer kept, however they ended.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    left_out: BTreeSet<NodeName>,
    /// Exit codes and signals that are told with the names.
    #[serde(skip)]
    codes: BTreeMap<(Counted, i32), BTreeSet<NodeName>>,
}

impl Summary {
    /// Begins to count.
    #[must_use]
    pub fn of(targets: usize) -> Self {
        Self {
            targets,
            ..Self::default()
        }
    }

    /// Counts an end.
    pub fn count(&mut self, target: &NodeName, end: &End) {
        let counted = Counted::of(end);
        self.insert(target, counted);
        if let End::Over { left_out: 1.., .. } = end {
            self.left_out.insert(target.clone());
        }
        self.stopped_by_threshold |= *end == End::Skipped(Skip::Threshold);
        let code = match end {
            End::Over {
                outcome: Outcome::Finished(Exit::Code(code) | Exit::Signal(code)),
                ..
            } if counted != Counted::Ok => *code,
            End::Over { .. } | End::NotStarted { .. } | End::Skipped(_) | End::Left => return,
        };
        let named = self.codes.entry((counted, code)).or_default();
        named.insert(target.clone());
    }

    fn insert(&mut self, target: &NodeName, counted: Counted) {
        self.finished += usize::from(counted.is_finished());
        self.ended
            .entry(counted)
            .or_default()
            .insert(target.clone());
    }

    /// Tells whether the end of `target` is counted.
    #[must_use]
    pub fn has(&self, target: &NodeName) -> bool {
        self.ended.values().any(|names| names.contains(target))
    }

    /// Takes how long it took.
    pub fn took(&mut self, time: Duration) {
        self.elapsed_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    }

    /// Returns the line for people.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    pub fn line(&self) -> String {
        let seconds = self.elapsed_ms as f64 / 1000.0;
        let mut line = format!(
            "Finished {}/{} in {seconds:.1} s",
            self.finished, self.targets
        );
        for (at, (counted, names)) in self.ended.iter().enumerate() {
            let sign = if at == 0 { ':' } else { ',' };
            // Writing to a string cannot fail.
            let _ = write!(line, "{sign} {} {}", names.len(), counted.words());
            if let Some(named) = self.named(*counted, names) {
                let _ = write!(line, " [{named}]");
            }
        }
        if !self.left_out.is_empty() {
            let (count, named) = (self.left_out.len(), compact_cut(&self.left_out, NAMED));
            let _ = write!(line, "; {count} with output left out [{named}]");
        }
        line
    }

    fn named(&self, counted: Counted, names: &BTreeSet<NodeName>) -> Option<String> {
        match counted {
            Counted::Ok => None,
            Counted::Failed | Counted::Signalled => {
                let with_code = self.codes.iter().filter(|((of, _), _)| *of == counted);
                let shown = with_code
                    .map(|((_, code), names)| format!("{}:{code}", compact_cut(names, NAMED)));
                let shown: Vec<String> = shown.collect();
                let more = shown.len().saturating_sub(NAMED);
                let mut text = shown[..shown.len() - more].join(" ");
                if more > 0 {
                    let _ = write!(text, " and {more} more codes");
                }
                Some(text)
            }
            Counted::TimedOut
            | Counted::Refused
            | Counted::Cancelled
            | Counted::Unreachable
            | Counted::NotStarted
            | Counted::Lost
            | Counted::Left
            | Counted::Skipped => Some(compact_cut(names, NAMED)),
        }
    }

    /// Returns those who ended well, and those who did not.
    #[must_use]
    pub fn split(&self) -> [Vec<&NodeName>; 2] {
        let (mut ok, mut not) = (Vec::new(), Vec::new());
        for (counted, names) in &self.ended {
            match *counted == Counted::Ok {
                true => ok.extend(names),
                false => not.extend(names),
            }
        }
        not.sort();
        [ok, not]
    }

    /// Returns what the exit code is made of.
    #[must_use]
    pub fn several(&self) -> Several {
        let any = |of: &[Counted]| of.iter().any(|one| self.ended.contains_key(one));
        Several {
            failed: any(&[
                Counted::Failed,
                Counted::Signalled,
                Counted::TimedOut,
                Counted::Refused,
                Counted::Cancelled,
                Counted::NotStarted,
            ]) || (any(&[Counted::Skipped]) && !self.stopped_by_threshold),
            unreachable: any(&[Counted::Unreachable, Counted::Lost, Counted::Left]),
            stopped: self.stopped_by_threshold,
        }
    }
}

/// Returns the line that tells who was found: `Discovered 42 in 412 ms (expected 44, missing: …)`.
#[must_use]
pub fn discovered(
    found: usize,
    time: Duration,
    expected: usize,
    missing: &BTreeSet<NodeName>,
) -> String {
    let mut line = format!("Discovered {found} in {} ms", time.as_millis());
    if expected > 0 {
        let _ = write!(line, " (expected {expected}");
        if !missing.is_empty() {
            let _ = write!(line, ", missing: {}", compact_cut(missing, 2 * NAMED));
        }
        line.push(')');
    }
    line
}

#[cfg(test)]
mod tests {
    use proto::run::Limit;

    use super::*;

    fn over(outcome: Outcome) -> End {
        End::Over {
            outcome,
            ended: None,
            broken: None,
            left_out: 0,
        }
    }

    fn exit(code: i32) -> End {
        over(Outcome::Finished(Exit::Code(code)))
    }

    fn unreachable() -> End {
        End::NotStarted {
            unreachable: true,
            why: String::new(),
        }
    }

    fn summary(ends: &[(&str, End)]) -> Summary {
        let mut summary = Summary::of(ends.len());
        for (name, end) in ends {
            summary.count(&name.parse().unwrap(), end);
        }
        summary.took(Duration::from_millis(1940));
        summary
    }

    #[test]
    fn line_adds_up() {
        let summary = summary(&[
            ("web01", exit(0)),
            ("web02", exit(0)),
            ("web03", exit(2)),
            ("web04", exit(2)),
            ("db1", exit(1)),
            ("db2", over(Outcome::Cancelled)),
            ("db3", unreachable()),
            ("db4", unreachable()),
            ("x", over(Outcome::TimedOut(Limit::Wall))),
        ]);

        assert_eq!(
            summary.line(),
            "Finished 7/9 in 1.9 s: 2 ok, 3 exit≠0 [db1:1 web[03-04]:2], 1 timed out [x], \
             1 cancelled [db2], 2 unreachable [db[3-4]]"
        );
    }

    #[test]
    fn output_that_is_missing_is_told_and_changes_no_exit_code() {
        let mut end = exit(0);
        if let End::Over { left_out, .. } = &mut end {
            *left_out = 1;
        }

        let summary = summary(&[("a", exit(0)), ("b", end)]);

        assert_eq!(
            summary.line(),
            "Finished 2/2 in 1.9 s: 2 ok; 1 with output left out [b]"
        );
        assert_eq!(summary.several().code(), 0);
        assert_eq!(summary.split()[0].len(), 2);
    }

    #[test]
    fn exit_code_has_a_bit_for_each_kind_of_trouble() {
        let skipped = || End::Skipped(Skip::Threshold);
        let table = [
            (vec![exit(0)], 0),
            (vec![exit(0), exit(9)], 2),
            (vec![unreachable()], 4),
            (vec![exit(1), unreachable()], 6),
            (vec![exit(1), skipped()], 10),
            (vec![unreachable(), skipped()], 12),
            (
                vec![over(Outcome::Cancelled), End::Skipped(Skip::Interrupted)],
                2,
            ),
            (vec![End::Skipped(Skip::Interrupted)], 2),
        ];

        for (ends, code) in table {
            let named: Vec<(String, End)> = (1..).map(|n| format!("w{n}")).zip(ends).collect();
            let named: Vec<(&str, End)> = named
                .iter()
                .map(|(name, end)| (name.as_str(), end.clone()))
                .collect();
            assert_eq!(summary(&named).several().code(), code, "{named:?}");
        }
    }

    #[test]
    fn missing_agents_are_counted_and_named() {
        let missing = ["web19", "db3"].map(|name| name.parse().unwrap()).into();

        assert_eq!(
            discovered(42, Duration::from_millis(412), 44, &missing),
            "Discovered 42 in 412 ms (expected 44, missing: db3,web19)"
        );
        assert_eq!(
            discovered(2, Duration::from_millis(3), 0, &BTreeSet::new()),
            "Discovered 2 in 3 ms"
        );
    }
}
