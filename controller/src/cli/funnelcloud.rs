//! The hidden verb by which `quickstart` runs an agent as a child of its own binary.
//!
//! It is the agent of `funnelcloud agent`, and ends with its parent: when standard input ends. Then
//! it removes the demonstration's files, private keys among them.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use node::funnelcloud::{AgentArgs, serve};
use tokio::io::AsyncReadExt as _;

/// Serve as an agent until standard input ends.
#[derive(Debug, Args)]
pub(super) struct FunnelcloudArgs {
    #[command(flatten)]
    agent: AgentArgs,
    /// Remove this folder at the end: a parent that was killed could not.
    #[arg(long, value_name = "DIR")]
    remove: Option<PathBuf>,
}

/// Runs the verb.
pub(super) fn funnelcloud(args: FunnelcloudArgs) -> ExitCode {
    let code = serve(args.agent, async {
        let mut stdin = tokio::io::stdin();
        let mut byte = [0; 1];
        // An error means the same as the end: the parent is gone.
        while matches!(stdin.read(&mut byte).await, Ok(1)) {}
    });
    if let Some(folder) = args.remove
        && let Err(error) = fs_err::remove_dir_all(folder)
    {
        tracing::debug!(%error, "the parent was quicker");
    }
    code
}
