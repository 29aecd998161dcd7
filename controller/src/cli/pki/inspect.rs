//! `controller pki inspect`: what an identity file says, without its secret.

use std::path::PathBuf;

use clap::Args;
use pki::Identity;
use serde::Serialize;
use time::OffsetDateTime;

use super::shown;
use crate::output::{self, events::harmless_pretty_json};

/// Show what an identity file says: who, of which mesh, until when. Never its key.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  controller pki inspect srv-linux-01.identity\n\nThe certificate alone: openssl x509 -noout -text -in srv-linux-01.identity"
)]
pub(in crate::cli) struct InspectArgs {
    /// The identity file.
    file: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Sheet {
    node: String,
    mesh: String,
    fingerprint: String,
    serial: String,
    state: &'static str,
    not_before: String,
    not_after: String,
    addresses: std::collections::BTreeMap<String, Vec<String>>,
}

/// Runs the verb.
pub(super) fn inspect(args: &InspectArgs) -> anyhow::Result<()> {
    let identity = Identity::open(&args.file)?;
    let certificate = identity.certificate();
    let now = OffsetDateTime::now_utc();
    let state = if now < certificate.not_before() {
        "not yet valid"
    } else if now > certificate.not_after() {
        "expired"
    } else {
        "valid"
    };
    let addresses = identity.addresses().iter().map(|(node, addrs)| {
        let addrs = addrs.iter().map(|addr| addr.as_str().to_owned()).collect();
        (node.to_string(), addrs)
    });
    let sheet = Sheet {
        node: identity.node().to_string(),
        mesh: identity.mesh().to_string(),
        fingerprint: identity.fingerprint().to_string(),
        serial: certificate.serial().to_string(),
        state,
        not_before: shown(certificate.not_before()),
        not_after: shown(certificate.not_after()),
        addresses: addresses.collect(),
    };
    if args.json {
        return Ok(output::line(&harmless_pretty_json(&sheet))?);
    }
    let mut lines = vec![
        format!("node         {}", sheet.node),
        format!("mesh         {}", sheet.mesh),
        format!("fingerprint  {}", sheet.fingerprint),
        format!("serial       {}", sheet.serial),
        format!(
            "valid        {} to {} ({})",
            sheet.not_before, sheet.not_after, sheet.state
        ),
    ];
    for (node, addrs) in &sheet.addresses {
        lines.push(format!("address      {node} at {}", addrs.join(", ")));
    }
    Ok(output::line(&lines.join("\n"))?)
}
