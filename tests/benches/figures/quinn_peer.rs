//! quinn by itself: the server of `quinn-peer`, and its client for each measurement.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};
use scenarios::{PATIENCE, Place, Process};
use serde::Deserialize;
use tempfile::TempDir;

/// Built by cargo together with this benchmark, with the same profile.
const PROGRAM: &str = env!("CARGO_BIN_EXE_quinn-peer");

/// A running server.
pub(crate) struct QuinnPeer {
    _server: Process,
    folder: TempDir,
    address: String,
}

/// What every measuring program prints: one line of JSON.
#[derive(Deserialize)]
struct Answer {
    nanos: u64,
}

impl QuinnPeer {
    /// Starts a server.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = Place::here().command(PROGRAM);
        command.arg("serve").arg("--folder").arg(folder.path());
        let server = Process::start(command);
        let line = server.wait_for_line("listening on ", PATIENCE);
        let address = line.trim_start_matches("listening on ").to_owned();
        Ok(Self {
            _server: server,
            folder,
            address,
        })
    }

    /// Runs a client with the verb and the options of one measurement.
    pub(crate) fn measure(&self, verb: &str, options: &[String]) -> anyhow::Result<Duration> {
        let mut client = Command::new(PROGRAM);
        client.arg(verb).arg("--folder").arg(self.folder.path());
        client.arg("--server").arg(&self.address).args(options);
        answer_of(&mut client)
    }
}

/// Runs a measuring program and returns the time that it prints.
pub(crate) fn answer_of(program: &mut Command) -> anyhow::Result<Duration> {
    let output = program
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {program:?}"))?;
    ensure!(
        output.status.success(),
        "{program:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let answer: Answer = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("read the answer of {program:?}"))?;
    Ok(Duration::from_nanos(answer.nanos))
}
