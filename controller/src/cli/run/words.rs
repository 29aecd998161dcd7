//! From the words of `controller run` to a wish. Parsed once, here.

use std::{
    ffi::{OsStr, OsString},
    io::Read as _,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use proto::{
    id::{NodeName, RunId},
    run::{Argv, Environment, Limits, OnLinkLoss, StdinMode, Word},
    shell::Shell,
};

use super::{flags::RunArgs, stdin};
use crate::{
    config::{Config, DEFAULT_CONNECT_TIMEOUT, DEFAULT_ORPHAN_LIMIT},
    orchestrator::{Command, Script, StartRun},
};

/// The longest script, in bytes: the most that the classifier and the protocol take with room.
const MAX_SCRIPT: u64 = 512 << 10;

/// A wish, and where its standard input comes from.
pub(super) struct Wish {
    pub(super) start: StartRun,
    pub(super) stdin: Option<stdin::Source>,
}

impl Wish {
    /// Fills in what the configuration says where the flags say nothing.
    pub(super) fn fill(&mut self, config: &Config, grace: Duration, window: Duration) {
        let limits = &mut self.start.limits;
        limits.wall_ms = limits.wall_ms.or(config.timeout.map(millis));
        limits.idle_ms = limits.idle_ms.or(config.idle_timeout.map(millis));
        limits.grace_ms = u32::try_from(grace.as_millis()).unwrap_or(u32::MAX);
        if let OnLinkLoss::Keep { orphan_ms } = &mut self.start.on_link_loss
            && *orphan_ms == 0
        {
            *orphan_ms = millis(config.orphan_limit.unwrap_or(DEFAULT_ORPHAN_LIMIT));
        }
        self.start.window = window;
    }
}

/// Reads the words.
pub(super) fn wish(args: &RunArgs, target: NodeName) -> anyhow::Result<Wish> {
    let stdin = args.stdin.as_ref();
    let stdin = stdin
        .map(|file| stdin::open(file.as_deref()).context("--stdin"))
        .transpose()?;
    let start = StartRun {
        id: match args.run_id {
            Some(id) => id,
            None => random_id()?,
        },
        target,
        command: command(args)?,
        cwd: args.cwd.as_deref().map(word),
        environment: environment(&args.env)?,
        stdin: if stdin.is_some() {
            StdinMode::Piped
        } else {
            StdinMode::Closed
        },
        limits: Limits {
            wall_ms: args.timeout.map(millis),
            idle_ms: args.idle_timeout.map(millis),
            output_bytes: args.max_output,
            memory_bytes: args.memory,
            cpu_s: args.cpu,
            grace_ms: 0,
        },
        on_link_loss: on_link_loss(args),
        principal: principal(),
        window: DEFAULT_CONNECT_TIMEOUT,
    };
    Ok(Wish { start, stdin })
}

fn on_link_loss(args: &RunArgs) -> OnLinkLoss {
    match (args.tether, args.detach) {
        (true, _) => OnLinkLoss::End,
        (false, true) => OnLinkLoss::Detach,
        (false, false) => OnLinkLoss::Keep {
            orphan_ms: args.orphan_limit.map_or(0, millis),
        },
    }
}

fn command(args: &RunArgs) -> anyhow::Result<Command> {
    let shell = match args.shell.as_deref() {
        None | Some("") => None,
        Some(name) => Some(
            name.parse::<Shell>()
                .with_context(|| format!("--shell={name}"))?,
        ),
    };
    if let Some(path) = &args.script {
        let text = script(path).context("--script")?;
        return Ok(Command::Script(Script { shell, text }));
    }
    if args.shell.is_none() {
        let words: Vec<Word> = args.words.iter().map(|text| word(text)).collect();
        return Ok(Command::Argv(Argv::try_from(words)?));
    }
    match args.words.as_slice() {
        [] => bail!("--shell needs a script: one quoted word after it"),
        [script] => {
            let text = script
                .to_str()
                .context("the script is not UTF-8")?
                .to_owned();
            ensure!(!text.trim().is_empty(), "the script is empty");
            Ok(Command::Script(Script { shell, text }))
        }
        [_, more, ..] => bail!(
            "a script is one word, and {more:?} is a second: quote the script, or leave out --shell to run a program with arguments"
        ),
    }
}

/// Reads a script, of which no more is taken than may be sent.
fn script(path: &Path) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    fs_err::File::open(path)?
        .take(MAX_SCRIPT + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("read {}", path.display()))?;
    let shown = path.display();
    ensure!(
        bytes.len() as u64 <= MAX_SCRIPT,
        "{shown} is longer than the {MAX_SCRIPT} bytes that a script may have"
    );
    let text = String::from_utf8(bytes).with_context(|| format!("{shown} is not UTF-8"))?;
    ensure!(!text.trim().is_empty(), "{shown} is empty");
    Ok(text)
}

pub(in crate::cli) fn environment(assignments: &[OsString]) -> anyhow::Result<Environment> {
    let pairs = assignments.iter().map(|assignment| {
        let bytes = assignment.as_encoded_bytes();
        let at = bytes.iter().position(|byte| *byte == b'=');
        let at = at.with_context(|| format!("-e {assignment:?}: expected NAME=VALUE"))?;
        ensure!(at > 0, "-e {assignment:?}: the name is empty");
        Ok((Word(bytes[..at].to_vec()), Word(bytes[at + 1..].to_vec())))
    });
    pairs.collect::<anyhow::Result<_>>().map(Environment)
}

/// The bytes of a word. On Unix they are the system's own; on Windows UTF-8, as agents take it.
pub(in crate::cli) fn word(text: &OsStr) -> Word {
    Word(text.as_encoded_bytes().to_vec())
}

pub(in crate::cli) fn random_id() -> anyhow::Result<RunId> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).context("draw a random run id")?;
    Ok(RunId::from_bytes(bytes))
}

/// Who asks, for the agent's record. What may be done does not depend on it.
pub(in crate::cli) fn principal() -> String {
    ["USER", "LOGNAME", "USERNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok())
        .unwrap_or_else(|| "unknown".into())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
