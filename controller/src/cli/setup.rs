//! From flags, variables and the configuration to whoever carries wishes out, the same for every
//! verb.

#[cfg(unix)]
mod daemon;

#[cfg(unix)]
pub(super) use daemon::{ForeignDaemon, TakesBack, WrongDaemonSetting, home_path, opened, place};

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context as _;
use node::discovery::fixed::KnownAddress;
use pki::{Identity, LoadIdentityError, Revocation, StaleCrl, Store};
use proto::id::{NodeId, NodeName, Role};
use time::OffsetDateTime;

use super::Global;
#[cfg(unix)]
use super::describe_error;
use crate::{
    config::{Config, DEFAULT_CONNECT_TIMEOUT},
    home::Home,
    orchestrator::{Keep, Lan, Orchestrator, Setup},
    runner::Runner,
};

/// What a verb works with.
pub(super) struct Context {
    pub(super) home: Home,
    pub(super) config: Config,
    pub(super) runner: Runner,
}

/// This controller cannot say who it is.
#[derive(Debug, thiserror::Error)]
pub(super) enum IdentityError {
    /// There is none where it is when nothing else is said.
    #[error("this controller has no identity yet")]
    NotYet,
    /// There is none where it was said to be.
    #[error("the identity {} does not exist", .path.display())]
    Missing {
        /// Where.
        path: PathBuf,
    },
    /// It is of no use.
    #[error(transparent)]
    Load(LoadIdentityError),
    /// It is somebody else's.
    #[error("{} is the identity of {node}, and not a controller's", .path.display())]
    Role {
        /// Where.
        path: PathBuf,
        /// Whose it is.
        node: NodeId,
    },
}

impl IdentityError {
    /// Returns what to do about it.
    pub(super) fn next_step(&self) -> String {
        match self {
            Self::NotYet => {
                "make a mesh with `controller pki init`, or name an identity file with --identity"
            }
            Self::Missing { .. } | Self::Role { .. } => {
                "where the mesh was made, `controller pki issue controller NAME --out FILE` makes one"
            }
            Self::Load(_) => "`controller pki inspect FILE` shows what an identity file says",
        }
        .into()
    }
}

/// Finds who carries this verb's wishes out: the daemon where one serves, else this process, with its
/// identity and links of its own.
pub(super) async fn open(global: &Global) -> anyhow::Result<Context> {
    let home = Home::find(global.home.clone())?;
    let config = Config::load(&home.config())?;
    #[cfg(unix)]
    if let Some(client) = daemon::client(global, &home, &config).await? {
        let global = global.clone();
        let open = move || here(&global).map_err(|error| describe_error::told(&error));
        let runner = Runner::by_daemon(client, Box::new(open));
        return Ok(Context {
            home,
            config,
            runner,
        });
    }
    let orchestrator = orchestrator(global, &home, &config, Keep::Nothing)?;
    let runner = Runner::Here(Box::new(orchestrator));
    Ok(Context {
        home,
        config,
        runner,
    })
}

/// Opens this controller's identity and its links. Must be called within a runtime.
fn here(global: &Global) -> anyhow::Result<Orchestrator> {
    let home = Home::find(global.home.clone())?;
    let config = Config::load(&home.config())?;
    orchestrator(global, &home, &config, Keep::Nothing)
}

fn orchestrator(
    global: &Global,
    home: &Home,
    config: &Config,
    keep: Keep,
) -> anyhow::Result<Orchestrator> {
    let identity = identity(global, config, home)?;
    let revocation = revocation(home, &identity)?;
    let known = known(&global.address, config, &identity);
    let lan = match asks_lan(global, config) {
        true => Lan::Ask,
        false => Lan::Ignore,
    };
    let setup = Setup {
        identity,
        revocation,
        known,
        lan,
        address_book: home.addresses(),
        keep,
    };
    Ok(Orchestrator::bind(setup)?)
}

fn asks_lan(global: &Global, config: &Config) -> bool {
    global.mdns.or(config.mdns).unwrap_or(true)
}

fn identity_path(global: &Global, config: &Config, home: &Home) -> PathBuf {
    let named = global.identity.clone().or_else(|| config.identity.clone());
    named.unwrap_or_else(|| Store::controller_identity(home.path()))
}

/// Reads `NAME=IP:PORT`; nothing from an empty text, as a variable that is set to nothing has it.
pub(super) fn address(text: &str) -> Result<Option<(NodeName, SocketAddr)>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let (name, addr) = text.split_once('=').ok_or("expected NAME=IP:PORT")?;
    let name = name
        .parse()
        .map_err(|error: proto::id::ParseLabelError| error.to_string())?;
    let addr = addr
        .parse()
        .map_err(|_| "expected an address such as 192.0.2.7:4433")?;
    Ok(Some((name, addr)))
}

/// Returns how long to look for an agent: the flag, else the configuration, else the default.
pub(super) fn window(flag: Option<Duration>, config: &Config) -> Duration {
    flag.or(config.connect_timeout)
        .unwrap_or(DEFAULT_CONNECT_TIMEOUT)
}

fn identity(global: &Global, config: &Config, home: &Home) -> Result<Identity, IdentityError> {
    let named = global.identity.clone().or_else(|| config.identity.clone());
    let (path, missing) = match named {
        Some(path) => (path.clone(), IdentityError::Missing { path }),
        None => (
            Store::controller_identity(home.path()),
            IdentityError::NotYet,
        ),
    };
    // Only a file that is certainly not there: one that cannot be looked at has another reason.
    if path.try_exists().is_ok_and(|exists| !exists) {
        return Err(missing);
    }
    let now = OffsetDateTime::now_utc();
    let identity = Identity::load(&path, now).map_err(IdentityError::Load)?;
    if let Some(days) = identity.days_left_when_due(now) {
        tracing::warn!(node = %identity.node(), days, "this identity ends soon; issue a new one");
    }
    match identity.node() {
        NodeId {
            role: Role::Controller,
            ..
        } => Ok(identity),
        node => Err(IdentityError::Role {
            node: node.clone(),
            path,
        }),
    }
}

fn revocation(home: &Home, identity: &Identity) -> anyhow::Result<Revocation> {
    let path = home.crl();
    // A list that cannot be looked for may be there, and then nobody is trusted without it.
    if path.try_exists().is_ok_and(|exists| !exists) {
        return Ok(Revocation::none_known(StaleCrl::Refuse));
    }
    Ok(node::revocation::load(&path, identity)?)
}

/// Gathers the addresses that the operator gave: flags first, then the configuration, then the
/// identity file.
fn known(
    flags: &[Option<(NodeName, SocketAddr)>],
    config: &Config,
    identity: &Identity,
) -> Vec<KnownAddress> {
    let flags = flags.iter().flatten().cloned();
    let config = config
        .addresses
        .iter()
        .flat_map(|(name, addrs)| addrs.iter().map(move |addr| (name.clone(), *addr)));
    let identity = identity
        .addresses()
        .iter()
        .filter(|(node, _)| node.role == Role::Agent)
        .flat_map(|(node, addrs)| {
            let addrs = addrs.iter().filter_map(|addr| addr.as_str().parse().ok());
            addrs.map(move |addr| (node.name.clone(), addr))
        });
    flags
        .chain(config)
        .chain(identity)
        .map(|(name, addr)| KnownAddress { name, addr })
        .collect()
}

/// Runs one verb's work on a current-thread runtime, which has twice the throughput of the
/// multi-thread one here.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.context("start the runtime")?;
    let done = runtime.block_on(work);
    // A thread that waits for a terminal or a pager is not waited for.
    runtime.shutdown_background();
    done
}
