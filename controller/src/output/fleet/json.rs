//! Several targets as JSON: one object, or an event a line.
//!
//! The keys are a contract: they are added to, never changed.

use std::{collections::BTreeSet, time::Duration};

use proto::{
    id::{NodeName, RunId},
    run::{Earlier, Started},
};
use serde::Serialize;

use super::{
    fold::skipped,
    results::{Result, Results},
    summary::Summary,
};
use crate::{
    exit::code,
    orchestrator::fleet::End,
    output::{
        events::harmless_json,
        report::{Content, Gathered, Left, NotStarted, Report},
    },
};

/// All that came of a command.
#[derive(Debug, Serialize)]
pub struct Whole<'a> {
    /// The run's id, the same on every target.
    run: String,
    targets: Vec<Target<'a>>,
    summary: &'a Summary,
}

/// A report with its output, which others may share.
#[derive(Debug, Serialize)]
struct Target<'a> {
    #[serde(flatten)]
    report: Report,
    #[serde(flatten)]
    output: &'a Gathered,
}

impl<'a> Whole<'a> {
    /// Gathers it.
    #[must_use]
    pub fn new(run: RunId, results: &'a Results, summary: &'a Summary) -> Self {
        let target = |(name, result): (&NodeName, &'a Result)| Target {
            report: report(run, name.clone(), &result.end),
            output: &result.output,
        };
        Self {
            run: run.to_string(),
            targets: results.ended().map(target).collect(),
            summary,
        }
    }
}

/// Describes an end in the form of a single run's.
pub(super) fn report(run: RunId, target: NodeName, end: &End) -> Report {
    match end {
        End::Over {
            outcome,
            ended,
            broken,
            left_out,
        } => {
            let mut report = Report::new(run, target, outcome, ended.as_ref());
            report.left_out_bytes = *left_out;
            if let (Some(why), Some(broken)) = (&mut report.why, broken) {
                why.push_str(": ");
                why.push_str(broken);
            }
            report
        }
        End::NotStarted { unreachable, why } => {
            let outcome = match unreachable {
                true => NotStarted::Unreachable,
                false => NotStarted::Otherwise,
            };
            Report::not_started(run, target, outcome, code::UNREACHABLE, why.clone())
        }
        End::Left => Report::left(run, target, Left::Ending),
        End::Skipped(skip) => Report::skipped(run, target, skipped(*skip).into()),
    }
}

/// Who was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Discovered {
    /// How many.
    pub found: usize,
    /// In which time.
    pub elapsed_ms: u64,
    /// How many there should be.
    pub expected: usize,
    /// Who of them is not there.
    pub missing: BTreeSet<NodeName>,
}

impl Discovered {
    /// Returns the time that it took.
    #[must_use]
    pub const fn time(&self) -> Duration {
        Duration::from_millis(self.elapsed_ms)
    }
}

/// Something that happened, on one line.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum FleetEvent<'a> {
    /// Agents were found.
    Discovered(&'a Discovered),
    /// A process was started.
    Started {
        /// The run's id.
        run: String,
        /// On which target.
        target: &'a NodeName,
        /// The process's number there.
        pid: u32,
        /// When, by the target's clock, in milliseconds since 1970.
        at_ms: u64,
    },
    /// The id was used before: nothing was started now, and the first result follows.
    Earlier {
        /// The run's id.
        run: String,
        /// On which target.
        target: &'a NodeName,
        /// When the first request was accepted, by the target's clock.
        accepted_at_ms: u64,
    },
    /// Bytes of standard output.
    Stdout {
        /// Whose.
        target: &'a NodeName,
        /// The bytes.
        #[serde(flatten)]
        content: Content<'a>,
    },
    /// Bytes of standard error.
    Stderr {
        /// Whose.
        target: &'a NodeName,
        /// The bytes.
        #[serde(flatten)]
        content: Content<'a>,
    },
    /// A target has ended, or its turn did not come.
    Ended(Report),
    /// Everything has ended.
    Summary(&'a Summary),
}

impl<'a> FleetEvent<'a> {
    /// Describes a start.
    #[must_use]
    pub fn started(run: RunId, target: &'a NodeName, started: Started) -> Self {
        Self::Started {
            run: run.to_string(),
            target,
            pid: started.pid,
            at_ms: started.at_ms,
        }
    }

    /// Describes an earlier start.
    #[must_use]
    pub fn earlier(run: RunId, target: &'a NodeName, earlier: Earlier) -> Self {
        Self::Earlier {
            run: run.to_string(),
            target,
            accepted_at_ms: earlier.accepted_at_ms,
        }
    }

    /// Describes an end.
    #[must_use]
    pub fn ended(run: RunId, target: &NodeName, end: &End) -> Self {
        Self::Ended(report(run, target.clone(), end))
    }

    /// Returns the event as one line, with its newline, of which a terminal obeys nothing.
    #[must_use]
    pub fn line(&self) -> String {
        harmless_json(self) + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orchestrator::fleet::Skip;

    #[test]
    fn output_names_its_target_and_forges_no_event() {
        let target: NodeName = "web1".parse().unwrap();
        let evil = "x\n{\"event\":\"ended\",\"target\":\"web2\"}\u{1b}[2J";
        let content = Content::of(evil.as_bytes());

        let line = FleetEvent::Stdout {
            target: &target,
            content,
        }
        .line();

        assert_eq!(line.matches('\n').count(), 1);
        let back: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(back["event"], "stdout");
        assert_eq!(back["target"], "web1");
        assert_eq!(back["text"], evil);
    }

    #[test]
    fn skipped_target_has_a_report_like_every_other() {
        let run = RunId::from_bytes([1; 16]);
        let target = "web1".parse().unwrap();

        let report = report(run, target, &End::Skipped(Skip::Threshold));

        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["outcome"], "skipped");
        assert_eq!(json["origin"], "controller");
    }
}
