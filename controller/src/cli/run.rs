//! `controller run`: the main job. Words to a wish; then the run is driven and shown.

pub(super) mod drive;
mod stdin;
mod words;

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use proto::{
    id::{NodeName, RunId},
    run::Outcome,
};

use self::{
    drive::{Driven, Shown, drive},
    words::wish,
};
use super::{Global, describe_error, setup};
use crate::{
    config::DEFAULT_GRACE,
    exit::{Origin, code, of_outcome, process_code},
    orchestrator::Running,
    output::{self, View, chain, events::harmless_pretty_json, report},
};

/// Run a command on an agent, and show its output as it is produced.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  controller run -t srv-linux-01 -- uname -a
  controller run -t srv-linux-01 --shell 'journalctl -p err | tail -n 5'
  tar c . | controller run -t srv-linux-01 --stdin -- tar x -C /srv/www

Exit codes: the remote one as it is; 124 timed out, 125 not started, 126 not executable,
127 not found, 128+n ended by signal n, 130 interrupted, 254 denied, 255 unreachable or lost.")]
pub(super) struct RunArgs {
    /// The agent to run on.
    #[arg(short, long, value_name = "NAME")]
    target: NodeName,
    /// Run one script by this shell (bash, sh, zsh, pwsh, powershell, cmd), or the target's own.
    #[arg(long, value_name = "SHELL", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    shell: Option<String>,
    /// Run the script in this file by the shell.
    #[arg(long, value_name = "FILE", conflicts_with = "words")]
    script: Option<PathBuf>,
    /// Set a variable for the command.
    #[arg(short, long = "env", value_name = "NAME=VALUE")]
    env: Vec<std::ffi::OsString>,
    /// Run in this folder.
    #[arg(long, value_name = "DIR")]
    cwd: Option<std::ffi::OsString>,
    /// Give the command this program's standard input, or a file.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    stdin: Option<Option<PathBuf>>,
    /// End the command after this time, such as 30s or 5min.
    #[arg(long, value_name = "TIME", env = "MESOSYNC_TIMEOUT")]
    timeout: Option<humantime::Duration>,
    /// End the command when it writes nothing for this time.
    #[arg(long, value_name = "TIME", env = "MESOSYNC_IDLE_TIMEOUT")]
    idle_timeout: Option<humantime::Duration>,
    /// End the command when it has written this many bytes.
    #[arg(long, value_name = "BYTES")]
    max_output: Option<u64>,
    /// Let the command use this many bytes of memory at most.
    #[arg(long, value_name = "BYTES")]
    memory: Option<u64>,
    /// Let the command use this many seconds of processor time at most.
    #[arg(long, value_name = "SECONDS")]
    cpu: Option<u64>,
    /// Time between asking processes to end and killing them.
    #[arg(long, value_name = "TIME", env = "MESOSYNC_GRACE")]
    grace: Option<humantime::Duration>,
    /// How long to look for the agent.
    #[arg(long, value_name = "TIME", env = "MESOSYNC_CONNECT_TIMEOUT")]
    connect_timeout: Option<humantime::Duration>,
    /// The run's id: asking again with the same id starts nothing and returns the first result.
    #[arg(long, value_name = "ID")]
    run_id: Option<RunId>,
    /// Print the outcome and the output as one JSON object.
    #[arg(long, conflicts_with = "ndjson")]
    json: bool,
    /// Print what happens as JSON objects, one a line.
    #[arg(long)]
    ndjson: bool,
    /// Let remote control characters reach the terminal.
    #[arg(long)]
    raw: bool,
    /// The program and its arguments, or one script after --shell.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    words: Vec<std::ffi::OsString>,
}

/// Runs the verb.
pub(super) fn run(global: &Global, args: RunArgs) -> ExitCode {
    let wish = match wish(&args) {
        Ok(wish) => wish,
        Err(error) => {
            output::fail(
                error.as_ref(),
                Some("`controller run --help` shows examples"),
            );
            return process_code(code::USAGE);
        }
    };
    match setup::block_on(whole(global, &args, wish)) {
        Ok(code) => process_code(code),
        Err(error) => process_code(describe_error::report(&error)),
    }
}

async fn whole(global: &Global, args: &RunArgs, mut wish: words::Wish) -> anyhow::Result<u8> {
    let mut context = setup::open(global)?;
    let config = &context.config;
    let grace = args
        .grace
        .map(Into::into)
        .or(config.grace)
        .unwrap_or(DEFAULT_GRACE);
    wish.fill(config, grace, setup::window(args.connect_timeout, config));
    let mut running = context.orchestrator.start(wish.start).await?;
    let shown = match (args.json, args.ndjson) {
        (true, _) => Shown::Json,
        (false, true) => Shown::Ndjson,
        (false, false) => Shown::Bytes(if args.raw { View::Raw } else { View::Auto }),
    };
    let driven = drive(&mut running, shown, wish.stdin, grace).await?;
    if let Some(refusal) = running.not_let_in() {
        return Err(refusal.into());
    }
    context.orchestrator.remember_target(&running);
    context.orchestrator.shutdown().await;
    Ok(conclude(&running, &args.target, shown, driven))
}

/// Says what the exit code alone does not, and returns it.
fn conclude(running: &Running, target: &NodeName, shown: Shown, driven: Driven) -> u8 {
    let Some(outcome) = running.outcome() else {
        return match driven {
            Driven::LeftEarly | Driven::Over(_) => code::INTERRUPTED,
            Driven::OutputClosed => code::OUTPUT_CLOSED,
        };
    };
    let (code, origin) = of_outcome(outcome);
    if let Driven::Over(gathered) = driven {
        let mut report =
            report::Report::new(running.id(), target.clone(), outcome, running.ended());
        match shown {
            Shown::Json => {
                report.output = Some(gathered);
                drop(output::line(&harmless_pretty_json(&report)));
            }
            Shown::Ndjson => {
                let line = output::events::Event::Ended(&report).line();
                drop(output::line(&line.trim_end()));
            }
            Shown::Bytes(_) => {}
        }
    }
    if origin != Origin::Process {
        output::say(&explain(running, target, outcome));
    }
    code
}

fn explain(running: &Running, target: &NodeName, outcome: &Outcome) -> String {
    let mut text = format!("{target}: {}", report::why(outcome).unwrap_or_default());
    if let Some(broken) = running.broken() {
        text = format!("{text}: {}", chain(broken));
    }
    let unconfirmed = running.ended().map(|ended| &ended.tree);
    if let Some(proto::run::Tree::Unconfirmed { pids }) = unconfirmed {
        text = format!("{text}; NOT confirmed: processes {pids:?} could not be ended");
    }
    text
}
