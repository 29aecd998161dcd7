//! `controller cancel`: ends a run, wherever it is, and says what the agents say.

use std::{process::ExitCode, sync::Arc, time::Duration};

use clap::Args;
use node::{agent::ledger::RETENTION, run::CancelError};
use proto::{
    id::NodeName,
    run::{Ended, Refusal, Tree},
};

use super::{
    Global, describe_error, setup,
    turns::{Asked, in_turns},
    which::{Meant, Which},
};
use crate::{
    config::DEFAULT_GRACE,
    exit::{code, process_code},
    orchestrator::EndRunError,
    output::{self, chain, report},
    timespan::{limit, timespan},
};

/// End a run and all its processes, and wait until its agents say that nothing is left.
///
/// A run that has ended is left as it is; one that never began never will.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  controller cancel 3f2a

Exit codes: 0 nothing of it is left, 1 some of its processes live on, 255 an agent was not reached
or does not know.")]
pub(super) struct CancelArgs {
    #[command(flatten)]
    which: Which,
    /// Time between asking processes to end and killing them.
    #[arg(long, value_name = "TIME", env = "MESOSYNC_GRACE", value_parser = timespan)]
    grace: Option<Duration>,
    /// How long to look for the agents.
    #[arg(long, value_name = "TIME", env = "MESOSYNC_CONNECT_TIMEOUT", value_parser = limit)]
    connect_timeout: Option<Duration>,
}

/// Runs the verb.
pub(super) fn cancel(global: &Global, args: &CancelArgs) -> ExitCode {
    let meant = match args.which.look_up(global) {
        Ok(meant) => meant,
        Err(error) => return process_code(describe_error::report(&error, code::USAGE)),
    };
    match setup::block_on(end(global, args, meant)) {
        Ok(code) => process_code(code),
        Err(error) => process_code(describe_error::report(&error, code::UNREACHABLE)),
    }
}

async fn end(global: &Global, args: &CancelArgs, meant: Meant) -> anyhow::Result<u8> {
    let context = setup::open(global).await?;
    let grace = args.grace.or(context.config.grace).unwrap_or(DEFAULT_GRACE);
    let window = setup::window(args.connect_timeout, &context.config);
    let runner = Arc::new(context.runner);
    let by = Arc::clone(&runner);
    let mut asked = in_turns(meant.targets, move |target| {
        let runner = Arc::clone(&by);
        async move {
            let here = match runner.here().await {
                Ok(here) => here,
                Err(told) => return Asked::Answered(Err(told)),
            };
            let ended = here.cancel(meant.run, &target, grace, window).await;
            match may_be_asked_again(&ended) {
                true => Asked::NotReached(Ok((target, ended))),
                false => Asked::Answered(Ok((target, ended))),
            }
        }
    });
    let mut worst = code::OK;
    while let Some(answer) = asked.join_next().await {
        let (target, ended) = answer??;
        worst = worst.max(tell(&target, ended));
    }
    runner.shutdown().await;
    Ok(worst)
}

/// Tells whether the agent was not reached, or lost before it answered: asking twice ends nothing twice.
const fn may_be_asked_again(ended: &Result<Ended, EndRunError>) -> bool {
    match ended {
        Ok(_) => false,
        Err(EndRunError::Unreachable(_)) => true,
        Err(EndRunError::Cancel { source, .. }) => match source {
            CancelError::Link(_) => true,
            CancelError::Refused(_) | CancelError::Violation => false,
        },
    }
}

fn tell(target: &NodeName, ended: Result<Ended, EndRunError>) -> u8 {
    let (text, code) = match ended {
        Ok(ended) => of_ended(&ended),
        Err(EndRunError::Cancel {
            source: CancelError::Refused(Refusal::GivenUp),
            ..
        }) => (
            format!(
                "it is not on record there, and now never will be accepted; a run that ended over {} \
                 hours ago may have been forgotten",
                RETENTION.as_secs() / 3600
            ),
            code::OK,
        ),
        Err(EndRunError::Cancel {
            source: CancelError::Refused(Refusal::NotStartedEarlier(_)),
            ..
        }) => (
            "it was never started there, and never will be".into(),
            code::OK,
        ),
        Err(EndRunError::Cancel {
            source: CancelError::Refused(refusal),
            ..
        }) => (refusal.to_string(), code::UNREACHABLE),
        Err(error @ (EndRunError::Cancel { .. } | EndRunError::Unreachable(_))) => {
            (chain(&error), code::UNREACHABLE)
        }
    };
    output::say(&format!("{target}: {text}"));
    code
}

/// Says how a run ended, and what of it did not.
fn of_ended(ended: &Ended) -> (String, u8) {
    let how = match ended.result.outcome() {
        Some(outcome) => report::ended(&outcome),
        None => "it ended there when its caller or its agent was gone".into(),
    };
    match &ended.tree {
        Tree::Gone => (how, code::OK),
        Tree::Left { pids } => (
            format!("{how}; it left processes {pids:?} behind, which live on"),
            code::FAILURE,
        ),
        Tree::Unconfirmed { pids } => (
            format!("NOT confirmed: processes {pids:?} could not be ended"),
            code::FAILURE,
        ),
    }
}

#[cfg(test)]
mod tests {
    use proto::run::{Exit, Outcome, Wire};

    use super::*;

    #[test]
    fn a_run_that_left_processes_behind_is_not_gone() {
        let ended = |tree| Ended {
            result: Wire::Finished(Exit::Code(0)),
            tree,
            stdout_bytes: 0,
            stderr_bytes: 0,
            duration_ms: 5,
        };

        let (text, code) = of_ended(&ended(Tree::Left { pids: vec![7, 8] }));

        assert_eq!(code, code::FAILURE);
        assert_eq!(
            text,
            "it ended with exit code 0; it left processes [7, 8] behind, which live on"
        );
        let gone = of_ended(&ended(Tree::Gone));
        let how = report::ended(&Outcome::Finished(Exit::Code(0)));
        assert_eq!(gone, (how, code::OK));
    }
}
