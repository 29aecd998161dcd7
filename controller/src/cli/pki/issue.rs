//! `controller pki issue`: an identity for a node, in one file.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use pki::{Address, Addresses, Existing, NODE_VALIDITY, Term};
use proto::id::{NodeId, NodeName, Role};
use time::OffsetDateTime;

use super::{open, shown, typed};
use crate::{cli::Global, output, timespan::limit};

/// Issue an identity: one file with the key, the certificate and the mesh's fingerprint.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Example:\n  controller pki issue agent srv-linux-01 --out srv-linux-01.identity\n\nThe file is all that the node needs. It holds a private key: copy it over ssh, and to one host only."
)]
pub(in crate::cli) enum IssueVerb {
    /// For an agent.
    #[command(
        after_help = "Example:\n  controller pki issue agent srv-linux-01 --out srv-linux-01.identity"
    )]
    Agent(IssueArgs),
    /// For another operator, who needs no CA: `controller --identity FILE run ...`.
    #[command(
        after_help = "Example:\n  controller pki issue controller alice --out alice.identity"
    )]
    Controller(IssueArgs),
    /// For a rendezvous.
    #[command(after_help = "Example:\n  controller pki issue rendezvous hub --out hub.identity")]
    Rendezvous(IssueArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct IssueArgs {
    /// What the node is called.
    name: NodeName,
    /// Where to write the identity; there must be no such file yet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// For how long it is valid.
    #[arg(long, value_name = "TIME", value_parser = limit)]
    validity: Option<Duration>,
    /// An address at which the new node will find another one.
    // Not `--address`, which every verb has for the addresses that this controller uses itself.
    #[arg(long, value_name = "ROLE/NAME=HOST:PORT", value_parser = known_address)]
    known: Vec<(NodeId, Address)>,
}

/// Runs the verb.
pub(super) fn issue(global: &Global, verb: IssueVerb) -> anyhow::Result<()> {
    let (role, args) = match verb {
        IssueVerb::Agent(args) => (Role::Agent, args),
        IssueVerb::Controller(args) => (Role::Controller, args),
        IssueVerb::Rendezvous(args) => (Role::Rendezvous, args),
    };
    let (_, store) = open(global)?;
    // Before the certificate is recorded: a name that is taken must not leave one behind.
    anyhow::ensure!(
        args.out.symlink_metadata().is_err(),
        "{} exists already: move it away, or write another file",
        typed(&args.out)
    );
    let folder = args
        .out
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    anyhow::ensure!(
        folder.is_none_or(Path::is_dir),
        "there is no folder for {}: make it first",
        typed(&args.out)
    );
    let mut addresses = Addresses::new();
    for (node, address) in args.known {
        addresses.entry(node).or_default().push(address);
    }
    let node = NodeId {
        role,
        name: args.name,
    };
    let term = Term {
        now: OffsetDateTime::now_utc(),
        validity: args.validity.unwrap_or(NODE_VALIDITY),
    };
    let identity = store.issue_identity(node.clone(), addresses, term)?;
    identity
        .save(&args.out, Existing::Refuse)
        .context("the identity was issued and not written; issue another")?;
    output::line(&format!(
        "{node} until {}, in {}",
        shown(identity.certificate().not_after()),
        typed(&args.out)
    ))?;
    Ok(())
}

fn known_address(text: &str) -> Result<(NodeId, Address), String> {
    let (node, address) = text.split_once('=').ok_or("expected ROLE/NAME=HOST:PORT")?;
    let node = node
        .parse()
        .map_err(|error: proto::id::ParseNodeIdError| error.to_string())?;
    let address = address
        .parse()
        .map_err(|error: pki::ParseAddressError| error.to_string())?;
    Ok((node, address))
}
