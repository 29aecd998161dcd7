//! Many agents in one process, for tests of scale: `funnelcloud agent --emulate N`.
//!
//! Each has an identity, a UDP socket, links and a ledger (in a folder of its own, as any agent's) and
//! runs what it is sent. They share one thread, the means to start processes and the probes, and none
//! answers on the LAN, since controllers are told where they are. Beyond that an emulated agent only
//! answers [`NOOP`] by itself.
//!
//! What is measured with them is therefore the controller, and not agents: a real one has a host of
//! its own.
//!
//! ```text
//! controller pki issue agent 'emu-[0001-5000]' --out-dir emu
//! funnelcloud agent --emulate 5000 --identity emu --home emu-home --listen 127.0.0.1:20000 \
//!     --addresses "$MESOSYNC_HOME/addresses.json"
//! controller run --all --yes -- mesosync-noop
//! ```

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use pki::{Identity, Revocation};
use proto::id::{Fingerprint, NodeName};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    Agent, AgentOptions, Announce, Means, Noop, Served, StartAgentError,
    probe::{ProbeLimits, Prober},
};

/// The program that an emulated agent answers without starting a process: it ends with 0.
pub const NOOP: &str = "mesosync-noop";

/// What emulated agents need to start.
#[derive(Debug)]
pub struct EmulationOptions {
    /// Who they are; all of one mesh.
    pub identities: Vec<Identity>,
    /// Which certificates are no longer good.
    pub revocation: Revocation,
    /// Where the first one serves; each of the others on the next port. With port 0 the operating
    /// system chooses all of them.
    pub listen: SocketAddr,
    /// The folder in which each keeps its ledger, in a folder of its name.
    pub home: PathBuf,
}

/// Agents that are bound and not yet serving.
#[derive(Debug)]
pub struct Emulation {
    mesh: Fingerprint,
    agents: Vec<Agent>,
    /// The prober of all.
    _tasks: JoinSet<()>,
}

/// Why agents cannot be emulated.
#[derive(Debug, thiserror::Error)]
pub enum StartEmulationError {
    /// There is nobody to be.
    #[error("there is no identity to emulate an agent with")]
    Nobody,
    /// An identity of another mesh is among them.
    #[error("{name} is of another mesh than the agents before it; emulate one mesh at a time")]
    Mesh {
        /// Whose identity.
        name: NodeName,
    },
    /// There are not as many ports.
    #[error("{count} agents from port {first} on are more than there are ports")]
    Ports {
        /// The first port.
        first: u16,
        /// How many were wanted.
        count: usize,
    },
    /// One of them does not start.
    #[error("start agent {name}")]
    Agent {
        /// Which.
        name: NodeName,
        /// The reason.
        #[source]
        source: StartAgentError,
    },
}

impl Emulation {
    /// Opens the ledgers and binds the sockets. Must be called within a runtime.
    ///
    /// # Errors
    /// Says which agent failed, and why; then none serves.
    pub fn bind(options: EmulationOptions) -> Result<Self, StartEmulationError> {
        let first = options.identities.first();
        let mesh = first.ok_or(StartEmulationError::Nobody)?.fingerprint();
        check(&options, mesh)?;
        let mut tasks = JoinSet::new();
        let prober = Prober::spawn(ProbeLimits::default(), &mut tasks);
        let mut agents: Vec<Agent> = Vec::with_capacity(options.identities.len());
        let mut listen = options.listen;
        for identity in options.identities {
            let means = Means {
                prober: prober.clone(),
                launcher: agents.first().map(|first| first.shared.launcher.clone()),
                noop: Noop::Answered,
            };
            let name = identity.node().name.clone();
            let agent = AgentOptions {
                home: home_of(&options.home, &name),
                identity,
                revocation: options.revocation.clone(),
                listen,
                announce: Announce::Nowhere,
            };
            let agent = Agent::bind_with(agent, means);
            agents.push(agent.map_err(|source| StartEmulationError::Agent { name, source })?);
            if listen.port() != 0 {
                // Only past the last one is there no next port.
                listen.set_port(listen.port().wrapping_add(1));
            }
        }
        Ok(Self {
            mesh,
            agents,
            _tasks: tasks,
        })
    }

    /// Returns the mesh of all.
    #[must_use]
    pub const fn mesh(&self) -> Fingerprint {
        self.mesh
    }

    /// Returns where each of them serves.
    pub fn addresses(&self) -> impl Iterator<Item = (&NodeName, SocketAddr)> {
        self.agents.iter().filter_map(|agent| {
            let addr = agent.local_addr().ok()?;
            Some((&agent.shared.name, addr))
        })
    }

    /// Returns the line with which they say that they serve.
    #[must_use]
    pub fn greeting(&self) -> String {
        let count = self.agents.len();
        let addresses = || self.addresses().map(|(_, addr)| addr);
        let first = addresses().min_by_key(SocketAddr::port);
        let last = addresses().map(|addr| addr.port()).max();
        match first.zip(last) {
            Some((first, last)) => format!("{count} agents listening on {first}..{last}"),
            None => format!("{count} agents listening"),
        }
    }

    /// Serves until `stop` is done, then ends what runs and says goodbye, all of them at once.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Served {
        let token = CancellationToken::new();
        let mut serving = JoinSet::new();
        for agent in self.agents {
            serving.spawn(agent.serve(token.clone().cancelled_owned()));
        }
        tokio::pin!(stop);
        let mut runs_ended = 0;
        loop {
            tokio::select! {
                () = &mut stop, if !token.is_cancelled() => token.cancel(),
                ended = serving.join_next() => match ended {
                    Some(Ok(served)) => runs_ended += served.runs_ended,
                    Some(Err(error)) => tracing::error!(%error, "an emulated agent broke"),
                    None => return Served { runs_ended },
                },
            }
        }
    }
}

/// Refuses what can be seen to fail before anything is opened.
fn check(options: &EmulationOptions, mesh: Fingerprint) -> Result<(), StartEmulationError> {
    let stranger = options
        .identities
        .iter()
        .find(|identity| identity.fingerprint() != mesh);
    if let Some(stranger) = stranger {
        let name = stranger.node().name.clone();
        return Err(StartEmulationError::Mesh { name });
    }
    let (first, count) = (options.listen.port(), options.identities.len());
    if usize::from(first) + count > usize::from(u16::MAX) + 1 {
        return Err(StartEmulationError::Ports { first, count });
    }
    Ok(())
}

fn home_of(home: &Path, name: &NodeName) -> PathBuf {
    home.join(name.as_str())
}
