//! From flags, variables and the configuration to the daemon, at both of its ends.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use anyhow::Context as _;

use super::{Global, asks_lan, identity_path, orchestrator};
use crate::{
    config::Config,
    daemon::{
        client::{AskError, Client},
        place::{ConnectError, Place},
        protocol::{Hello, Stamp, VERSION},
        server::{Files, Opened},
    },
    home::Home,
    orchestrator::{Keep, Orchestrator, WarmLimits},
    output::{self, chain},
};

/// The variable that says whether the daemon is used.
const DAEMON_VARIABLE: &str = "MESOSYNC_DAEMON";

/// What listens on the socket is not to be trusted with a command.
#[derive(Debug, thiserror::Error)]
#[error("the daemon cannot be used")]
pub(in crate::cli) struct ForeignDaemon(#[source] ConnectError);

/// The variable says what makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{DAEMON_VARIABLE}={0:?}: expected auto or never")]
pub(in crate::cli) struct WrongDaemonSetting(OsString);

/// What was revoked would no longer be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::cli) enum TakesBack {
    /// There is no list any more.
    #[error("the revocation list that is in force has vanished")]
    Vanished,
    /// There is an older one.
    #[error("revocation list {offered} does not follow number {known}, which is in force")]
    Older { offered: u64, known: u64 },
}

/// Returns where the daemon serves, or would.
pub(in crate::cli) fn place(global: &Global) -> anyhow::Result<Place> {
    let home = Home::find(global.home.clone())?;
    find(global, &home)
}

fn find(global: &Global, home: &Home) -> anyhow::Result<Place> {
    let place = Place::find(global.socket.clone(), home.path());
    place.context("name a shorter one with --socket FILE")
}

/// Returns the path of the home, by which both ends tell that they mean the same.
pub(in crate::cli) fn home_path(global: &Global) -> anyhow::Result<PathBuf> {
    let home = Home::find(global.home.clone())?;
    Ok(canonical(&home))
}

fn canonical(home: &Home) -> PathBuf {
    let path = home.path();
    fs_err::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Returns the daemon, if there is one. It declines what it would not do just as this process would.
///
/// # Errors
/// Somebody else listens there.
pub(super) async fn client(
    global: &Global,
    home: &Home,
    config: &Config,
) -> anyhow::Result<Option<Client>> {
    if !is_wanted(global)? {
        return Ok(None);
    }
    let Ok(place) = Place::find(global.socket.clone(), home.path()) else {
        return Ok(None); // where no socket can be, no daemon is
    };
    let hello = Hello {
        version: VERSION,
        release: env!("CARGO_PKG_VERSION").into(),
        home: canonical(home).as_path().into(),
        identity: Stamp::of(&identity_path(global, config, home)),
        mdns: Some(asks_lan(global, config)),
    };
    let addresses = global.address.iter().flatten().cloned().collect();
    match Client::connect(place, hello, addresses).await {
        Ok(client) => Ok(Some(client)),
        Err(AskError::Gone) => Ok(None),
        Err(error @ AskError::Silent { .. }) => {
            output::say(&format!("{}; going on without it", chain(&error)));
            Ok(None)
        }
        Err(AskError::Connect(error)) => Err(ForeignDaemon(error).into()),
        Err(
            error @ (AskError::Declined(_)
            | AskError::Read(_)
            | AskError::Encode(_)
            | AskError::Told(_)),
        ) => {
            tracing::info!(why = %chain(&error), "the daemon is not used");
            Ok(None)
        }
    }
}

fn is_wanted(global: &Global) -> Result<bool, WrongDaemonSetting> {
    if global.no_daemon {
        return Ok(false);
    }
    match std::env::var_os(DAEMON_VARIABLE) {
        None => Ok(true),
        Some(value) if value.is_empty() || value == "auto" => Ok(true),
        Some(value) => {
            let is_never = value == "never";
            is_never.then_some(false).ok_or(WrongDaemonSetting(value))
        }
    }
}

/// Opens what the daemon works with: all of it, or nothing.
pub(in crate::cli) fn opened(
    global: &Global,
    warm_links: Option<usize>,
    warm_idle: Option<Duration>,
    before: Option<&Orchestrator>,
) -> anyhow::Result<Opened> {
    let home = Home::find(global.home.clone())?;
    let config_path = home.config();
    // Looked at before they are read: a change in between shows next time.
    let config_stamp = Stamp::of(&config_path);
    let config = Config::load(&config_path)?;
    let files = Files {
        identity: identity_path(global, &config, &home),
        crl: home.crl(),
        config: config_path,
    };
    let mut stamps = files.stamps();
    stamps.config = config_stamp;
    let default = WarmLimits::default();
    let keep = Keep::Warm(WarmLimits {
        most: warm_links.or(config.warm_links).unwrap_or(default.most),
        idle: warm_idle.or(config.warm_idle).unwrap_or(default.idle),
    });
    let orchestrator = orchestrator(global, &home, &config, keep)?;
    if let Some(before) = before {
        follows(&orchestrator, before)?;
    }
    Ok(Opened {
        mdns: asks_lan(global, &config),
        orchestrator,
        files,
        stamps,
    })
}

/// Checks that what was revoked stays revoked.
fn follows(now: &Orchestrator, before: &Orchestrator) -> Result<(), TakesBack> {
    let Some(known) = before.revocation().in_force() else {
        return Ok(());
    };
    if known.issuer() != now.identity().fingerprint() {
        return Ok(()); // another mesh
    }
    let offered = now.revocation().in_force();
    let offered = offered.ok_or(TakesBack::Vanished)?.number();
    let known = known.number();
    match offered < known {
        true => Err(TakesBack::Older { offered, known }),
        false => Ok(()),
    }
}
