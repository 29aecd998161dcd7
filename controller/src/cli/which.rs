//! Which run a person means, and where it is.

use anyhow::{Context as _, bail};
use clap::Args;
use proto::id::{NodeName, RunId};

use super::Global;
use crate::home::Home;

/// A run that was asked for before.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// The run's id, or the beginning of one that this controller asked for.
    #[arg(value_name = "RUN")]
    run: String,
    /// On which agent; needed where the run is on several, or another controller's folder has the note.
    #[arg(short, long, value_name = "NAME")]
    target: Option<NodeName>,
}

/// A run, and on which agents it is.
#[derive(Debug)]
pub(super) struct Meant {
    pub(super) run: RunId,
    pub(super) targets: Vec<NodeName>,
}

impl Which {
    /// Looks the run up in this controller's note of runs.
    pub(super) fn look_up(&self, global: &Global) -> anyhow::Result<Meant> {
        let history = Home::find(global.home.clone())?.history();
        match (history.find(&self.run), &self.target) {
            (Ok(entry), Some(target)) => Ok(Meant {
                run: entry.run,
                targets: vec![target.clone()],
            }),
            (Ok(entry), None) => Ok(Meant {
                run: entry.run,
                targets: entry.targets.into_keys().collect(),
            }),
            // Somebody else's note has it, and the agent is named.
            (Err(error), Some(target)) => match self.run.parse() {
                Ok(run) => Ok(Meant {
                    run,
                    targets: vec![target.clone()],
                }),
                Err(_) => Err(error.into()),
            },
            (Err(error), None) => Err(error).context("the run is not on note here"),
        }
    }

    /// The same for a run on one agent.
    pub(super) fn look_up_one(&self, global: &Global) -> anyhow::Result<(RunId, NodeName)> {
        let Meant { run, mut targets } = self.look_up(global)?;
        match (targets.len(), targets.pop()) {
            (1, Some(target)) => Ok((run, target)),
            (count, _) => bail!("run {run} is on {count} agents: name one with -t NAME"),
        }
    }
}
