//! The callee: what `funnelcloud agent` is.
//!
//! Owns the agent's parts and their start and stop. An agent is deliberately dumb: it proves who it
//! is, obeys only controllers of its mesh, runs what it is sent and reports what happened. What a
//! command means is never its business.
//!
//! Stop order: refuse new links and runs, end what runs (its controllers hear `AgentStopped` and
//! the ledger keeps it), close the links with a code, withdraw the announcement.

pub mod emulate;
mod files;
pub mod ledger;
pub mod probe;
pub mod process;
mod router;
mod run;
mod runs;
mod spool;

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use pki::{Identity, Revocation};
use proto::{
    capability::OsFamily,
    id::{Fingerprint, NodeName, Role, RunId},
};
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub(crate) use self::runs::MAX_RUNS;
use self::{
    files::FileService,
    ledger::{Ledger, OpenLedgerError},
    probe::{ProbeLimits, Prober},
    process::{Base, Containment, Launcher, OpenLauncherError},
    runs::Runs,
    spool::{Folder, OpenFolderError},
};
use crate::{
    close::CloseCode,
    discovery::mdns::{Announcement, Announcer},
    transport::{BindError, Transport},
};

/// How long a stopping agent waits for its peers to hear of it.
const GOODBYE: Duration = Duration::from_secs(1);

/// How long a stopping agent waits for runs to end and for their callers to hear of it.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// What an agent needs to start.
#[derive(Debug)]
pub struct AgentOptions {
    /// Who it is.
    pub identity: Identity,
    /// Which certificates are no longer good.
    pub revocation: Revocation,
    /// Where it serves.
    pub listen: SocketAddr,
    /// Where it keeps its ledger. One agent at a time may use it.
    pub home: PathBuf,
    /// Whether it answers on the LAN.
    pub announce: Announce,
}

/// Whether an agent can be found by mDNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announce {
    /// On every interface that it serves.
    OnLan,
    /// Nowhere; controllers must know its address.
    Nowhere,
}

/// An agent that is bound and not yet serving.
#[derive(Debug)]
pub struct Agent {
    transport: Transport,
    announcement: Option<Announcement>,
    shared: Arc<Shared>,
    /// Runs that an earlier agent left in progress.
    lost: Vec<RunId>,
    /// Processes of theirs that could not be ended.
    survivors: Vec<u32>,
    /// The prober; it ends with its last handle, or when this is dropped.
    tasks: JoinSet<()>,
}

/// What all links and runs of an agent share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) mesh: Fingerprint,
    pub(crate) name: NodeName,
    pub(crate) os: OsFamily,
    pub(crate) ledger: Ledger,
    pub(crate) launcher: Launcher,
    pub(crate) base: Base,
    files: FileService,
    pub(crate) prober: Prober,
    pub(crate) runs: Arc<Runs>,
    pub(crate) output: Arc<Folder>,
    pub(crate) starts: Semaphore,
    pub(crate) stop: CancellationToken,
    pub(crate) noop: Noop,
}

/// Whether an agent answers [`emulate::NOOP`] by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noop {
    /// It knows no such program.
    Unknown,
    /// Only an emulated agent does.
    Answered,
}

/// What an agent has of its host. Agents of one process share it.
#[derive(Debug)]
struct Means {
    prober: Prober,
    /// Opened with the agent's home where there is none yet.
    launcher: Option<Launcher>,
    noop: Noop,
}

