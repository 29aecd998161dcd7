//! `controller runs`: what was asked for, and how it ended.

use std::{
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use proto::{id::NodeName, text::escaped};
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Global, describe_error};
use crate::{
    exit::{code, process_code},
    history::{End, Entry},
    home::Home,
    output::{self, events::harmless_pretty_json},
    timespan::timespan,
};

/// The longest command that a table shows, in characters.
const MAX_SHOWN: usize = 60;

/// List the runs that this controller asked for, the newest last.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  controller runs --since 1h

`open` means that this controller does not know yet how the run ended: `controller attach RUN` or
`controller logs RUN` asks the agent.

Exit codes: 0 listed, 255 the note of runs cannot be read.")]
pub(super) struct RunsArgs {
    /// Only those that were asked for within this time.
    #[arg(long, value_name = "TIME", value_parser = timespan)]
    since: Option<Duration>,
    /// Only those whose end is not known here.
    #[arg(long)]
    open: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Listing {
    runs: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    run: String,
    at: String,
    command: String,
    targets: Vec<Target>,
}

#[derive(Serialize)]
struct Target {
    name: NodeName,
    #[serde(flatten)]
    end: Option<End>,
}

/// Runs the verb.
pub(super) fn runs(global: &Global, args: &RunsArgs) -> ExitCode {
    match list(global, args) {
        Ok(()) => process_code(code::OK),
        Err(error) => process_code(describe_error::report(&error, code::UNREACHABLE)),
    }
}

fn list(global: &Global, args: &RunsArgs) -> anyhow::Result<()> {
    // Longer ago than the clock can say is since ever.
    let oldest = args
        .since
        .and_then(|since| SystemTime::now().checked_sub(since));
    let all = Home::find(global.home.clone())?.history().all()?;
    let wanted = all.into_iter().filter(|entry| {
        let is_young = oldest.is_none_or(|oldest| asked_at(entry) >= oldest);
        is_young && (!args.open || entry.targets.values().any(Option::is_none))
    });
    let rows: Vec<Row> = wanted.map(row).collect();
    if args.json {
        output::line(&harmless_pretty_json(&Listing { runs: rows }))?;
    } else if rows.is_empty() {
        output::say(&"no such run on note here");
    } else {
        output::line(&table(&rows))?;
    }
    Ok(())
}

fn asked_at(entry: &Entry) -> SystemTime {
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(entry.at_ms));
    at.unwrap_or(SystemTime::UNIX_EPOCH)
}

fn row(entry: Entry) -> Row {
    let at = OffsetDateTime::from_unix_timestamp((entry.at_ms / 1000).cast_signed()).ok();
    Row {
        run: entry.run.to_string(),
        at: at
            .and_then(|at| at.format(&Rfc3339).ok())
            .unwrap_or_default(),
        command: entry.command,
        targets: entry
            .targets
            .into_iter()
            .map(|(name, end)| Target { name, end })
            .collect(),
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(NOTHING)
        .set_header(["RUN", "ASKED", "TARGETS", "STATE", "COMMAND"]);
    for row in rows {
        let command: String = row.command.chars().take(MAX_SHOWN).collect();
        table.add_row([
            row.run.clone(),
            row.at.clone(),
            targets(&row.targets),
            state(&row.targets),
            escaped(&command),
        ]);
    }
    table
}

fn targets(targets: &[Target]) -> String {
    match targets {
        [one] => one.name.to_string(),
        many => format!("{} agents", many.len()),
    }
}

/// One word where all ended alike, else how many did how.
fn state(targets: &[Target]) -> String {
    let mut states = Vec::<(String, usize)>::new();
    for target in targets {
        let state = match &target.end {
            None => "open".to_owned(),
            Some(end) if end.outcome == "finished" => format!("exit {}", end.exit_code),
            Some(end) => escaped(&end.outcome),
        };
        match states.iter_mut().find(|(known, _)| *known == state) {
            Some((_, count)) => *count += 1,
            None => states.push((state, 1)),
        }
    }
    match states.as_slice() {
        [(state, _)] => state.clone(),
        many => {
            let counted = many.iter().map(|(state, count)| format!("{count} {state}"));
            counted.collect::<Vec<_>>().join(", ")
        }
    }
}
