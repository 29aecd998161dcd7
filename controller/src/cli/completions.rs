//! `controller completions`: made from the very definition of the command line.

use std::process::ExitCode;

use clap::{Args, CommandFactory as _};

use super::describe_error;
use crate::{
    exit::{code, process_code},
    output,
};

/// Print completions for a shell.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  controller completions bash > ~/.local/share/bash-completion/completions/controller"
)]
pub(super) struct CompletionsArgs {
    /// For which shell.
    shell: clap_complete::Shell,
}

/// Runs the verb.
pub(super) fn completions(args: &CompletionsArgs) -> ExitCode {
    let mut command = super::Cli::command();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "controller", &mut script);
    process_code(match output::whole(&String::from_utf8_lossy(&script)) {
        Ok(()) => code::OK,
        Err(error) => describe_error::report(&error.into(), code::FAILURE),
    })
}
