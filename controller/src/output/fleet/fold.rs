//! Identical results under one header.
//!
//! ```text
//! web[01-03,07] (4)
//!   | a line of standard output
//!   ! a line of standard error
//! web05 (1): exit 2
//! ```

use std::collections::BTreeMap;

use proto::{
    id::NodeName,
    run::{Exit, Outcome},
    text::escaped,
};

use super::{
    lines,
    results::{Digest, Result, Results},
};
use crate::{
    orchestrator::fleet::{End, Skip},
    output::{
        report::{Captured, Gathered, why},
        terminal::show,
    },
    targets::compact::compact,
};

/// What stands before lines of standard output, of standard error, and of our own.
const OF_STDOUT: &str = "  | ";
const OF_STDERR: &str = "  ! ";
const OF_OURS: &str = "  (";

/// Targets with the same result.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) names: Vec<&'a NodeName>,
    pub(super) label: Option<String>,
    pub(super) result: &'a Result,
}

impl Group<'_> {
    /// Returns the line above the output.
    pub(super) fn header(&self) -> String {
        let names = compact(self.names.iter().copied());
        let label = self.label.as_ref().map(|label| format!(": {label}"));
        format!(
            "{names} ({}){}\n",
            self.names.len(),
            label.unwrap_or_default()
        )
    }
}

/// Returns the results in groups, the largest first.
pub(super) fn groups(results: &Results) -> Vec<Group<'_>> {
    let mut by_result: BTreeMap<(Option<String>, Digest), Group<'_>> = BTreeMap::new();
    for (name, result) in results.ended() {
        let label = label(&result.end);
        let group = by_result.entry((label, result.digest));
        let group = group.or_insert_with_key(|(label, _)| Group {
            names: Vec::new(),
            label: label.clone(),
            result,
        });
        group.names.push(name);
    }
    let mut groups: Vec<Group<'_>> = by_result.into_values().collect();
    groups.sort_by(|a, b| (b.names.len(), &a.names).cmp(&(a.names.len(), &b.names)));
    groups
}

/// Says how it ended, where that is not simply well and whole.
fn label(end: &End) -> Option<String> {
    match end {
        End::Over { left_out, .. } if *left_out > 0 => {
            let missing = format!("({left_out} bytes of its output left out)");
            let ended = ending(end).map(|ended| format!("{ended} {missing}"));
            Some(ended.unwrap_or(missing))
        }
        End::Over { .. } | End::NotStarted { .. } | End::Left | End::Skipped(_) => ending(end),
    }
}

fn ending(end: &End) -> Option<String> {
    match end {
        End::Over { outcome, .. } => match outcome {
            Outcome::Finished(Exit::Code(0)) => None,
            Outcome::Finished(Exit::Code(code)) => Some(format!("exit {code}")),
            Outcome::Finished(Exit::Signal(signal)) => Some(format!("ended by signal {signal}")),
            Outcome::Lost(_) => Some("lost".into()),
            Outcome::Refused(_)
            | Outcome::TimedOut(_)
            | Outcome::Cancelled
            | Outcome::NotStarted => why(outcome).map(|why| escaped(&why)),
        },
        End::NotStarted { unreachable, .. } => Some(match unreachable {
            true => "unreachable".into(),
            false => "not started".into(),
        }),
        End::Left => Some("left; it may still run".into()),
        End::Skipped(skip) => Some(format!("not started: {}", skipped(*skip))),
    }
}

/// Says why a target's turn did not come.
pub(super) const fn skipped(skip: Skip) -> &'static str {
    match skip {
        Skip::Threshold => "too many others failed",
        Skip::Interrupted => "interrupted before its turn",
        Skip::Output => "its output could not have been kept",
    }
}

/// Shows the results folded, a text for each group.
pub fn fold(results: &Results) -> impl Iterator<Item = String> + '_ {
    groups(results).into_iter().map(|group| {
        let mut text = group.header();
        output(&group.result.output, &mut text);
        text
    })
}

/// Writes the lines of a result, each behind its mark.
pub(super) fn output(output: &Gathered, text: &mut String) {
    for (captured, mark) in [(&output.stdout, OF_STDOUT), (&output.stderr, OF_STDERR)] {
        for line in lines::all(captured.bytes()) {
            text.push_str(mark);
            text.push_str(&show(&line));
            text.push('\n');
        }
    }
    for (captured, stream) in [(&output.stdout, "stdout"), (&output.stderr, "stderr")] {
        text.extend(left_out(captured, stream));
    }
}

fn left_out(captured: &Captured, stream: &str) -> Option<String> {
    let bytes = captured.left_out();
    (bytes > 0).then(|| format!("{OF_OURS}{bytes} more bytes of {stream} were not kept)\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Stream;

    fn exit(code: i32) -> End {
        End::Over {
            outcome: Outcome::Finished(Exit::Code(code)),
            ended: None,
            broken: None,
            left_out: 0,
        }
    }

    fn results(of: &[(&str, &str, &str, i32)]) -> Results {
        let mut results = Results::default();
        for (name, stdout, stderr, code) in of {
            let name: NodeName = name.parse().unwrap();
            results.push(&name, Stream::Stdout, stdout.as_bytes());
            results.push(&name, Stream::Stderr, stderr.as_bytes());
            results.end(name, exit(*code));
        }
        results
    }

    fn folded(of: &[(&str, &str, &str, i32)]) -> String {
        fold(&results(of)).collect()
    }

    #[test]
    fn identical_results_stand_under_one_header_and_the_largest_group_first() {
        let shown = folded(&[
            ("web01", "up\n", "", 0),
            ("db1", "down\n", "oops", 2),
            ("web02", "up\n", "", 0),
            ("web03", "up\n", "", 0),
        ]);

        assert_eq!(
            shown,
            "web[01-03] (3)\n  | up\ndb1 (1): exit 2\n  | down\n  ! oops\n"
        );
    }

    #[test]
    fn results_differ_by_exit_code_and_by_stream_alone() {
        let shown = folded(&[("a", "x", "", 0), ("b", "x", "", 1), ("c", "", "x", 0)]);

        assert_eq!(shown.matches(" (1)").count(), 3, "{shown}");
    }

    #[test]
    fn a_result_with_output_missing_is_not_folded_with_whole_ones() {
        let mut results = results(&[("a", "x\n", "", 0), ("b", "x\n", "", 0)]);
        for (name, code) in [("c", 0), ("d", 3)] {
            let name: NodeName = name.parse().unwrap();
            results.push(&name, Stream::Stdout, b"x\n");
            let mut end = exit(code);
            if let End::Over { left_out, .. } = &mut end {
                *left_out = 7;
            }
            results.end(name, end);
        }

        let shown: String = fold(&results).collect();

        assert_eq!(
            shown,
            "a,b (2)\n  | x\nc (1): (7 bytes of its output left out)\n  | x\n\
             d (1): exit 3 (7 bytes of its output left out)\n  | x\n"
        );
    }

    #[test]
    fn output_can_forge_no_header_and_steer_no_terminal() {
        let evil = "web[01-99] (99)\rdb (1)\n\x1b]52;c;eA==\x07\n  | x\n(3 more)";
        let shown = folded(&[("a", evil, evil, 0)]);

        let outside: Vec<&str> = shown
            .lines()
            .filter(|line| !line.starts_with("  "))
            .collect();
        assert_eq!(outside, ["a (1)"]);
        assert!(
            shown.chars().all(|c| c == '\n' || !c.is_control()),
            "{shown:?}"
        );
    }
}
