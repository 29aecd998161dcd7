//! A running agent: `funnelcloud agent`, started, restarted, stopped and killed as in life.

use std::{
    ffi::{OsStr, OsString},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use crate::{Binaries, Finished, PATIENCE, Place, Process};

/// How an agent is started.
#[derive(Debug, Clone)]
pub(crate) struct AgentSpec {
    pub(crate) name: String,
    pub(crate) identity: PathBuf,
    pub(crate) home: PathBuf,
    pub(crate) place: Place,
    /// The address of its host, as others see it.
    pub(crate) host: IpAddr,
    /// More words for its command line, such as `--no-mdns`.
    pub(crate) options: Vec<OsString>,
    pub(crate) environment: Vec<(OsString, OsString)>,
}

/// An agent of the laboratory.
#[derive(Debug)]
pub struct Agent {
    spec: AgentSpec,
    listen: SocketAddr,
    /// Where it listens indeed.
    bound: SocketAddr,
    address: SocketAddr,
    process: Process,
}

impl Agent {
    /// Starts an agent on `listen`, and waits until it says where it listens.
    #[track_caller]
    pub(crate) fn start(spec: AgentSpec, listen: SocketAddr) -> Self {
        let process = Process::start(command(&spec, listen));
        let bound = address_of(&process);
        let address = seen_from_outside(bound, spec.host);
        Self {
            spec,
            listen,
            bound,
            address,
            process,
        }
    }

    /// Returns the name in its certificate.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Returns the address at which others reach it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the folder of its state.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.spec.home
    }

    /// Returns its identity file.
    #[must_use]
    pub fn identity(&self) -> &Path {
        &self.spec.identity
    }

    /// Returns the id of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Returns its process, for its output and for signals.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Returns what it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.process.stderr()).into_owned()
    }

    /// Returns the command that starts it, to be changed for a test of how it refuses to start.
    #[must_use]
    pub fn command(&self) -> Command {
        command(&self.spec, self.listen)
    }

    /// Kills it at once, as a power cut would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Asks it to stop, as a service manager does, and waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    #[cfg(unix)]
    #[track_caller]
    pub fn stop(mut self) -> Finished {
        self.process.signal(rustix::process::Signal::TERM);
        self.process.wait_exit(PATIENCE)
    }

    /// Restarts it so that it kills itself at a fault point, `NAME:COUNT` (see `node::fault`).
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn restart_with_fault(&mut self, fault: &str) {
        let added = ("MESOSYNC_FAULT".into(), fault.into());
        self.spec.environment.push(added);
        self.restart();
        self.spec.environment.pop();
    }

    /// Kills what is left of it and starts it again with the same home and the same address.
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn restart(&mut self) {
        self.process.kill();
        // A child that the killed one had forked holds its socket until it has become its program.
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.process = Process::start(command(&self.spec, self.bound));
            let said = self.process.wait_for_line("listen", PATIENCE);
            if !said.contains("already in use") || Instant::now() > deadline {
                break;
            }
        }
        self.bound = address_of(&self.process);
        self.address = seen_from_outside(self.bound, self.spec.host);
    }
}

fn command(spec: &AgentSpec, listen: SocketAddr) -> Command {
    let mut command = spec
        .place
        .clean_command(&Binaries::get().funnelcloud, &spec.home);
    command.args([
        OsStr::new("agent"),
        OsStr::new("--identity"),
        spec.identity.as_os_str(),
    ]);
    command.arg("--listen").arg(listen.to_string());
    command.arg("--home").arg(&spec.home);
    command
        .args(&spec.options)
        .envs(spec.environment.iter().map(|(key, value)| (key, value)));
    command
}

/// An agent that listens everywhere is reached at the address of its host.
fn seen_from_outside(listen: SocketAddr, host: IpAddr) -> SocketAddr {
    let ip = if listen.ip().is_unspecified() {
        host
    } else {
        listen.ip()
    };
    SocketAddr::new(ip, listen.port())
}

/// Reads the address from the line `funnelcloud: agent/NAME listening on ADDRESS`.
#[track_caller]
fn address_of(process: &Process) -> SocketAddr {
    let line = process.wait_for_line("listening on ", PATIENCE);
    let said = line.rsplit("listening on ").next().unwrap_or_default();
    match said.split_whitespace().next().unwrap_or_default().parse() {
        Ok(address) => address,
        Err(error) => panic!("no address in {line:?}: {error}"),
    }
}
