//! Results against the majority's, as unified differences.

use std::time::Duration;

use similar::TextDiff;

use super::{
    fold::{Group, groups, output},
    lines,
    results::Results,
};
use crate::output::{report::Captured, terminal::show};

/// How long the shortest difference of two outputs is looked for. After that any will do: a host
/// must not keep this process busy by what it prints.
const PATIENCE: Duration = Duration::from_millis(500);

/// Lines around a change.
const AROUND: usize = 3;

/// Shows what most targets said, and then how each other result differs from it.
pub fn compare(results: &Results) -> impl Iterator<Item = String> + '_ {
    let mut groups = groups(results).into_iter();
    let majority = groups.next();
    let first = majority.as_ref().map(|group| {
        let mut text = group.header();
        output(&group.result.output, &mut text);
        text
    });
    let others = groups.map(move |group| match &majority {
        Some(majority) => difference(majority, &group),
        None => group.header(),
    });
    first.into_iter().chain(others)
}

fn difference(majority: &Group<'_>, group: &Group<'_>) -> String {
    let mut text = group.header();
    let (theirs, ours) = (&majority.result.output, &group.result.output);
    let streams = [
        ("stdout", &theirs.stdout, &ours.stdout),
        ("stderr", &theirs.stderr, &ours.stderr),
    ];
    for (stream, theirs, ours) in streams {
        for line in unified(stream, theirs, ours).lines() {
            text.push_str("  | ");
            text.push_str(line);
            text.push('\n');
        }
    }
    if ours.left_out() + theirs.left_out() > 0 {
        text.push_str("  (not all of the output was kept, and the rest is not compared)\n");
    }
    text
}

fn unified(stream: &str, theirs: &Captured, ours: &Captured) -> String {
    if theirs.bytes() == ours.bytes() {
        return String::new();
    }
    let (theirs, ours) = (harmless(theirs), harmless(ours));
    let diff = TextDiff::configure()
        .timeout(PATIENCE)
        .diff_lines(&theirs, &ours);
    let mut unified = diff.unified_diff();
    let unified = unified
        .context_radius(AROUND)
        .header(&format!("{stream} of most"), stream)
        .missing_newline_hint(false)
        .to_string();
    if unified.is_empty() {
        return format!("{stream} differs in bytes that are not shown\n");
    }
    unified
}

fn harmless(captured: &Captured) -> String {
    let lines = lines::all(captured.bytes());
    lines.iter().map(|line| show(line) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use proto::{
        id::NodeName,
        run::{Exit, Outcome},
    };

    use super::*;
    use crate::{orchestrator::fleet::End, output::Stream};

    fn compared(of: &[(&str, &str)]) -> String {
        let mut results = Results::default();
        for (name, stdout) in of {
            let name: NodeName = name.parse().unwrap();
            results.push(&name, Stream::Stdout, stdout.as_bytes());
            let end = End::Over {
                outcome: Outcome::Finished(Exit::Code(0)),
                ended: None,
                broken: None,
                left_out: 0,
            };
            results.end(name, end);
        }
        compare(&results).collect()
    }

    #[test]
    fn others_are_shown_by_what_differs_from_most() {
        let shown = compared(&[("a1", "x\ny\n"), ("a2", "x\ny\n"), ("b", "x\nz\n")]);

        assert_eq!(
            shown,
            "a[1-2] (2)\n  | x\n  | y\nb (1)\n  | --- stdout of most\n  | +++ stdout\n  | @@ -1,2 +1,2 @@\n  |  x\n  | -y\n  | +z\n"
        );
    }

    #[test]
    fn difference_that_cannot_be_seen_is_told() {
        let shown = compared(&[("a", "x\n"), ("b", "x\r\n"), ("c", "x\n")]);

        assert!(
            shown.ends_with("b (1)\n  | stdout differs in bytes that are not shown\n"),
            "{shown}"
        );
    }

    #[test]
    fn output_can_forge_no_header() {
        let shown = compared(&[
            ("a", "x\n"),
            ("b", "c (9)\rd (8)\n\u{85}\u{2028}e (7)\n"),
            ("c", "x\n"),
        ]);

        let headers: Vec<&str> = shown
            .lines()
            .filter(|line| !line.starts_with("  | "))
            .collect();
        assert_eq!(headers, ["a,c (2)", "b (1)"]);
    }

    #[test]
    fn huge_outputs_without_a_common_line_are_compared_in_bounded_time() {
        let one: String = (0..60_000).map(|n| format!("{n}\n")).collect();
        let other: String = (0..60_000).rev().map(|n| format!("{n}x\n")).collect();

        let shown = compared(&[("a", &one), ("b", &other)]);

        assert!(shown.contains("+0x"), "{}", shown.len());
    }
}
