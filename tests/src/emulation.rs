//! Many agents in one process, `funnelcloud agent --emulate`, for scenarios and figures of scale.

use std::{
    ffi::OsStr,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use crate::{Binaries, Finished, Mesh, PATIENCE, Place, Process};

/// Ports of the system's choice.
const ANY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));

/// Emulated agents that serve.
#[derive(Debug)]
pub struct Emulation {
    process: Process,
    names: Vec<String>,
}

impl Emulation {
    /// Issues `count` identities `emu-1` … (with as many digits as the last has) and starts their
    /// agents on the loopback, where the mesh's controller remembers them.
    ///
    /// # Panics
    /// When they do not come up.
    #[must_use]
    #[track_caller]
    pub fn start(mesh: &Mesh, count: usize) -> Self {
        let names = names(count);
        let folder = Self::identities(mesh);
        let (first, last) = (&names[0], &names[count - 1]);
        let range = format!("emu-[{}-{}]", &first["emu-".len()..], &last["emu-".len()..]);
        let words = ["pki", "issue", "agent", &range, "--out-dir"].map(OsStr::new);
        let _ = mesh
            .run(words.into_iter().chain([folder.as_os_str()]))
            .expect_success();
        Self::serve(mesh, names)
    }

    /// Returns the folder of the identities of emulated agents.
    #[must_use]
    pub fn identities(mesh: &Mesh) -> PathBuf {
        mesh.folder().join("emulated")
    }

    /// Returns the command that starts `count` of them, to be changed for a test of how it refuses.
    #[must_use]
    pub fn command(mesh: &Mesh, count: usize, listen: SocketAddr) -> Command {
        let program = &Binaries::get().funnelcloud;
        let mut command = Place::here().clean_command(program, mesh.folder());
        command
            .args(["agent", "--emulate", &count.to_string()])
            .args(["--listen", &listen.to_string(), "--identity"])
            .arg(Self::identities(mesh))
            .arg("--home")
            .arg(mesh.folder().join("homes-of-emulated"))
            .arg("--addresses")
            .arg(Self::addresses(mesh));
        command
    }

    /// Returns the file in which the mesh's controller finds them.
    #[must_use]
    pub fn addresses(mesh: &Mesh) -> PathBuf {
        mesh.home().join("addresses.json")
    }

    #[track_caller]
    fn serve(mesh: &Mesh, names: Vec<String>) -> Self {
        let process = Process::start(Self::command(mesh, names.len(), ANY));
        // Thousands of ledgers are made by an unoptimised program, perhaps.
        let within = PATIENCE + Duration::from_millis(20) * u32::try_from(names.len()).unwrap_or(0);
        let said = process.wait_for_line(" agents listening on ", within);
        let expected = format!(
            "funnelcloud: {} agents listening on 127.0.0.1:",
            names.len()
        );
        assert!(said.starts_with(&expected), "{said}");
        Self { process, names }
    }

    /// Returns their names, in order.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns their process, for its output and for signals.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Asks them to stop, and waits for their end.
    ///
    /// # Panics
    /// When they do not end.
    #[track_caller]
    #[cfg(unix)]
    pub fn stop(mut self) -> Finished {
        self.process.signal(rustix::process::Signal::TERM);
        self.process.wait_exit(PATIENCE)
    }
}

fn names(count: usize) -> Vec<String> {
    let width = count.to_string().len();
    (1..=count)
        .map(|number| format!("emu-{number:0width$}"))
        .collect()
}
