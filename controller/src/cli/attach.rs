//! `controller attach`: hears a run again, from its first byte that is kept, as its caller.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use proto::{
    id::{NodeName, RunId},
    run::Hold,
};

use super::{
    Global, describe_error,
    note::Note,
    run::{
        drive::{self, OnInterrupt, Shown, Stage, drive},
        one::Asked,
    },
    setup,
    which::Which,
};
use crate::{
    config::DEFAULT_GRACE,
    exit::{code, process_code},
    orchestrator::AttachRun,
    output::View,
    runner::Running,
    timespan::limit,
};

/// Come back to a run: its output from the beginning, then as it is produced, and its exit code.
///
/// This becomes the run's caller: Ctrl-C cancels it, and it waits when this does not read.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  controller attach 3f2a

Exit codes: as of `controller run`; 255 where the agent was not reached or knows no such run.")]
pub(super) struct AttachArgs {
    #[command(flatten)]
    which: Which,
    /// Only hear it: it is not held up, and Ctrl-C leaves it as it is.
    #[arg(long)]
    watch: bool,
    /// Print the outcome and the output as one JSON object.
    #[arg(long, conflicts_with = "ndjson")]
    json: bool,
    /// Print what happens as JSON objects, one a line.
    #[arg(long)]
    ndjson: bool,
    /// Let remote control characters reach the terminal.
    #[arg(long)]
    raw: bool,
    /// How long to look for the agent.
    #[arg(long, value_name = "TIME", env = "MESOSYNC_CONNECT_TIMEOUT", value_parser = limit)]
    connect_timeout: Option<Duration>,
}

/// Runs the verb.
pub(super) fn attach(global: &Global, args: &AttachArgs) -> ExitCode {
    let (run, target) = match args.which.look_up_one(global) {
        Ok(meant) => meant,
        Err(error) => return process_code(describe_error::report(&error, code::USAGE)),
    };
    match setup::block_on(hear(global, args, run, target)) {
        Ok(code) => process_code(code),
        Err(error) => process_code(describe_error::report(&error, code::UNREACHABLE)),
    }
}

const fn shown(args: &AttachArgs) -> Shown {
    match (args.json, args.ndjson, args.raw) {
        (true, _, _) => Shown::Json,
        (false, true, _) => Shown::Ndjson,
        (false, false, true) => Shown::Bytes(View::Raw),
        (false, false, false) => Shown::Bytes(View::Auto),
    }
}

async fn hear(
    global: &Global,
    args: &AttachArgs,
    id: RunId,
    target: NodeName,
) -> anyhow::Result<u8> {
    let context = setup::open(global).await?;
    let shown = shown(args);
    let stage = Stage::set(shown, drive::Asked::Before);
    let wish = AttachRun {
        id,
        target: target.clone(),
        hold: if args.watch { Hold::Watch } else { Hold::Take },
        window: setup::window(args.connect_timeout, &context.config),
    };
    let grace = context.config.grace.unwrap_or(DEFAULT_GRACE);
    let here = context.runner.here().await?;
    let mut running = Running::Here(Box::new(here.attach(wish).await?));
    let on_interrupt = match args.watch {
        true => OnInterrupt::Leave,
        false => OnInterrupt::Cancel { grace },
    };
    let driven = drive(&mut running, stage, None, on_interrupt).await;
    context.runner.remember_target(&running);
    context.runner.shutdown().await;
    let asked = Asked { id, target, shown };
    let outcome = running.outcome();
    let code = asked.conclude(&running, driven);
    if outcome.is_some_and(drive::is_unknown) {
        return Ok(match code {
            code::NOT_STARTED => code::UNREACHABLE,
            code => code,
        });
    }
    Note::of(&context.home, id).ended_earlier(running.target(), outcome, running.ended());
    Ok(code)
}
