//! A mesh with its agents, and the operator's command line in front of it.

use std::{
    ffi::{OsStr, OsString},
    net::{Ipv4Addr, SocketAddr},
    process::Command,
};

use crate::{Agent, Finished, Mesh, Place, Process, agent::AgentSpec};
#[cfg(target_os = "linux")]
use crate::{Host, Lan};

/// The name of the agent of [`Lab::loopback`].
const FIRST_AGENT: &str = "srv-linux-01";

/// The host of a LAN on which the operator sits.
#[cfg(target_os = "linux")]
const OPERATOR: u8 = 1;

/// A laboratory: one mesh, its agents, and where they are.
///
/// The fields are dropped in their order: agents end before their network and their folders go.
#[derive(Debug)]
pub struct Lab {
    agents: Vec<Agent>,
    #[cfg(target_os = "linux")]
    lan: Option<Lan>,
    mesh: Mesh,
}

impl Lab {
    /// Makes a mesh without agents, on this machine's loopback.
    #[must_use]
    #[track_caller]
    pub fn new() -> Self {
        Self {
            agents: Vec::new(),
            #[cfg(target_os = "linux")]
            lan: None,
            mesh: Mesh::init("lab"),
        }
    }

    /// Makes a mesh with the agent `srv-linux-01` on the loopback, its address known.
    #[must_use]
    #[track_caller]
    pub fn loopback() -> Self {
        let mut lab = Self::new();
        lab.start_agent(FIRST_AGENT);
        lab
    }

    /// Makes a mesh on a LAN: the operator on host 1, and `agents` agents `srv-linux-01` … on the
    /// hosts from 2, which only mDNS can find.
    #[cfg(target_os = "linux")]
    #[must_use]
    #[track_caller]
    pub fn on_lan(agents: u8) -> Self {
        let mut lab = Self::new_with_lan_of(OPERATOR + agents);
        for number in 1..=agents {
            let host = lab.lan().host(OPERATOR + number);
            lab.start_agent_on(host, &format!("srv-linux-{number:02}"));
        }
        lab
    }

    /// Makes a mesh without agents on a LAN of `hosts` hosts, with the operator on host 1.
    #[cfg(target_os = "linux")]
    #[must_use]
    #[track_caller]
    pub fn new_with_lan_of(hosts: u8) -> Self {
        let mut lab = Self::new();
        lab.lan = Some(Lan::new(hosts));
        lab
    }

    /// Returns the mesh.
    #[must_use]
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// Returns the LAN.
    ///
    /// # Panics
    /// When the lab is on the loopback.
    #[cfg(target_os = "linux")]
    #[must_use]
    #[track_caller]
    pub fn lan(&self) -> &Lan {
        let Some(lan) = &self.lan else {
            panic!("this lab is on the loopback: use Lab::on_lan")
        };
        lan
    }

    /// Returns where an agent serves, the first of them being number 0.
    #[must_use]
    pub fn address_of(&self, index: usize) -> SocketAddr {
        self.agents[index].address()
    }

    /// Returns an agent, counted from 0 in the order of their start.
    #[must_use]
    #[track_caller]
    pub fn agent(&mut self, index: usize) -> &mut Agent {
        &mut self.agents[index]
    }

    /// Takes an agent out of the lab, to stop it or to let it go.
    #[must_use]
    #[track_caller]
    pub fn take_agent(&mut self, index: usize) -> Agent {
        self.agents.remove(index)
    }

