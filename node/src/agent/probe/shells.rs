//! Probe: the shells that can run a script, and their versions.

use std::sync::Arc;

use proto::capability::{List, Program};

use super::{
    found::{Found, ProbeError},
    programs::{self, Candidate, says, silent},
    scope::Scope,
};

/// `sh`, `dash` and `cmd` have no version of their own to tell.
const SHELLS: &[Candidate] = &[
    says("bash", &["--version"]),
    silent("sh"),
    says("zsh", &["--version"]),
    says("pwsh", &["--version"]),
    says(
        "powershell",
        &[
            "-NoProfile",
            "-NonInteractive",
            "-Command",
            "$PSVersionTable.PSVersion.ToString()",
        ],
    ),
    silent("cmd"),
    says("fish", &["--version"]),
    silent("dash"),
    silent("ksh"),
];

/// Returns the shells on the search path.
pub(super) async fn probe(scope: Arc<Scope>) -> Result<Found<List<Program, 16>>, ProbeError> {
    programs::find(scope, "shells", SHELLS).await
}
