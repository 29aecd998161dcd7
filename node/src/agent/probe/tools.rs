//! Probe: programs that commands are often written for, and their versions.

use std::sync::Arc;

use proto::capability::{List, Program};

use super::{
    found::{Found, ProbeError},
    programs::{self, Candidate, says, silent},
    scope::Scope,
};

/// Each tells its version at once, without a server, a lock or a network; the rest are not asked.
const TOOLS: &[Candidate] = &[
    says("docker", &["--version"]),
    says("podman", &["--version"]),
    silent("nerdctl"),
    says("kubectl", &["version", "--client"]),
    says("helm", &["version", "--short"]),
    says("git", &["--version"]),
    says("python3", &["--version"]),
    says("node", &["--version"]),
    silent("npm"),
    says("perl", &["-e", "print $^V"]),
    says("ruby", &["--version"]),
    says("php", &["--version"]),
    says("java", &["-version"]),
    says("go", &["version"]),
    silent("dotnet"),
    silent("cargo"),
    says("gcc", &["--version"]),
    says("make", &["--version"]),
    says("curl", &["--version"]),
    says("wget", &["--version"]),
    says("ssh", &["-V"]),
    says("rsync", &["--version"]),
    says("openssl", &["version"]),
    says("jq", &["--version"]),
    says("sqlite3", &["--version"]),
    says("psql", &["--version"]),
    says("mysql", &["--version"]),
    says("sudo", &["--version"]),
    says("tmux", &["-V"]),
    says("ansible", &["--version"]),
    says("terraform", &["--version"]),
    silent("systemctl"),
    silent("journalctl"),
    silent("ip"),
    silent("ss"),
    silent("nft"),
    silent("lsof"),
    silent("strace"),
    silent("aws"),
    silent("az"),
    silent("gcloud"),
];

/// Returns the tools on the search path.
pub(super) async fn probe(scope: Arc<Scope>) -> Result<Found<List<Program, 48>>, ProbeError> {
    programs::find(scope, "tools", TOOLS).await
}
