//! The question before a command runs everywhere.

use std::{
    collections::BTreeSet,
    io::{self, IsTerminal as _, Write as _},
};

use proto::id::NodeName;

use super::plan;
use crate::{orchestrator::Command, targets::compact::compact_cut};

/// Ranges that the question names.
const SHOWN: usize = 12;

/// Nobody can be asked.
#[derive(Debug, thiserror::Error)]
#[error(
    "this runs on every agent, and there is no terminal to ask whether it shall: add --yes, or look first with --plan"
)]
pub(in crate::cli) struct NotConfirmed;

/// Tells whether somebody can be asked.
pub(super) fn possible(stdin_is_taken: bool) -> Result<(), NotConfirmed> {
    let terminals = io::stdin().is_terminal() && io::stderr().is_terminal();
    match terminals && !stdin_is_taken {
        true => Ok(()),
        false => Err(NotConfirmed),
    }
}

/// Asks. Anything but a clear yes is a no.
pub(super) async fn confirmed(
    targets: &BTreeSet<NodeName>,
    command: &Command,
) -> anyhow::Result<bool> {
    let count = targets.len();
    let names = compact_cut(targets, SHOWN);
    let command = plan::shown(command);
    let question = format!("Run {command} on {count} agents ({names})? [y/N] ");
    let answer = tokio::task::spawn_blocking(move || -> io::Result<String> {
        let mut stderr = io::stderr();
        stderr.write_all(question.as_bytes())?;
        stderr.flush()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(answer)
    });
    let answer = answer.await??;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
