//! `--plan`: on whom what would run.

use std::collections::BTreeSet;

use proto::{id::NodeName, run::Word, text::escaped};
use serde::Serialize;

use super::choose::Chosen;
use crate::{
    exit::code,
    orchestrator::{Command, Script},
    output::{self, events::harmless_pretty_json, fleet::Discovered},
    targets::compact::compact,
};

#[derive(Serialize)]
struct Plan<'a> {
    targets: &'a BTreeSet<NodeName>,
    unreachable: Vec<&'a NodeName>,
    discovered: &'a Option<Discovered>,
    command: Shape,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Shape {
    Argv(Vec<String>),
    Script { shell: Option<String>, text: String },
    LoginShell { shell: Option<String> },
}

/// Shows it, and returns the exit code.
pub(super) fn show(chosen: &Chosen, command: &Command, json: bool) -> anyhow::Result<u8> {
    let Chosen {
        targets,
        unreachable,
        discovered,
    } = chosen;
    if json {
        output::line(&harmless_pretty_json(&Plan {
            targets,
            unreachable: unreachable.keys().collect(),
            discovered,
            command: shape(command),
        }))?;
        return Ok(code::OK);
    }
    output::line(&format!("{} ({})", compact(targets), targets.len()))?;
    output::line(&format!("  {}", shown(command)))?;
    if !unreachable.is_empty() {
        output::line(&format!(
            "  unreachable now: {}",
            compact(unreachable.keys())
        ))?;
    }
    Ok(code::OK)
}

fn shape(command: &Command) -> Shape {
    match command {
        Command::Argv(argv) => Shape::Argv(argv.words().iter().map(text).collect()),
        Command::LoginShell(shell) => Shape::LoginShell {
            shell: shell.map(|shell| shell.to_string()),
        },
        Command::Script(Script { shell, text }) => Shape::Script {
            shell: shell.map(|shell| shell.to_string()),
            text: text.clone(),
        },
    }
}

/// Returns the command on one line for eyes: words that could be mistaken are quoted.
pub(in crate::cli) fn shown(command: &Command) -> String {
    match shape(command) {
        Shape::Argv(words) => {
            let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
            words.join(" ")
        }
        Shape::LoginShell { shell } => shell.unwrap_or_else(|| "the login shell".into()),
        Shape::Script { shell, text } => {
            let shell = shell.unwrap_or_else(|| "the target's shell".into());
            format!("{shell}: {}", escaped(&text))
        }
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return escaped(word);
    }
    format!("\"{}\"", escaped(word))
}

fn text(word: &Word) -> String {
    String::from_utf8_lossy(&word.0).into_owned()
}
