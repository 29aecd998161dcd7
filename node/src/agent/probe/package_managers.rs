//! Probe: what installs software.

use std::sync::Arc;

use proto::capability::{List, OsFamily, Program};

use super::{
    found::{Found, ProbeError},
    programs::{self, Candidate, silent},
    scope::Scope,
};

/// Their versions decide no command, and some take a second or a lock to tell it.
const UNIX: &[Candidate] = &[
    silent("apt-get"),
    silent("dpkg"),
    silent("dnf"),
    silent("yum"),
    silent("zypper"),
    silent("rpm"),
    silent("pacman"),
    silent("apk"),
    silent("emerge"),
    silent("xbps-install"),
    silent("nix"),
    silent("snap"),
    silent("flatpak"),
    silent("brew"),
    silent("port"),
    silent("pkg"),
];
const MACOS: &[Candidate] = &[
    silent("brew"),
    silent("port"),
    silent("mas"),
    silent("nix"),
    silent("softwareupdate"),
    silent("pkgutil"),
    silent("installer"),
];
const WINDOWS: &[Candidate] = &[
    silent("winget"),
    silent("choco"),
    silent("scoop"),
    silent("msiexec"),
    silent("dism"),
];

/// Returns the package managers on the search path.
pub(super) async fn probe(scope: Arc<Scope>) -> Result<Found<List<Program, 16>>, ProbeError> {
    let candidates = match OsFamily::HERE {
        OsFamily::Linux | OsFamily::Other => UNIX,
        OsFamily::MacOs => MACOS,
        OsFamily::Windows => WINDOWS,
    };
    programs::find(scope, "package managers", candidates).await
}
