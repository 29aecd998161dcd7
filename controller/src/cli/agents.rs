//! `controller agents`: who answers now.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use node::discovery::Mechanism;
use proto::{capability::OsFamily, id::NodeName};
use serde::Serialize;

use super::{Global, describe_error, setup};
use crate::{
    exit::{code, process_code},
    output::{self, events::harmless_pretty_json},
    runner::Seen,
    timespan::limit,
};

/// List the agents that answer now: on the LAN, and at known addresses.
///
/// Ends 300 ms after the last answer.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  controller agents --json | jq -r .agents[].name

Exit codes: 0 somebody answered, 3 nobody did, 255 the look-up was not possible.")]
pub(super) struct AgentsArgs {
    /// How long to wait for answers at the most.
    #[arg(long, value_name = "TIME", env = "MESOSYNC_CONNECT_TIMEOUT", value_parser = limit)]
    connect_timeout: Option<Duration>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Listing {
    agents: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: NodeName,
    os: OsFamily,
    version: String,
    path: &'static str,
    address: String,
    rtt_us: u64,
}

impl Row {
    fn new(name: NodeName, seen: &Seen) -> Self {
        let addr = seen.addr;
        Self {
            name,
            os: seen.hello.os,
            version: seen.hello.version.to_string(),
            path: match seen.mechanism {
                Mechanism::Mdns => "lan",
                Mechanism::Fixed if addr.ip().is_loopback() => "local",
                Mechanism::Fixed => "direct",
            },
            address: addr.to_string(),
            rtt_us: u64::try_from(seen.rtt.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

/// Runs the verb.
pub(super) fn agents(global: &Global, args: &AgentsArgs) -> ExitCode {
    match setup::block_on(list(global, args)) {
        Ok(code) => process_code(code),
        Err(error) => process_code(describe_error::report(&error, code::UNREACHABLE)),
    }
}

async fn list(global: &Global, args: &AgentsArgs) -> anyhow::Result<u8> {
    let context = setup::open(global).await?;
    let window = setup::window(args.connect_timeout, &context.config);
    let (answers, blind) = context.runner.agents(window).await?;
    let agents: Vec<Row> = answers
        .into_iter()
        .map(|(name, seen)| Row::new(name, &seen))
        .collect();
    context.runner.shutdown().await;
    for error in &blind {
        output::say(&proto::text::escaped(error));
    }
    let count = agents.len();
    if args.json {
        output::line(&harmless_pretty_json(&Listing { agents }))?;
    } else if count > 0 {
        output::line(&table(&agents))?;
    }
    Ok(match (count, blind.is_empty()) {
        (0, true) => {
            output::say(&format!(
                "no agent answered within {}\n  Is funnelcloud running, with an identity of this mesh? An agent elsewhere needs --address NAME=IP:PORT",
                humantime::format_duration(window)
            ));
            code::NO_TARGET
        }
        (0, false) => code::UNREACHABLE,
        (_, _) => code::OK,
    })
}

fn table(agents: &[Row]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(NOTHING)
        .set_header(["NAME", "OS", "PATH", "RTT", "VERSION", "ADDRESS"]);
    for row in agents {
        table.add_row([
            row.name.to_string(),
            row.os.to_string(),
            row.path.to_owned(),
            format!("{:.1} ms", row.rtt_us as f64 / 1000.0),
            row.version.clone(),
            row.address.clone(),
        ]);
    }
    table
}
