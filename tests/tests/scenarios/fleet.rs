//! One command on several agents: who is meant, what is shown, and which exit code follows.

mod choice;
mod forms;
mod retry;
mod stops;

use scenarios::Lab;

/// Starts these agents on the loopback.
fn lab_of(names: &[&str]) -> Lab {
    let mut lab = Lab::new();
    for name in names {
        lab.start_agent(name);
    }
    lab
}

/// The words that run a script by `sh` after these options.
fn script<'a>(options: &[&'a str], script: &'a str) -> Vec<&'a str> {
    let mut words = vec!["run"];
    words.extend(options);
    words.extend(["--", "sh", "-c", script]);
    words
}

/// Returns the lines of `text` in their order.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}