    /// Issues an identity for `name` and starts its agent on the loopback.
    ///
    /// # Panics
    /// When the agent does not come up.
    #[track_caller]
    pub fn start_agent(&mut self, name: &str) -> &mut Agent {
        let spec = AgentSpec {
            options: vec!["--no-mdns".into()],
            ..self.spec(&self.mesh, name, Place::here())
        };
        self.start(spec, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Starts an agent of another mesh on the loopback, among ours.
    ///
    /// # Panics
    /// When the agent does not come up.
    #[track_caller]
    pub fn start_agent_of(&mut self, mesh: &Mesh, name: &str) -> &mut Agent {
        let spec = AgentSpec {
            options: vec!["--no-mdns".into()],
            ..self.spec(mesh, name, Place::here())
        };
        self.start(spec, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Issues an identity for `name` and starts its agent on a host of the LAN, with mDNS.
    ///
    /// # Panics
    /// When the agent does not come up.
    #[cfg(target_os = "linux")]
    #[track_caller]
    pub fn start_agent_on(&mut self, host: Host, name: &str) -> &mut Agent {
        let spec = AgentSpec {
            host: host.address().into(),
            ..self.spec(&self.mesh, name, self.lan().place(host))
        };
        self.start(spec, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
    }

    /// Returns `controller` with `arguments`, at the operator's seat, with nothing of the test's
    /// own environment.
    ///
    /// On the loopback it is told where the agents are. On a LAN it must find them.
    #[must_use]
    pub fn controller<W: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = W>) -> Command {
        #[cfg(target_os = "linux")]
        if let Some(lan) = &self.lan {
            return self
                .mesh
                .controller_at(&lan.place(lan.host(OPERATOR)), arguments);
        }
        let known = self
            .agents
            .iter()
            .map(|agent| (agent.name(), agent.address()));
        self.controller_knowing(known, arguments)
    }

    /// Returns `controller` as [`controller`](Self::controller) does, for a measurement of its
    /// whole time: started without any wrapper.
    #[must_use]
    pub fn timed_controller<W: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = W>,
    ) -> Command {
        let mut command = self.mesh.controller_at(&Place::here_unguarded(), arguments);
        tell_addresses(&mut command, self.known());
        command
    }

    /// Tells `command` where the agents are, so that it looks for them nowhere else.
    pub fn tell_addresses(&self, command: &mut Command) {
        tell_addresses(command, self.known());
    }

    /// Returns `controller` on this machine, told other addresses than the agents' own: a
    /// [proxy](crate::proxy)'s, or wrong ones.
    #[must_use]
    pub fn controller_knowing<'a, W: AsRef<OsStr>>(
        &self,
        addresses: impl IntoIterator<Item = (&'a str, SocketAddr)>,
        arguments: impl IntoIterator<Item = W>,
    ) -> Command {
        let mut command = self.mesh.controller(arguments);
        tell_addresses(&mut command, addresses);
        command
    }

    /// Runs `controller` with `arguments` to its end.
    ///
    /// # Panics
    /// When it hangs.
    #[track_caller]
    pub fn run<W: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = W>) -> Finished {
        Process::run(self.controller(arguments))
    }

    fn known(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.agents
            .iter()
            .map(|agent| (agent.name(), agent.address()))
    }

    fn spec(&self, mesh: &Mesh, name: &str, place: Place) -> AgentSpec {
        AgentSpec {
            name: name.to_owned(),
            identity: mesh.issue_agent(name),
            home: mesh.folder().join(format!("home-of-{name}")),
            place,
            host: Ipv4Addr::LOCALHOST.into(),
            options: Vec::new(),
            environment: Vec::<(OsString, OsString)>::new(),
        }
    }

    #[track_caller]
    fn start(&mut self, spec: AgentSpec, listen: SocketAddr) -> &mut Agent {
        self.agents.push(Agent::start(spec, listen));
        let last = self.agents.len() - 1;
        &mut self.agents[last]
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

/// Tells a controller where agents are, and that it shall look for them nowhere else: multicast
/// must not leave a test for the developer's LAN.
fn tell_addresses<'a>(
    command: &mut Command,
    addresses: impl IntoIterator<Item = (&'a str, SocketAddr)>,
) {
    let known: Vec<String> = addresses
        .into_iter()
        .map(|(name, address)| format!("{name}={address}"))
        .collect();
    if !known.is_empty() {
        command.env("MESOSYNC_ADDRESSES", known.join(","));
    }
    command.env("MESOSYNC_MDNS", "false");
}
