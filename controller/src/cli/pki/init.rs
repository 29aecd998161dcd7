//! `controller pki init`: a mesh, and this controller's own identity in it.

use clap::Args;
use pki::{NewMesh, Store};
use proto::id::{MeshName, NodeName};
use time::OffsetDateTime;

use super::typed;
use crate::{cli::Global, home::Home, output};

/// Make a mesh: its CA, and this controller's own identity, so that `run` works at once.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  controller pki init --name home\n\nThe CA's key stays in this controller's folder. Whoever has it can be anybody in the mesh: keep a copy of the folder where nobody else can read it."
)]
pub(in crate::cli) struct InitArgs {
    /// What the mesh is called.
    #[arg(long, value_name = "MESH", default_value = "home")]
    name: MeshName,
    /// What this controller is called.
    #[arg(long, value_name = "NAME", default_value = "controller")]
    controller: NodeName,
}

/// Runs the verb.
pub(super) fn init(global: &Global, args: InitArgs) -> anyhow::Result<()> {
    let home = Home::find(global.home.clone())?;
    let mesh = NewMesh {
        name: args.name,
        controller: args.controller,
        now: OffsetDateTime::now_utc(),
    };
    let name = mesh.name.clone();
    let store = Store::create(home.path(), mesh)?;
    let folder = typed(home.path());
    output::line(&format!("mesh {name} is made, in {folder}"))?;
    output::line(&format!("fingerprint {}", store.authority().fingerprint()))?;
    output::say(
        &"next: controller pki issue agent NAME --out NAME.identity, then on that host: funnelcloud agent --identity NAME.identity",
    );
    Ok(())
}
