//! `controller pki issue`: an identity for a node, in one file; or for many nodes, in one folder.

mod names;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use pki::{Address, Addresses, Existing, Identity, NODE_VALIDITY, Store, Term};
use proto::id::{NodeId, NodeName, Role};
use time::OffsetDateTime;

use names::NewNames;

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
        after_help = "Examples:\n  controller pki issue agent srv-linux-01 --out srv-linux-01.identity\n  controller pki issue agent 'web-[01-20]' db --out-dir identities"
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
    /// What the node is called; several names or a range, as web-[01-20], with --out-dir.
    #[arg(value_name = "NAME", required = true)]
    names: Vec<NewNames>,
    /// Where to write the identity; there must be no such file yet.
    #[arg(long, value_name = "FILE", required_unless_present = "out_dir")]
    out: Option<PathBuf>,
    /// A folder for the identities, each as NAME.identity; there must be none of these files yet.
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    out_dir: Option<PathBuf>,
    /// For how long it is valid.
    #[arg(long, value_name = "TIME", value_parser = limit)]
    validity: Option<Duration>,
    /// An address at which the new node will find another one.
    // Not `--address`, which every verb has for the addresses that this controller uses itself.
    #[arg(long, value_name = "ROLE/NAME=HOST:PORT", value_parser = known_address)]
    known: Vec<(NodeId, Address)>,
}

/// What is to be issued.
struct Wanted {
    role: Role,
    names: Vec<NodeName>,
    addresses: Addresses,
    term: Term,
}

/// Runs the verb.
pub(super) fn issue(global: &Global, verb: IssueVerb) -> anyhow::Result<()> {
    let (role, args) = match verb {
        IssueVerb::Agent(args) => (Role::Agent, args),
        IssueVerb::Controller(args) => (Role::Controller, args),
        IssueVerb::Rendezvous(args) => (Role::Rendezvous, args),
    };
    let mut addresses = Addresses::new();
    for (node, address) in args.known {
        addresses.entry(node).or_default().push(address);
    }
    let wanted = Wanted {
        role,
        names: args
            .names
            .into_iter()
            .flat_map(NewNames::into_names)
            .collect(),
        addresses,
        term: Term {
            now: OffsetDateTime::now_utc(),
            validity: args.validity.unwrap_or(NODE_VALIDITY),
        },
    };
    let (_, store) = open(global)?;
    match (args.out, args.out_dir) {
        (Some(out), _) => issue_one(&store, wanted, &out),
        (None, Some(folder)) => issue_many(&store, wanted, &folder),
        (None, None) => unreachable!("the parser asks for one of the two"),
    }
}

fn issue_one(store: &Store, wanted: Wanted, out: &Path) -> anyhow::Result<()> {
    let [name] = &wanted.names[..] else {
        anyhow::bail!(
            "{} names are more than fit into {}: name a folder for them with --out-dir DIR",
            wanted.names.len(),
            typed(out)
        );
    };
    // Before the certificate is recorded: a name that is taken must not leave one behind.
    ensure_free(out)?;
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
    anyhow::ensure!(
        folder.is_none_or(Path::is_dir),
        "there is no folder for {}: make it first",
        typed(out)
    );
    let node = NodeId {
        role: wanted.role,
        name: name.clone(),
    };
    let identity = store.issue_identity(node.clone(), wanted.addresses, wanted.term)?;
    identity
        .save(out, Existing::Refuse)
        .context("the identity was issued and not written; issue another")?;
    output::line(&format!(
        "{node} until {}, in {}",
        shown(identity.certificate().not_after()),
        typed(out)
    ))?;
    Ok(())
}

fn issue_many(store: &Store, wanted: Wanted, folder: &Path) -> anyhow::Result<()> {
    let mut distinct = BTreeSet::new();
    let twice = wanted.names.iter().find(|name| !distinct.insert(*name));
    if let Some(name) = twice {
        anyhow::bail!("{name} is named twice, and one file holds one identity");
    }
    fs_err::create_dir_all(folder)?;
    for name in &wanted.names {
        ensure_free(&folder.join(format!("{name}.identity")))?;
    }
    let role = wanted.role;
    let nodes = wanted.names.into_iter().map(|name| NodeId { role, name });
    let identities = store.issue_identities(nodes, &wanted.addresses, wanted.term)?;
    Identity::save_all(&identities, folder)
        .context("the identities were issued and not all written; issue others")?;
    output::line(&summary(&identities, folder))?;
    Ok(())
}

/// One line for however many there are: `pki list` shows each.
fn summary(identities: &[Identity], folder: &Path) -> String {
    let (Some(first), Some(last)) = (identities.first(), identities.last()) else {
        return "nothing was issued".into();
    };
    let until = shown(first.not_after());
    match identities.len() {
        1 => format!("{} until {until}, in {}", first.node(), typed(folder)),
        count => format!(
            "{count} identities, {} to {}, until {until}, in {}",
            first.node(),
            last.node(),
            typed(folder)
        ),
    }
}

fn ensure_free(file: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(
        file.symlink_metadata().is_err(),
        "{} exists already: move it away, or write another file",
        typed(file)
    );
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
