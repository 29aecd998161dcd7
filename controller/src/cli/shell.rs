//! `controller shell`: a person at a terminal on an agent.
//!
//! Owns the words and the exit code; `session` drives the rest. A shell is an ordinary run whose
//! standard streams are a terminal, so what holds for a run holds here.
//!
//! Its output reaches this terminal unchanged, since steering the terminal is what an editor on the
//! other side is for. The host is thereby trusted with the terminal as one trusts a host with ssh: it
//! may set the title, move the cursor, or show what looks like a message of this program. What may not
//! do that is for `controller run`, which makes output harmless.

mod escape; // what is typed for this program and not for the other
mod keyboard; // what is typed at all
mod raw; // the terminal's modes, and that they are put back
mod session; // from the first byte to the last
mod signals; // what this process is told

use std::{env, io, process::ExitCode, time::Duration};

use anyhow::{Context as _, ensure};
use clap::Args;
use proto::{
    frame::Resize,
    id::NodeName,
    run::{Argv, Limits, OnLinkLoss, StdinMode, Word},
    shell::Shell,
    text::Text,
};
use rustix::termios::isatty;

use self::{
    escape::Escape,
    raw::Modes,
    session::{Left, Session},
    signals::Signals,
};
use super::{
    Global, describe_error,
    run::{
        one::explain,
        words::{environment, principal, random_id, word},
    },
    setup,
};
use crate::{
    config::DEFAULT_GRACE,
    exit::{Origin, code, of_outcome, process_code},
    orchestrator::{Command, StartRun},
    output::{self, Sink, View},
    runner::Running,
    timespan::limit,
};

/// How long a shell goes on without its link: a train's tunnel, and the walk to the next office.
const ORPHAN_MS: u64 = 10 * 60 * 1000;

/// How long the last words may take: a terminal that works shows them at once.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The kind of a terminal that does not say what it is.
const PLAIN: &str = "dumb";

/// Open an interactive shell on an agent, on this terminal.
///
/// The host is trusted with the terminal, as with ssh: what it writes is not made harmless, as
/// `controller run` does.
#[derive(Debug, Args)]
#[command(
    override_usage = "\
controller shell [OPTIONS] -t NAME
       controller shell [OPTIONS] -t NAME -- PROGRAM [ARGUMENT]...",
    after_help = "\
Examples:
  controller shell -t srv-linux-01
  controller shell -t srv-linux-01 -- top

After a newline: ~. leaves and ends what runs there, ~~ is one ~, ~? lists these.

Exit codes: the remote one as it is; 64 standard input is no terminal, 125 not started,
126 not executable, 127 not found, 128+n ended by signal n, 130 left, 141 the output could not be
written here, 254 denied, 255 unreachable or lost."
)]
pub(super) struct ShellArgs {
    /// The agent to sit at.
    #[arg(short, long, value_name = "NAME")]
    target: NodeName,
    /// This shell (bash, sh, zsh, pwsh), instead of that of the agent's account.
    #[arg(long, value_name = "SHELL", conflicts_with = "words")]
    shell: Option<Shell>,
    /// Set a variable.
    #[arg(short, long = "env", value_name = "NAME=VALUE")]
    env: Vec<std::ffi::OsString>,
    /// Begin in this folder (default for a shell: the account's home).
    #[arg(long, value_name = "DIR")]
    cwd: Option<std::ffi::OsString>,
    /// The character that speaks to this program after a newline, or `none`.
    #[arg(long, value_name = "CHAR", default_value = "~")]
    escape: Escape,
    /// How long to look for the agent.
    #[arg(long, value_name = "TIME", env = "MESOSYNC_CONNECT_TIMEOUT", value_parser = limit)]
    connect_timeout: Option<Duration>,
    /// A program and its arguments to run on the terminal instead of a shell.
    #[arg(last = true, value_name = "COMMAND")]
    words: Vec<std::ffi::OsString>,
}

/// Runs the verb.
pub(super) fn shell(global: &Global, args: &ShellArgs) -> ExitCode {
    if !isatty(io::stdin()) {
        output::say(
            &"standard input is not a terminal, and a shell needs one\n  \
              `controller run -t NAME --shell 'SCRIPT'` needs none; --stdin gives it an input",
        );
        return process_code(code::USAGE);
    }
    let start = match wish(args) {
        Ok(start) => start,
        Err(error) => {
            let next = Some("`controller shell --help` shows examples");
            output::fail(error.as_ref(), next);
            return process_code(code::USAGE);
        }
    };
    let ended = setup::block_on(whole(global, args, start));
    process_code(ended.unwrap_or_else(|error| describe_error::report(&error, code::UNREACHABLE)))
}

