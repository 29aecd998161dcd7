//! The demonstration's agent: a child process that ends with its parent.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};

/// How long the agent may take to serve.
const START_LIMIT: Duration = Duration::from_secs(10);

/// How long the agent may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// What the agent says when it serves, before its address.
const SERVES: &str = " listening on ";

/// An agent in a process of its own.
pub(super) struct ChildAgent {
    child: Child,
    pid: u32,
    port: u16,
    /// Kept open: an agent that cannot log must not be stopped by that.
    _log: Lines<BufReader<ChildStderr>>,
}

/// Returns where the agent's identity lies.
pub(super) fn identity(folder: &Path) -> PathBuf {
    folder.join("agent.identity")
}

impl ChildAgent {
    /// Starts this very program as an agent, and waits until it serves.
    ///
    /// It removes `temporary` when it ends, however this process does.
    pub(super) async fn start(folder: &Path, temporary: Option<&Path>) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("find this program")?;
        let mut command = Command::new(program);
        command
            .args(["funnelcloud", "--listen", "0.0.0.0:0"])
            .arg("--identity")
            .arg(identity(folder))
            .arg("--home")
            .arg(folder.join("agent"));
        if let Some(temporary) = temporary {
            command.arg("--remove").arg(temporary);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start the agent")?;
        let stderr = child.stderr.take().context("read the agent's messages")?;
        let mut log = BufReader::new(stderr).lines();
        let addr = tokio::time::timeout(START_LIMIT, serves_on(&mut log))
            .await
            .context("the agent does not serve")??;
        let pid = child.id().context("the agent has ended")?;
        Ok(Self {
            child,
            pid,
            port: addr.port(),
            _log: log,
        })
    }

    pub(super) const fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// Returns the address at which the agent answers on this machine alone.
    pub(super) const fn loopback(&self) -> SocketAddr {
        SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), self.port)
    }

    /// Ends the agent and waits until it is gone.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        let ended = tokio::time::timeout(STOP_LIMIT, self.child.wait()).await;
        ended
            .context("the agent does not stop")?
            .context("wait for the agent")?;
        Ok(())
    }
}

async fn serves_on(log: &mut Lines<BufReader<ChildStderr>>) -> anyhow::Result<SocketAddr> {
    let mut said = Vec::new();
    while let Some(line) = log.next_line().await? {
        if let Some((_, addr)) = line.split_once(SERVES) {
            return Ok(addr.parse()?);
        }
        said.push(line);
    }
    anyhow::bail!("the agent ended: {}", said.join("; "))
}
