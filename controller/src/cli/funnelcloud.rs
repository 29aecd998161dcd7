//! The hidden verb by which `quickstart` runs an agent as a child of its own binary.
//!
//! It is the agent of `funnelcloud agent`, and ends with its parent: when standard input ends.

use std::process::ExitCode;

use clap::Args;
use node::funnelcloud::{AgentArgs, serve};
use tokio::io::AsyncReadExt as _;

/// Serve as an agent until standard input ends.
#[derive(Debug, Args)]
pub(super) struct FunnelcloudArgs {
    #[command(flatten)]
    agent: AgentArgs,
}

/// Runs the verb.
pub(super) fn funnelcloud(args: FunnelcloudArgs) -> ExitCode {
    serve(args.agent, async {
        let mut stdin = tokio::io::stdin();
        let mut byte = [0; 1];
        // An error means the same as the end: the parent is gone.
        while matches!(stdin.read(&mut byte).await, Ok(1)) {}
    })
}
