//! `controller serve`: the daemon, and what one says to it.

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use comfy_table::{Table, presets::NOTHING};

use super::{Global, describe_error, setup};
use crate::{
    daemon::{
        Status,
        client::{AskError, Client},
        place::{OccupyError, Place},
        protocol::Hello,
        server::{Door, NotOpened, Server},
    },
    exit::{code, process_code},
    output::{self, events::harmless_pretty_json},
    timespan::limit,
};

/// How long a daemon that was told to stop may take for it.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// How often it is looked for meanwhile.
const STOP_LOOK: Duration = Duration::from_millis(10);

/// Serve this user's commands: links to agents stay up, so that a command takes no time but its own.
///
/// `run`, `agents` and `capabilities` use the daemon where one runs, and work the same without it;
/// `--no-daemon` goes around it. `run --stdin`, `shell`, `cp`, `attach`, `logs` and `cancel` make
/// links of their own. SIGHUP reads the configuration, the identity and the revocation list again, SIGTERM
/// and Ctrl-C stop it; runs go on at their agents then.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  controller serve &
  controller serve status --json | jq -r .links[].name
  controller serve stop

Exit codes: 0 done, 1 no daemon runs, or another one does, 64 wrong settings."
)]
pub(super) struct ServeArgs {
    #[command(subcommand)]
    verb: Option<ServeVerb>,
    /// Keep so many links at most (default: 8192).
    #[arg(long, value_name = "N", env = "MESOSYNC_WARM_LINKS")]
    warm_links: Option<usize>,
    /// Keep a link for this time after its last use (default: 10min).
    #[arg(long, value_name = "TIME", env = "MESOSYNC_WARM_IDLE", value_parser = limit)]
    warm_idle: Option<Duration>,
}

#[derive(Debug, Subcommand)]
enum ServeVerb {
    /// Show the daemon: its links, and the runs in progress.
    #[command(after_help = "Example:\n  controller serve status --json | jq -r .links[].name")]
    Status {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Have the daemon read its configuration, identity and revocation list again.
    #[command(after_help = "Example:\n  controller serve reload")]
    Reload,
    /// Stop the daemon; runs go on at their agents.
    #[command(after_help = "Example:\n  controller serve stop")]
    Stop,
}

/// Runs the verb.
pub(super) fn serve(global: &Global, args: &ServeArgs) -> ExitCode {
    let done = match &args.verb {
        None => setup::block_on(stay(global, args)),
        Some(ServeVerb::Status { json }) => setup::block_on(status(global, *json)),
        Some(ServeVerb::Reload) => setup::block_on(reload(global)),
        Some(ServeVerb::Stop) => setup::block_on(stop(global)),
    };
    match done {
        Ok(()) => process_code(code::OK),
        Err(error) => process_code(describe_error::report(&error, code::FAILURE)),
    }
}

async fn stay(global: &Global, args: &ServeArgs) -> anyhow::Result<()> {
    let place = setup::place(global)?;
    let occupied = place.occupy()?;
    let (global, home) = (global.clone(), setup::home_path(global)?);
    let (most, idle) = (args.warm_links, args.warm_idle);
    let door = Door {
        home,
        open: Box::new(move |before| {
            let opened = setup::opened(&global, most, idle, before);
            opened.map_err(|error| {
                let told = describe_error::told(&error);
                match error.is::<setup::TakesBack>() {
                    true => NotOpened::TakesBack(told),
                    false => NotOpened::Unreadable(told),
                }
            })
        }),
        explain_run: |error| describe_error::told(&error.into()),
        explain_describe: |error| describe_error::told(&error.into()),
    };
    let signals = Signals::listen().context("listen for signals")?;
    let server = Server::new(occupied, door)?;
    output::say(&format!("serving on {}", place.socket().display()));
    let Signals { stop, mut reload } = signals;
    server
        .run(stop, async || {
            reload.recv().await;
        })
        .await;
    output::say(&"stopped; runs go on at their agents");
    Ok(())
}

/// What ends the daemon, and what makes it read its files again.
struct Signals<S> {
    stop: S,
    reload: tokio::signal::unix::Signal,
}

impl Signals<()> {
    fn listen() -> std::io::Result<Signals<impl Future<Output = ()>>> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        Ok(Signals {
            stop,
            reload: signal(SignalKind::hangup())?,
        })
    }
}

