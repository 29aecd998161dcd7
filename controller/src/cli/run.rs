//! `controller run`: the main job. Words to a wish; then the run is driven and shown.

mod backlog;
pub(super) mod drive;
mod stdin;
mod words;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use proto::{
    id::{NodeName, RunId},
    run::Outcome,
};

use self::{
    drive::{Driven, Shown, Stage, drive},
    words::wish,
};
use super::{
    Global,
    describe_error::{self, Verdict},
    setup,
};
use crate::{
    config::DEFAULT_GRACE,
    exit::{Origin, code, of_outcome, process_code},
    orchestrator::RunError,
    output::{
        self, View, WriteError, chain,
        events::{Event, harmless_pretty_json},
        report::{self, Gathered, NotStarted, Report},
    },
    runner::Running,
    timespan::{limit, timespan},
};

/// Run a command on an agent, and show its output as it is produced.
#[derive(Debug, Args)]
#[command(
    override_usage = "\
controller run [OPTIONS] -t NAME -- PROGRAM [ARGUMENT]...
       controller run [OPTIONS] -t NAME --shell[=SHELL] 'SCRIPT'
       controller run [OPTIONS] -t NAME --script FILE",
    after_help = "\
Examples:
  controller run -t srv-linux-01 -- uname -a
  controller run -t srv-linux-01 --shell 'journalctl -p err | tail -n 5'
  tar c . | controller run -t srv-linux-01 --stdin -- tar x -C /srv/www

Exit codes: the remote one as it is; 124 timed out, 125 not started, 126 not executable,
127 not found, 128+n ended by signal n, 130 interrupted, 141 the output could not be written here,
254 denied, 255 unreachable or lost."
)]
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
    #[arg(long, value_name = "TIME", env = "MESOSYNC_TIMEOUT", value_parser = limit)]
    timeout: Option<Duration>,
    /// End the command when it writes nothing for this time.
    #[arg(long, value_name = "TIME", env = "MESOSYNC_IDLE_TIMEOUT", value_parser = limit)]
    idle_timeout: Option<Duration>,
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
    #[arg(long, value_name = "TIME", env = "MESOSYNC_GRACE", value_parser = timespan)]
    grace: Option<Duration>,
    /// How long to look for the agent.
    #[arg(long, value_name = "TIME", env = "MESOSYNC_CONNECT_TIMEOUT", value_parser = limit)]
    connect_timeout: Option<Duration>,
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
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
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
    let asked = Asked {
        id: wish.start.id,
        target: args.target.clone(),
        shown: shown(&args),
    };
    let ended = setup::block_on(whole(global, &args, wish, &asked));
    process_code(ended.unwrap_or_else(|error| asked.not_started(&error)))
}

const fn shown(args: &RunArgs) -> Shown {
    match (args.json, args.ndjson, args.raw) {
        (true, _, _) => Shown::Json,
        (false, true, _) => Shown::Ndjson,
        (false, false, true) => Shown::Bytes(View::Raw),
        (false, false, false) => Shown::Bytes(View::Auto),
    }
}

/// Does it all. An error proves that nothing was started.
async fn whole(
    global: &Global,
    args: &RunArgs,
    mut wish: words::Wish,
    asked: &Asked,
) -> anyhow::Result<u8> {
    let context = setup::open(global).await?;
    let config = &context.config;
    let grace = args.grace.or(config.grace).unwrap_or(DEFAULT_GRACE);
    wish.fill(config, grace, setup::window(args.connect_timeout, config));
    let stage = Stage::set(asked.shown);
    let mut running = match context.runner.start(wish.start).await {
        Ok(running) => running,
        Err(error) => {
            context.runner.shutdown().await;
            return Err(error.into());
        }
    };
    let driven = drive(&mut running, stage, wish.stdin, grace).await;
    if let Some(refusal) = running.not_let_in() {
        return Err(refusal.into());
    }
    context.runner.remember_target(&running);
    context.runner.shutdown().await;
    Ok(asked.conclude(&running, driven))
}

/// What was asked for, and how its end is to be shown.
struct Asked {
    id: RunId,
    target: NodeName,
    shown: Shown,
}

impl Asked {
    /// Says that nothing was started, and why, and returns the exit code.
    fn not_started(&self, error: &anyhow::Error) -> u8 {
        let Verdict { code, .. } = describe_error::judge(error, code::UNREACHABLE);
        if code == code::UNREACHABLE {
            let outcome = match error.downcast_ref() {
                Some(RunError::Unreachable(_)) => NotStarted::Unreachable,
                Some(RunError::Told(told)) if told.unreachable => NotStarted::Unreachable,
                _ => NotStarted::Otherwise,
            };
            let why = chain(error.as_ref());
            let report = Report::not_started(self.id, self.target.clone(), outcome, code, why);
            if let Err(error) = self.show(report, Gathered::default()) {
                return describe_error::report(&error.into(), code);
            }
        }
        describe_error::report(error, code)
    }

    /// Says what the exit code alone does not, and returns it.
    fn conclude(&self, running: &Running, driven: Driven) -> u8 {
        let (gathered, left) = match driven {
            Driven::Over(gathered) => (gathered, false),
            Driven::LeftEarly => (Gathered::default(), true),
            Driven::OutputFailed(error) => return self.output_failed(running, error),
        };
        let outcome = running.outcome().filter(|_| !left);
        let target = self.target.clone();
        let report = match outcome {
            Some(outcome) => Report::new(self.id, target, outcome, running.ended()),
            None => Report::left(self.id, target),
        };
        if let Err(error) = self.show(report, gathered) {
            return describe_error::report(&error.into(), code::OUTPUT_CLOSED);
        }
        let Some(outcome) = outcome else {
            return code::INTERRUPTED;
        };
        let (code, origin) = of_outcome(outcome);
        if origin != Origin::Process {
            let mut text = explain(running, &self.target, outcome);
            if let Some(next) = describe_error::next_after(outcome) {
                text = format!("{text}\n  {next}");
            }
            output::say(&text);
        }
        code
    }

    /// Says that the output did not arrive; the end of the run that follows from it is no news,
    /// unless it is not known.
    fn output_failed(&self, running: &Running, error: WriteError) -> u8 {
        let code = describe_error::report(&error.into(), code::OUTPUT_CLOSED);
        match running.outcome() {
            Some(lost @ Outcome::Lost(_)) => {
                output::say(&explain(running, &self.target, lost));
                of_outcome(lost).0
            }
            Some(
                Outcome::Finished(_)
                | Outcome::Refused(_)
                | Outcome::TimedOut(_)
                | Outcome::Cancelled,
            )
            | None => code,
        }
    }

    /// Shows the end to programs, where they are to see it.
    fn show(&self, mut report: Report, gathered: Gathered) -> Result<(), WriteError> {
        match self.shown {
            Shown::Json => {
                report.output = Some(gathered);
                output::line(&harmless_pretty_json(&report))
            }
            Shown::Ndjson => output::whole(&Event::Ended(&report).line()),
            Shown::Bytes(_) => Ok(()),
        }
    }
}

fn explain(running: &Running, target: &NodeName, outcome: &Outcome) -> String {
    let mut text = format!("{target}: {}", report::why(outcome).unwrap_or_default());
    if let (Some(broken), Outcome::Lost(_)) = (running.broken(), outcome) {
        text = format!("{text}: {} (run {})", chain(broken), running.id());
    }
    let unconfirmed = running.ended().map(|ended| &ended.tree);
    if let Some(proto::run::Tree::Unconfirmed { pids }) = unconfirmed {
        text = format!("{text}; NOT confirmed: processes {pids:?} could not be ended");
    }
    text
}
