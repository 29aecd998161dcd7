//! `controller quickstart`: the whole of it, on this machine, in half a minute.
//!
//! Nothing here is a special way: the mesh is made as `pki init` makes it, the agent is that of
//! `funnelcloud agent` in a process of its own, and the command goes through the same orchestrator.

mod agent;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use node::{
    discovery::{Mechanism, fixed::KnownAddress, mdns::usable_interfaces},
    link::Link,
};
use pki::{Addresses, Existing, Identity, NewMesh, Revocation, StaleCrl, Store, Term};
use proto::{
    id::{Fingerprint, NodeId, NodeName, Role, RunId},
    run::{Argv, Environment, Exit, Limits, OnLinkLoss, Outcome, StdinMode, Word},
};
use time::OffsetDateTime;

use self::agent::ChildAgent;
use super::{
    capabilities,
    run::drive::{Asked, Driven, OnInterrupt, Shown, Stage, drive},
    setup,
};
use crate::{
    config::DEFAULT_GRACE,
    exit::{code, process_code},
    orchestrator::{Command, Keep, Lan, Orchestrator, Setup, StartRun},
    output::{self, View},
    runner::Running,
};

/// What the agent of the demonstration is called.
const AGENT: &str = "this-machine";

/// How long the agent is looked for on the LAN before its loopback address is used.
const LAN_WINDOW: Duration = Duration::from_secs(2);

