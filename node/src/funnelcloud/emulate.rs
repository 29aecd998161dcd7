//! `funnelcloud agent --emulate N`: the words, files and limits of many agents in one process.
//!
//! Hidden from the help, since no operator needs it. What it does is in [`crate::agent::emulate`].
//! `--identity` names a folder then, whose first N `*.identity` files are the agents; `--home` one in
//! which each has its own; and `--addresses` a file that is written when all of them are bound, in the
//! form of a controller's remembered addresses (`MESOSYNC_HOME/addresses.json`).

use std::{
    collections::BTreeMap,
    error::Error,
    io,
    num::NonZeroU16,
    path::{Path, PathBuf},
};

use pki::{Identity, Revocation, StaleCrl};
use proto::id::NodeName;
use serde::Serialize;
use time::OffsetDateTime;

use super::{AgentArgs, default_home};
use crate::{
    agent::emulate::{Emulation, EmulationOptions},
    revocation,
};

/// Open files of one emulated agent: its socket, its ledger and its lock.
const FILES_PER_AGENT: u64 = 3;

/// Open files besides, most of them for the processes of runs.
const FILES_BESIDES: u64 = 256;

/// The ending of an identity's file.
const IDENTITY: &str = "identity";

/// The form of a controller's remembered addresses.
#[derive(Serialize)]
struct AddressBook {
    mesh: String,
    addresses: BTreeMap<NodeName, [std::net::SocketAddr; 1]>,
}

/// Why agents cannot be emulated with these words.
#[derive(Debug, thiserror::Error)]
enum EmulateError {
    #[error("--emulate takes its agents from a folder; read --identity {}", .folder.display())]
    Folder {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "{} holds {found} identities (*.{IDENTITY}), and {wanted} agents are to be emulated; issue more with `controller pki issue agent 'emu-[0001-{wanted:04}]' --out-dir DIR`",
        .folder.display()
    )]
    TooFew {
        folder: PathBuf,
        found: usize,
        wanted: usize,
    },
    #[error(
        "{wanted} agents need {needed} open files, and this system allows {allowed}; emulate fewer, or raise the limit (`ulimit -Hn`)"
    )]
    Files {
        wanted: u64,
        needed: u64,
        allowed: u64,
    },
    #[error("write the addresses of the agents")]
    Addresses(#[source] io::Error),
}

/// Binds `count` agents, and writes where they are.
pub(super) fn bind(
    args: AgentArgs,
    count: NonZeroU16,
) -> Result<Emulation, Box<dyn Error + Send + Sync>> {
    allow_files_of(count)?;
    let identities = identities(&args.identity, count)?;
    let first = identities.first().expect("not zero of them");
    let revocation = match &args.crl {
        None => Revocation::none_known(StaleCrl::Refuse),
        Some(path) => revocation::load(path, first)?,
    };
    let home = match args.home {
        Some(home) => home,
        // Beside those of the others.
        None => default_home(first)?
            .parent()
            .map(Path::to_owned)
            .unwrap_or_default(),
    };
    let emulation = Emulation::bind(EmulationOptions {
        identities,
        revocation,
        listen: args.listen,
        home,
    })?;
    if let Some(file) = &args.addresses {
        write_addresses(file, &emulation).map_err(EmulateError::Addresses)?;
    }
    Ok(emulation)
}

#[cfg(unix)]
fn allow_files_of(count: NonZeroU16) -> Result<(), EmulateError> {
    use rustix::process::{Resource, getrlimit};
    let wanted = u64::from(count.get());
    let needed = wanted * FILES_PER_AGENT + FILES_BESIDES;
    // Raised before to what the system allows; absent means that it sets no limit.
    match getrlimit(Resource::Nofile).current {
        Some(allowed) if allowed < needed => Err(EmulateError::Files {
            wanted,
            needed,
            allowed,
        }),
        Some(_) | None => Ok(()),
    }
}

#[cfg(not(unix))]
fn allow_files_of(_count: NonZeroU16) -> Result<(), EmulateError> {
    Ok(())
}

fn identities(
    folder: &Path,
    count: NonZeroU16,
) -> Result<Vec<Identity>, Box<dyn Error + Send + Sync>> {
    let wanted = usize::from(count.get());
    let files = files(folder).map_err(|source| EmulateError::Folder {
        folder: folder.to_owned(),
        source,
    })?;
    if files.len() < wanted {
        return Err(Box::new(EmulateError::TooFew {
            folder: folder.to_owned(),
            found: files.len(),
            wanted,
        }));
    }
    let now = OffsetDateTime::now_utc();
    let mut identities = Vec::with_capacity(wanted);
    for file in files.iter().take(wanted) {
        identities.push(Identity::load(file, now)?);
    }
    Ok(identities)
}

/// Returns the identity files of a folder, by name.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == IDENTITY) {
            files.push(path);
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Writes beside and renames, so that whoever waits for the file finds all of it.
fn write_addresses(file: &Path, emulation: &Emulation) -> io::Result<()> {
    let book = AddressBook {
        mesh: emulation.mesh().to_string(),
        addresses: emulation
            .addresses()
            .map(|(name, addr)| (name.clone(), [addr]))
            .collect(),
    };
    let text = serde_json::to_string_pretty(&book).map_err(io::Error::other)?;
    let beside = file.with_extension(format!("{}.tmp", std::process::id()));
    fs_err::write(&beside, text)?;
    fs_err::rename(&beside, file)
}
