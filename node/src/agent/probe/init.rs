//! Probe: what starts and supervises services.

use std::path::Path;

use proto::{
    capability::{InitSystem, OsFamily},
    text::Text,
};

use super::{
    file,
    found::{Found, ProbeError},
    scope::Scope,
};

/// Returns the service manager.
pub(super) async fn probe(scope: &Scope) -> Result<Found<InitSystem>, ProbeError> {
    let init = match OsFamily::HERE {
        OsFamily::Linux => scope.blocking.look("init", linux).await??,
        OsFamily::MacOs => InitSystem::Launchd,
        OsFamily::Windows => InitSystem::WindowsServices,
        OsFamily::Other => return Err(ProbeError::Unsupported),
    };
    Ok(Found::whole(init))
}

fn linux() -> Result<InitSystem, ProbeError> {
    let first = file::read("/proc/1/comm")?.ok_or(ProbeError::Unreadable {
        place: "/proc/1/comm".into(),
        wanted: "name",
    })?;
    Ok(judge(first.trim(), |path| Path::new(path).exists()))
}

/// Judges by the marks that each manager leaves, and the name of the first process.
///
/// `/run/systemd/system` is what `sd_booted` looks for.
fn judge(first: &str, exists: impl Fn(&str) -> bool) -> InitSystem {
    match first {
        "systemd" => InitSystem::Systemd,
        _ if exists("/run/systemd/system") => InitSystem::Systemd,
        "runit" => InitSystem::Runit,
        "s6-svscan" => InitSystem::S6,
        "dinit" => InitSystem::Dinit,
        "init" if exists("/run/openrc") => InitSystem::OpenRc,
        "init" if exists("/run/runit") => InitSystem::Runit,
        "init" if exists("/etc/inittab") => InitSystem::SysV,
        other => InitSystem::Other(Text::cut(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_manager_is_known_by_its_marks() {
        let judged = |first, mark: &str| judge(first, |path| path == mark);

        assert_eq!(judged("init", "/run/systemd/system"), InitSystem::Systemd);
        assert_eq!(judged("init", "/run/openrc"), InitSystem::OpenRc);
        assert_eq!(judged("init", "/etc/inittab"), InitSystem::SysV);
        assert_eq!(judged("s6-svscan", ""), InitSystem::S6);
    }

    #[test]
    fn an_application_in_a_container_is_named_as_it_is() {
        assert_eq!(
            judge("nginx", |_| false),
            InitSystem::Other(Text::cut("nginx"))
        );
    }
}