/// Try it all on this machine: a CA, an agent, and a command streamed through the mesh.
///
/// Needs no root and no files, and leaves nothing running.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  controller quickstart")]
pub(super) struct QuickstartArgs {
    /// Keep the demonstration's files in this folder, which must not exist yet.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Runs the verb.
pub(super) fn quickstart(args: &QuickstartArgs) -> ExitCode {
    match setup::block_on(show(args)) {
        Ok(()) => process_code(code::OK),
        Err(error) => {
            output::fail(
                error.as_ref(),
                Some("`controller -vv quickstart` tells more"),
            );
            process_code(code::FAILURE)
        }
    }
}

async fn show(args: &QuickstartArgs) -> anyhow::Result<()> {
    let folder = Folder::make(args.dir.as_deref())?;
    let name: NodeName = AGENT.parse()?;

    step(
        1,
        "a mesh of its own: a private CA, this controller and one agent",
    )?;
    let fingerprint = mesh(folder.path(), &name)?;
    tell(&format!("in {}", folder.path().display()))?;
    tell(&format!("fingerprint {fingerprint}"))?;

    step(2, "the agent, a process of its own")?;
    let agent = ChildAgent::start(folder.path(), folder.temporary()).await?;
    tell(&format!(
        "process {}, UDP port {}",
        agent.pid(),
        agent.port()
    ))?;

    step(
        3,
        "look it up and link to it: mutual TLS, both certificates of this CA only",
    )?;
    let orchestrator = find(&folder, &name, &agent).await?;

    step(
        4,
        "a command through the mesh, its output as it is produced",
    )?;
    run(&orchestrator, &name).await?;

    step(5, "what the agent says of this machine")?;
    let document = orchestrator.describe(&name, LAN_WINDOW).await?;
    for line in capabilities::brief(&document) {
        tell(&line)?;
    }

    orchestrator.shutdown().await;
    agent.stop().await?;
    let kept = folder.finish();
    output::line(&next(kept.as_deref()))?;
    Ok(())
}

fn step(number: u8, text: &str) -> anyhow::Result<()> {
    Ok(output::line(&format!("\n{number}/5  {text}"))?)
}

fn tell(text: &str) -> anyhow::Result<()> {
    Ok(output::line(&format!("     {text}"))?)
}

/// Makes the CA, this controller's identity and the agent's.
fn mesh(folder: &Path, name: &NodeName) -> anyhow::Result<Fingerprint> {
    let now = OffsetDateTime::now_utc();
    let mesh = NewMesh {
        name: "quickstart".parse()?,
        controller: "me".parse()?,
        now,
    };
    let store = Store::create(folder, mesh)?;
    let node = NodeId {
        role: Role::Agent,
        name: name.clone(),
    };
    let agent = store.issue_identity(node, Addresses::new(), Term::starting(now))?;
    agent.save(&agent::identity(folder), Existing::Refuse)?;
    Ok(store.authority().fingerprint())
}

/// Finds the agent: by mDNS where an interface allows, else at its loopback address.
async fn find(
    folder: &Folder,
    name: &NodeName,
    agent: &ChildAgent,
) -> anyhow::Result<Orchestrator> {
    let open = |known, lan| {
        let identity = Identity::load(
            &Store::controller_identity(folder.path()),
            OffsetDateTime::now_utc(),
        )?;
        let address_book = folder.path().join("addresses.json");
        let revocation = Revocation::none_known(StaleCrl::Refuse);
        let setup = Setup {
            identity,
            revocation,
            known,
            lan,
            address_book,
            keep: Keep::Nothing,
        };
        anyhow::Ok(Orchestrator::bind(setup)?)
    };
    let why = match usable_interfaces() {
        Ok(_) => {
            let started = Instant::now();
            let orchestrator = open(Vec::new(), Lan::Ask)?;
            if let Ok(found) = orchestrator.find(name, LAN_WINDOW).await {
                verified(&found.link, found.mechanism, started.elapsed())?;
                return Ok(orchestrator);
            }
            "no answer by mDNS: multicast seems to be filtered here".to_owned()
        }
        Err(error) => format!("no mDNS here: {error}"),
    };
    tell(&why)?;
    let started = Instant::now();
    let addr = agent.loopback();
    let orchestrator = open(
        vec![KnownAddress {
            name: name.clone(),
            addr,
        }],
        Lan::Ignore,
    )?;
    let found = orchestrator.find(name, LAN_WINDOW).await?;
    verified(&found.link, found.mechanism, started.elapsed())?;
    Ok(orchestrator)
}

fn verified(link: &Link, mechanism: Mechanism, took: Duration) -> anyhow::Result<()> {
    tell(&format!(
        "{} at {} by {mechanism}, verified {:.1} ms after the start",
        link.peer(),
        link.remote_address(),
        took.as_secs_f64() * 1000.0
    ))
}

/// Ctrl-C cancels the command.
const ON_INTERRUPT: OnInterrupt = OnInterrupt::Cancel {
    grace: DEFAULT_GRACE,
};

/// Runs a command that takes a few seconds, so that one sees it stream.
async fn run(orchestrator: &Orchestrator, name: &NodeName) -> anyhow::Result<()> {
    let script = "for i in 1 2 3 4 5; do echo \"$i: $(uname -n), $(date +%T)\"; sleep 0.5; done";
    let words = ["sh", "-c", script].map(Word::from).to_vec();
    tell(&format!("controller run -t {name} -- sh -c '{script}'"))?;
    let mut id = [0; 16];
    getrandom::fill(&mut id).context("draw a random run id")?;
    let wish = StartRun {
        id: RunId::from_bytes(id),
        target: name.clone(),
        command: Command::Argv(Argv::try_from(words)?),
        cwd: None,
        environment: Environment::default(),
        stdin: StdinMode::Closed,
        limits: Limits {
            wall_ms: Some(60_000),
            ..Limits::default()
        },
        on_link_loss: OnLinkLoss::End,
        principal: "quickstart".into(),
        window: LAN_WINDOW,
    };
    let running = orchestrator.start(wish).await?;
    let mut running = Running::Here(Box::new(running));
    let shown = Shown::Bytes(View::Auto);
    let stage = Stage::set(shown, Asked::Now);
    if let Driven::OutputFailed(error) = drive(&mut running, stage, None, ON_INTERRUPT).await {
        return Err(error.into());
    }
    match running.outcome() {
        Some(Outcome::Finished(Exit::Code(0))) => tell("exit code 0, passed on as it is"),
        other => anyhow::bail!("the command did not end as it should: {other:?}"),
    }
}

fn next(kept: Option<&Path>) -> String {
    let place = match kept {
        Some(folder) => format!(
            "Everything is stopped; its files are in {}.",
            folder.display()
        ),
        None => "Everything is stopped and removed.".into(),
    };
    format!(
        "\n{place} A mesh of your own:\n
  controller pki init
  controller pki issue agent srv-linux-01 --out srv-linux-01.identity   # then, on that host: funnelcloud agent --identity srv-linux-01.identity
  controller run -t srv-linux-01 -- uname -a\n"
    )
}

/// Where the demonstration's files are.
enum Folder {
    Temporary(tempfile::TempDir),
    Kept(PathBuf),
}

impl Folder {
    fn make(kept: Option<&Path>) -> anyhow::Result<Self> {
        match kept {
            Some(path) => {
                fs_err::create_dir(path)?;
                Ok(Self::Kept(path.to_owned()))
            }
            None => tempfile::Builder::new()
                .prefix("mesosync-quickstart-")
                .tempdir()
                .map(Self::Temporary)
                .context("make a temporary folder"),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Kept(path) => path,
        }
    }

    /// Returns the folder if it is to be removed at the end.
    fn temporary(&self) -> Option<&Path> {
        match self {
            Self::Temporary(folder) => Some(folder.path()),
            Self::Kept(_) => None,
        }
    }

    /// Removes what is temporary, and returns what is kept.
    fn finish(self) -> Option<PathBuf> {
        match self {
            // The agent has removed it already, unless it was killed.
            Self::Temporary(folder) if !folder.path().exists() => None,
            Self::Temporary(folder) => {
                if let Err(error) = folder.close() {
                    tracing::warn!(%error, "the temporary folder could not be removed");
                }
                None
            }
            Self::Kept(path) => Some(path),
        }
    }
}
