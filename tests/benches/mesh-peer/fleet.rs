//! Links to a whole fleet, kept: what thousands of handshakes take, and what the links weigh.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::Args;
use node::{
    close::CloseCode,
    link::Link,
    transport::{Readers, Transport},
};
use pki::{Expect, Identity, Revocation, StaleCrl};
use proto::id::{NodeId, NodeName, Role};
use scenarios::procfs;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::task::JoinSet;

/// Turns of the scheduler in which quinn's tasks send what is left, with some in reserve.
const FAREWELL_TURNS: usize = 8;

#[derive(Args)]
pub(crate) struct FleetArgs {
    #[arg(long)]
    identity: PathBuf,
    /// Where the agents are, as `funnelcloud agent --emulate --addresses` writes it
    #[arg(long)]
    addresses: PathBuf,
    /// How many links are being set up at a time
    #[arg(long)]
    in_flight: usize,
}

/// What was measured.
#[derive(Serialize)]
pub(crate) struct Measured {
    nanos: u128,
    links: usize,
    /// Resident memory that came with the links.
    bytes: u64,
}

#[derive(Deserialize)]
struct AddressBook {
    addresses: BTreeMap<NodeName, Vec<SocketAddr>>,
}

/// Sets a link to every agent up, each until its hello proves that it took this side's certificate
/// too, and keeps all of them until the last is up.
pub(crate) async fn fleet(args: &FleetArgs) -> anyhow::Result<Measured> {
    let identity = Identity::load(&args.identity, OffsetDateTime::now_utc())?;
    let transport = Transport::bind_caller(
        &identity,
        &Revocation::none_known(StaleCrl::Refuse),
        Readers::One,
    )?;
    let targets = targets(&args.addresses)?;
    let before = procfs::resident_bytes(std::process::id());
    let started = Instant::now();
    let mut links = Vec::with_capacity(targets.len());
    let mut dials = JoinSet::new();
    for (expect, addr) in targets {
        if dials.len() >= args.in_flight {
            links.push(dials.join_next().await.context("a dial is in flight")???);
        }
        let transport = transport.clone();
        dials.spawn(async move {
            let link = Link::dial(&transport, addr, &expect).await?;
            link.hello().await?;
            anyhow::Ok(link)
        });
    }
    while let Some(dialled) = dials.join_next().await {
        links.push(dialled??);
    }
    let taken: Duration = started.elapsed();
    let bytes = procfs::resident_bytes(std::process::id()).saturating_sub(before);
    for link in &links {
        ensure!(link.closed().is_none(), "a link was lost meanwhile");
        link.close(CloseCode::Done);
    }
    // quinn's tasks send that, so that no agent talks on to nobody.
    for _ in 0..FAREWELL_TURNS {
        tokio::task::yield_now().await;
    }
    Ok(Measured {
        nanos: taken.as_nanos(),
        links: links.len(),
        bytes,
    })
}

fn targets(file: &Path) -> anyhow::Result<Vec<(Expect, SocketAddr)>> {
    let book: AddressBook = serde_json::from_slice(&fs_err::read(file)?)?;
    let targets = book.addresses.into_iter().filter_map(|(name, addrs)| {
        let role = Role::Agent;
        Some((Expect::Node(NodeId { role, name }), *addrs.first()?))
    });
    Ok(targets.collect())
}
