//! An agent that is started as the laboratory does not: with other options, or of another mesh.

use std::{net::SocketAddr, path::Path, process::Command};

use scenarios::{Binaries, PATIENCE, Place, Process};

/// A running agent, killed when this is dropped.
pub(crate) struct Started {
    pub(crate) process: Process,
    pub(crate) listen: SocketAddr,
}

impl Started {
    /// Starts `command` and waits until it serves.
    #[track_caller]
    pub(crate) fn by(command: Command) -> Self {
        let process = Process::start(command);
        let line = process.wait_for_line("listening on ", PATIENCE);
        let said = line.rsplit("listening on ").next().unwrap();
        Self {
            process,
            listen: said.trim().parse().unwrap(),
        }
    }

    /// Returns what it has logged.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&self.process.stderr()).into_owned()
    }
}

/// Returns the command that starts an agent with `identity` in `place`, its state beside it.
pub(crate) fn agent(place: &Place, identity: &Path, listen: &str) -> Command {
    let home = identity.with_extension("home");
    let mut command = place.clean_command(&Binaries::get().funnelcloud, &home);
    command.args(["agent", "--listen", listen]);
    command.arg("--identity").arg(identity);
    command.arg("--home").arg(home);
    command
}
