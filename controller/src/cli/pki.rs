//! `controller pki`: the mesh's CA, and the identities that it issues. One file a verb.

mod init;
mod inspect;
mod issue;
mod list;

use std::{path::Path, process::ExitCode};

use clap::Subcommand;
use pki::Store;
use proto::id::Fingerprint;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Global, describe_error};
use crate::{
    exit::{code, process_code},
    home::Home,
    output,
};

/// Make a mesh, and issue identities to its nodes.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Example, a mesh with one agent:\n  controller pki init --name home\n  controller pki issue agent srv-linux-01 --out srv-linux-01.identity"
)]
pub(super) enum PkiVerb {
    Init(init::InitArgs),
    #[command(subcommand)]
    Issue(issue::IssueVerb),
    List(list::ListArgs),
    Inspect(inspect::InspectArgs),
    /// Print the fingerprint of this controller's mesh.
    #[command(after_help = "Example:\n  controller pki fingerprint")]
    Fingerprint,
}

/// Runs the verb.
pub(super) fn pki(global: &Global, verb: PkiVerb) -> ExitCode {
    let done = match verb {
        PkiVerb::Init(args) => init::init(global, args),
        PkiVerb::Issue(verb) => issue::issue(global, verb),
        PkiVerb::List(args) => list::list(global, &args),
        PkiVerb::Inspect(args) => inspect::inspect(&args),
        PkiVerb::Fingerprint => fingerprint(global),
    };
    match done {
        Ok(()) => process_code(code::OK),
        Err(error) => process_code(describe_error::report(&error, code::FAILURE)),
    }
}

fn open(global: &Global) -> anyhow::Result<(Home, Store)> {
    let home = Home::find(global.home.clone())?;
    let store = Store::open(home.path())?;
    Ok((home, store))
}

/// Works for every operator: one without the CA at hand has it in the identity.
fn fingerprint(global: &Global) -> anyhow::Result<()> {
    let home = Home::find(global.home.clone())?;
    let fingerprint: Fingerprint = match &global.identity {
        Some(path) => pki::Identity::open(path)?.fingerprint(),
        None => Store::open(home.path())?.authority().fingerprint(),
    };
    Ok(output::line(&fingerprint)?)
}

/// Shows a time as RFC 3339 does, in UTC.
fn shown(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}

/// Shows a path as one would type it.
fn typed(path: &Path) -> String {
    path.display().to_string()
}
