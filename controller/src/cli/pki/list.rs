//! `controller pki list`: every certificate that this CA issued.

use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use pki::Issued;
use serde::Serialize;
use time::OffsetDateTime;

use super::{open, shown};
use crate::{
    cli::Global,
    output::{self, events::harmless_pretty_json},
};

/// List every certificate that this CA issued.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  controller pki list --json | jq '.issued[] | select(.state == \"expired\")'"
)]
pub(in crate::cli) struct ListArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Listing {
    issued: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    node: String,
    state: &'static str,
    serial: String,
    not_before: String,
    not_after: String,
}

impl Row {
    fn new(issued: &Issued, now: OffsetDateTime) -> Self {
        let state = match (
            issued.revoked,
            now < issued.not_before,
            now > issued.not_after,
        ) {
            (Some(_), _, _) => "revoked",
            (None, true, _) => "not yet valid",
            (None, false, true) => "expired",
            (None, false, false) => "valid",
        };
        Self {
            node: issued.node.to_string(),
            state,
            serial: issued.serial.to_string(),
            not_before: shown(issued.not_before),
            not_after: shown(issued.not_after),
        }
    }
}

/// Runs the verb.
pub(super) fn list(global: &Global, args: &ListArgs) -> anyhow::Result<()> {
    let (_, store) = open(global)?;
    let now = OffsetDateTime::now_utc();
    let issued: Vec<Row> = store
        .list()?
        .iter()
        .map(|issued| Row::new(issued, now))
        .collect();
    if args.json {
        return Ok(output::line(&harmless_pretty_json(&Listing { issued }))?);
    }
    let mut table = Table::new();
    table
        .load_preset(NOTHING)
        .set_header(["NODE", "STATE", "UNTIL", "SERIAL"]);
    for row in issued {
        table.add_row([row.node, row.state.to_owned(), row.not_after, row.serial]);
    }
    Ok(output::line(&table)?)
}