/// Why an agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartAgentError {
    /// The identity is not an agent's.
    #[error(
        "the identity is {node}'s; an agent needs one that was issued by `controller pki issue agent NAME`"
    )]
    Role {
        /// Whose it is.
        node: proto::id::NodeId,
    },
    /// The socket cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The home folder cannot be made.
    #[error("make the agent's home {home}")]
    Home {
        /// Which folder.
        home: PathBuf,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },
    /// No process could be started.
    #[error(transparent)]
    Launcher(#[from] OpenLauncherError),
    /// Output could not be kept.
    #[error(transparent)]
    Output(#[from] OpenFolderError),
    /// The record of runs cannot be used, so no run could be accepted.
    #[error("open the record of runs in {home}")]
    Ledger {
        /// In which folder.
        home: PathBuf,
        /// The reason.
        #[source]
        source: OpenLedgerError,
    },
}

impl Agent {
    /// Opens the ledger and binds the socket. Must be called within a runtime.
    ///
    /// # Errors
    /// Says which part failed, and why.
    pub fn bind(options: AgentOptions) -> Result<Self, StartAgentError> {
        let mut tasks = JoinSet::new();
        let means = Means {
            prober: Prober::spawn(ProbeLimits::default(), &mut tasks),
            launcher: None,
            noop: Noop::Unknown,
        };
        let agent = Self::bind_with(options, means)?;
        Ok(Self { tasks, ..agent })
    }

    fn bind_with(options: AgentOptions, means: Means) -> Result<Self, StartAgentError> {
        let AgentOptions {
            identity,
            revocation,
            listen,
            home,
            announce,
        } = options;
        let node = identity.node().clone();
        if node.role != Role::Agent {
            return Err(StartAgentError::Role { node });
        }
        let transport = Transport::bind_callee(listen, &identity, &revocation)?;
        let (ledger, lost) = open_ledger(&home)?;
        let output = Folder::open(&home, |run| ledger.get(run).is_some())?;
        let bound = transport.local_addr().unwrap_or(listen);
        let announcement =
            (announce == Announce::OnLan && !bound.ip().is_loopback()).then(|| Announcement {
                mesh: identity.fingerprint(),
                name: node.name.clone(),
                listen: bound,
            });
        // Processes of runs whose agent died: nobody reads their output or could end them.
        let launcher = match means.launcher {
            Some(launcher) => launcher,
            None => Launcher::open(&home, Containment::Cgroup)?,
        };
        let survivors = launcher.kill_lost(&lost);
        if !survivors.is_empty() {
            tracing::error!(pids = ?survivors, "processes of lost runs could not be ended");
        }
        let base = Base::of_this_process();
        let files = FileService::new(base.home().into(), &home);
        files.sweep();
        let shared = Shared {
            mesh: identity.fingerprint(),
            name: node.name,
            os: OsFamily::HERE,
            ledger,
            launcher,
            files,
            base,
            prober: means.prober,
            runs: Arc::default(),
            output: Arc::new(output),
            starts: Semaphore::new(run::MAX_STARTS),
            stop: CancellationToken::new(),
            noop: means.noop,
        };
        Ok(Self {
            transport,
            announcement,
            shared: Arc::new(shared),
            lost,
            survivors,
            tasks: JoinSet::new(),
        })
    }

    /// Returns the address on which the agent serves.
    ///
    /// # Errors
    /// The operating system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.transport.local_addr()
    }

    /// Returns the line with which the agent says that it serves.
    #[must_use]
    pub fn greeting(&self) -> String {
        let name = &self.shared.name;
        match self.local_addr() {
            Ok(addr) => format!("agent/{name} listening on {addr}"),
            Err(error) => format!("agent/{name} listening: {error}"),
        }
    }

    /// Serves until `stop` is done, then ends what runs and says goodbye.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Served {
        let Self {
            transport,
            announcement,
            shared,
            lost,
            survivors,
            tasks,
        } = self;
        for id in lost {
            run::keep_lost(&shared, id, &survivors);
        }
        let announcer = announcement.and_then(announce);
        let router = router::serve(&transport, &shared);
        tokio::pin!(router);
        let is_over = tokio::select! {
            () = &mut router => true, // the socket is gone
            () = stop => false,
        };
        let runs = shared.runs.count();
        tracing::info!(runs, "stopping");
        transport.refuse_new();
        shared.stop.cancel();
        // The router ends when every run has reported its end, or its caller does not read it.
        if !is_over && tokio::time::timeout(STOP_LIMIT, router).await.is_err() {
            tracing::warn!("some controllers did not hear how their runs ended");
        }
        drop(announcer);
        drop(tasks);
        if tokio::time::timeout(GOODBYE, transport.close(CloseCode::Stopping))
            .await
            .is_err()
        {
            tracing::debug!("a peer did not acknowledge the end of its link");
        }
        Served { runs_ended: runs }
    }
}

/// What a stopped agent has to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// How many runs were in progress and were ended.
    pub runs_ended: usize,
}

/// Starts to answer on the LAN. Where that is impossible, the agent serves those who know its address.
fn announce(announcement: Announcement) -> Option<Announcer> {
    match Announcer::spawn(announcement) {
        Ok(announcer) => Some(announcer),
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(
                error,
                "this agent cannot be found by mDNS; controllers must know its address"
            );
            None
        }
    }
}

/// Opens the record, and returns the runs that an earlier agent left in progress.
fn open_ledger(home: &Path) -> Result<(Ledger, Vec<RunId>), StartAgentError> {
    fs_err::create_dir_all(home).map_err(|source| StartAgentError::Home {
        home: home.to_owned(),
        source,
    })?;
    let (ledger, recovered) =
        Ledger::open(home, SystemTime::now()).map_err(|source| StartAgentError::Ledger {
            home: home.to_owned(),
            source,
        })?;
    for run in &recovered.lost {
        tracing::warn!(%run, "a run was in progress when the agent last stopped; it is lost");
    }
    Ok((ledger, recovered.lost))
}