fn wish(args: &ShellArgs) -> anyhow::Result<StartRun> {
    let command = if args.words.is_empty() {
        Command::LoginShell(args.shell)
    } else {
        let words: Vec<Word> = args.words.iter().map(|text| word(text)).collect();
        Command::Argv(Argv::try_from(words)?)
    };
    let Resize { columns, rows } =
        raw::size(io::stdin()).context("ask the terminal for its size")?;
    Ok(StartRun {
        id: random_id()?,
        target: args.target.clone(),
        command,
        cwd: args.cwd.as_deref().map(word),
        environment: environment(&args.env)?,
        stdin: StdinMode::Terminal {
            columns,
            rows,
            term: term()?,
        },
        limits: Limits::default(),
        on_link_loss: OnLinkLoss::Keep {
            orphan_ms: ORPHAN_MS,
        },
        principal: principal(),
        window: Duration::ZERO,
    })
}

/// Returns what kind of terminal this is. The agent judges the name.
fn term() -> anyhow::Result<Text<32>> {
    let term = env::var_os("TERM").unwrap_or_default();
    let term = term.to_str().context("TERM is not UTF-8")?;
    let text = Text::cut(if term.is_empty() { PLAIN } else { term });
    ensure!(
        text.untrusted().len() >= term.len(),
        "TERM is longer than 32 bytes"
    );
    Ok(text)
}

/// Does it all. An error proves that nothing was started.
async fn whole(global: &Global, args: &ShellArgs, mut start: StartRun) -> anyhow::Result<u8> {
    let context = setup::open(global).await?;
    let grace = context.config.grace.unwrap_or(DEFAULT_GRACE);
    let here = context.runner.here().await?;
    start.limits.grace_ms = u32::try_from(grace.as_millis()).unwrap_or(u32::MAX);
    start.window = setup::window(args.connect_timeout, &context.config);
    let sink = Sink::new(View::Raw);
    let modes = Modes::of(io::stdin()).context("read the terminal's modes")?;
    let mut signals = Signals::listen().context("listen to signals")?;
    let started = tokio::select! {
        started = here.start(start) => started,
        () = signals.leave() => {
            output::say(&format!("{}: interrupted before anything began there", args.target));
            here.shutdown().await;
            return Ok(code::INTERRUPTED);
        }
    };
    let mut running = match started {
        Ok(running) => Running::Here(Box::new(running)),
        Err(error) => {
            here.shutdown().await;
            return Err(error.into());
        }
    };
    let session = Session::new(&mut running, modes.enter(), signals, args.escape);
    let left = session.hold(sink, grace).await;
    if let Some(refusal) = running.not_let_in() {
        return Err(refusal.into());
    }
    context.runner.remember_target(&running);
    context.runner.shutdown().await;
    Ok(conclude(&running, &args.target, left).await)
}

/// Says what the exit code alone does not, and returns it.
async fn conclude(running: &Running, target: &NodeName, left: Left) -> u8 {
    let failed = match left {
        Left::Over => None,
        Left::Early if running.ended().is_some() => return code::INTERRUPTED,
        Left::Early => {
            let id = running.id();
            say_if_heard(format!(
                "{target}: left without confirmation; run {id} may still be ending there"
            ))
            .await;
            return code::INTERRUPTED;
        }
        Left::OutputFailed(error) => {
            Some(describe_error::report(&error.into(), code::OUTPUT_CLOSED))
        }
    };
    let Some(outcome) = running.outcome() else {
        return failed.unwrap_or(code::INTERRUPTED);
    };
    let (code, origin) = of_outcome(outcome);
    if origin != Origin::Process {
        let mut text = explain(running, target, outcome);
        if let Some(next) = describe_error::next_after(outcome) {
            text = format!("{text}\n  {next}");
        }
        output::say(&text);
    }
    failed.unwrap_or(code)
}

/// Says something to a terminal that may be the reason for leaving: one that shows nothing must not keep
/// this process.
async fn say_if_heard(text: String) {
    let said = tokio::task::spawn_blocking(move || output::say(&text));
    drop(tokio::time::timeout(LAST_WORDS, said).await);
}
