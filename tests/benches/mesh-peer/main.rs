//! Our side of the benchmarks where a whole `controller` would hide what is measured: runs on one
//! warm link, and handshakes, by the same library calls that the controller makes.
//!
//! ```text
//! mesh-peer runs       --identity FILE -t NAME --address ADDR --count N -- /bin/true
//! mesh-peer handshakes --identity FILE -t NAME --address ADDR --count N --in-flight K
//! mesh-peer fleet      --identity FILE --addresses FILE --in-flight K
//! ```
//!
//! Prints `{"nanos":N}`: the median time of a run, the mean time of a link that both sides have
//! verified, or the time of links to all of a fleet.

#[cfg(target_os = "linux")]
mod fleet;

use std::{
    io::Write as _,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, ensure};
use clap::{Args, Parser, Subcommand};
use node::{
    discovery::fixed::KnownAddress,
    link::Link,
    links::{Keep, Lan, Links},
    run::Run,
    transport::{Readers, Transport},
};
use pki::{Expect, Identity, Revocation, StaleCrl};
use proto::{
    id::{NodeId, NodeName, Role, RunId},
    run::{
        Argv, Audience, Environment, Exit, Limits, OnLinkLoss, Outcome, RunRequest, StdinMode,
        What, Word,
    },
    text::Text,
};
use time::OffsetDateTime;
use tokio::task::JoinSet;

/// How long the agent is waited for.
const WINDOW: Duration = Duration::from_secs(5);

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Median time of a run on a warm link
    Runs {
        #[command(flatten)]
        peer: Peer,
        #[arg(long)]
        count: u32,
        #[arg(last = true)]
        argv: Vec<String>,
    },
    /// Mean time of a link that both sides have verified
    Handshakes {
        #[command(flatten)]
        peer: Peer,
        #[arg(long)]
        count: u32,
        #[arg(long)]
        in_flight: u32,
    },
    /// Time and memory of links to a whole fleet
    #[cfg(target_os = "linux")]
    Fleet(fleet::FleetArgs),
}

#[derive(Args)]
struct Peer {
    #[arg(long)]
    identity: PathBuf,
    #[arg(short)]
    target: NodeName,
    #[arg(long)]
    address: SocketAddr,
}

impl Peer {
    fn identity(&self) -> anyhow::Result<Identity> {
        Ok(Identity::load(&self.identity, OffsetDateTime::now_utc())?)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let nanos = match Cli::parse().verb {
        Verb::Runs { peer, count, argv } => runs(&peer, count, argv).await?,
        Verb::Handshakes {
            peer,
            count,
            in_flight,
        } => handshakes(&peer, count, in_flight).await?,
        #[cfg(target_os = "linux")]
        Verb::Fleet(args) => {
            let measured = serde_json::to_string(&fleet::fleet(&args).await?)?;
            writeln!(std::io::stdout(), "{measured}")?;
            return Ok(());
        }
    };
    writeln!(std::io::stdout(), "{{\"nanos\":{}}}", nanos.as_nanos())?;
    Ok(())
}

async fn runs(peer: &Peer, count: u32, argv: Vec<String>) -> anyhow::Result<Duration> {
    let identity = peer.identity()?;
    let words: Vec<Word> = argv.iter().map(|word| Word::from(word.as_str())).collect();
    let argv = Argv::try_from(words)?;
    let known = KnownAddress {
        name: peer.target.clone(),
        addr: peer.address,
    };
    let revocation = Revocation::none_known(StaleCrl::Refuse);
    let links = Links::bind(
        &identity,
        &revocation,
        vec![known],
        Lan::Ignore,
        Keep::Nothing,
    )?;
    let link = links.to(&peer.target, WINDOW).await?.link;
    let mut taken = Vec::new();
    for _ in 0..count {
        let request = request(&identity, peer, argv.clone())?;
        let started = Instant::now();
        let mut run = Run::start(&link, &request).await?;
        while run.next(&link).await.is_some() {}
        taken.push(started.elapsed());
        let ended = run.outcome();
        ensure!(
            ended == Some(&Outcome::Finished(Exit::Code(0))),
            "a run ended as {ended:?}"
        );
    }
    taken.sort_unstable();
    links.shutdown().await;
    taken
        .get(taken.len() / 2)
        .copied()
        .context("no run was asked for")
}

fn request(identity: &Identity, peer: &Peer, argv: Argv) -> anyhow::Result<RunRequest> {
    let mut id = [0; 16];
    getrandom::fill(&mut id)?;
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(RunRequest {
        id: RunId::from_bytes(id),
        audience: Audience {
            mesh: identity.fingerprint(),
            agent: peer.target.clone(),
        },
        issued_at_ms: u64::try_from(since.as_millis())?,
        valid_for_ms: RunRequest::DEFAULT_VALID_FOR_MS,
        principal: Text::cut("bench"),
        what: What::Argv(argv),
        cwd: None,
        environment: Environment::default(),
        stdin: StdinMode::Closed,
        limits: Limits::default(),
        on_link_loss: OnLinkLoss::End,
    })
}

/// Sets links up, each until the agent's hello proves that it took this side's certificate too.
async fn handshakes(peer: &Peer, count: u32, in_flight: u32) -> anyhow::Result<Duration> {
    let identity = peer.identity()?;
    let transport = Transport::bind_caller(
        &identity,
        &Revocation::none_known(StaleCrl::Refuse),
        Readers::One,
    )?;
    let expect = Expect::Node(NodeId {
        role: Role::Agent,
        name: peer.target.clone(),
    });
    let mut dials = JoinSet::new();
    let started = Instant::now();
    for number in 0..count {
        if number >= in_flight {
            dials.join_next().await.context("a dial is in flight")???;
        }
        let (transport, expect, addr) = (transport.clone(), expect.clone(), peer.address);
        dials.spawn(async move {
            let link = Link::dial(&transport, addr, &expect).await?;
            link.hello().await?;
            link.close(node::close::CloseCode::Done);
            anyhow::Ok(())
        });
    }
    while let Some(dialled) = dials.join_next().await {
        dialled??;
    }
    Ok(started.elapsed() / count)
}
