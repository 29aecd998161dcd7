//! What the daemon says of itself.

use std::time::Duration;

use proto::id::{NodeName, RunId};
use serde::{Deserialize, Serialize};

/// How the daemon is. The keys of its JSON are a contract: they are added to, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its process.
    pub pid: u32,
    /// Its release.
    pub version: String,
    /// For how long it has served, in milliseconds.
    pub uptime_ms: u64,
    /// Who it is in the mesh.
    pub identity: String,
    /// The fingerprint of the mesh's CA.
    pub mesh: String,
    /// How often its files were read again with success.
    pub reloads: u64,
    /// Why its files were of no use when they were read last, if so.
    pub reload_failed: Option<String>,
    /// The links that it keeps up.
    pub links: Vec<LinkStatus>,
    /// The runs in progress.
    pub runs: Vec<RunStatus>,
}

/// A link that is kept up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// To whom.
    pub name: NodeName,
    /// Where.
    pub address: String,
    /// `lan`, `local` or `direct`.
    pub path: String,
    /// The round trip, in microseconds.
    pub rtt_us: u64,
    /// How long ago it was asked for last, in milliseconds.
    pub idle_ms: u64,
}

/// A run in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStatus {
    /// Its id.
    pub run: String,
    /// On which agent.
    pub target: NodeName,
    /// For how long, in milliseconds.
    pub age_ms: u64,
}

impl RunStatus {
    pub(super) fn new(run: RunId, target: NodeName, age: Duration) -> Self {
        Self {
            run: run.to_string(),
            target,
            age_ms: millis(age),
        }
    }
}

/// Returns whole milliseconds, as JSON carries them.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