/// There is no daemon to talk to.
#[derive(Debug, thiserror::Error)]
#[error("no daemon serves {}", .socket.display())]
pub(super) struct NoDaemon {
    socket: std::path::PathBuf,
}

async fn client(place: &Place) -> anyhow::Result<Client> {
    match Client::connect(place.clone(), Hello::of_operator(), Vec::new()).await {
        Err(AskError::Gone) => Err(NoDaemon {
            socket: place.socket().to_owned(),
        }
        .into()),
        connected => Ok(connected?),
    }
}

async fn status(global: &Global, json: bool) -> anyhow::Result<()> {
    let status = client(&setup::place(global)?).await?.status().await?;
    if json {
        return Ok(output::line(&harmless_pretty_json(&status))?);
    }
    output::line(&sheet(&status))?;
    if !status.links.is_empty() {
        output::line(&links(&status))?;
    }
    if !status.runs.is_empty() {
        output::line(&runs(&status))?;
    }
    Ok(())
}

async fn reload(global: &Global) -> anyhow::Result<()> {
    let reloaded = client(&setup::place(global)?).await?.reload().await;
    reloaded.context("nothing was reloaded, and the state before is in force")
}

/// Stops the daemon, and returns when its place is free.
async fn stop(global: &Global) -> anyhow::Result<()> {
    let place = setup::place(global)?;
    client(&place).await?.stop().await?;
    let gone = async {
        while place.is_occupied() {
            tokio::time::sleep(STOP_LOOK).await;
        }
    };
    let gone = tokio::time::timeout(STOP_LIMIT, gone).await;
    gone.context("the daemon was told to stop, and is still there")
}

/// Returns what to do where the daemon's place is taken or not to be had.
pub(super) fn next_to_occupy(error: &OccupyError) -> Option<&'static str> {
    match error {
        OccupyError::Served { .. } => Some(
            "`controller serve status` shows it, `controller serve stop` stops it; --socket FILE names another place",
        ),
        OccupyError::Shared { .. } | OccupyError::NoSocket { .. } => {
            Some("name a socket in a folder of your own with --socket FILE")
        }
        OccupyError::System(_) | OccupyError::Bind { .. } => None,
    }
}

fn sheet(status: &Status) -> String {
    let up = humantime::format_duration(Duration::from_secs(status.uptime_ms / 1000));
    let mut text = format!(
        "pid          {}\nversion      {}\nuptime       {up}\nidentity     {}\nmesh         {}",
        status.pid, status.version, status.identity, status.mesh
    );
    if let Some(why) = &status.reload_failed {
        text.push_str("\nnot reloaded ");
        text.push_str(&proto::text::escaped(why));
    }
    text
}

fn links(status: &Status) -> Table {
    let mut table = table(["LINK", "PATH", "RTT", "IDLE", "ADDRESS"]);
    for link in &status.links {
        table.add_row([
            link.name.to_string(),
            link.path.clone(),
            format!("{:.1} ms", link.rtt_us as f64 / 1000.0),
            seconds(link.idle_ms),
            link.address.clone(),
        ]);
    }
    table
}

fn runs(status: &Status) -> Table {
    let mut table = table(["RUN", "TARGET", "AGE"]);
    for run in &status.runs {
        table.add_row([run.run.clone(), run.target.to_string(), seconds(run.age_ms)]);
    }
    table
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(header);
    table
}

fn seconds(ms: u64) -> String {
    format!("{} s", ms / 1000)
}
