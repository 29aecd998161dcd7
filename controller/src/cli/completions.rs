//! `controller completions`: made from the very definition of the command line.

use std::{io, process::ExitCode};

use clap::{Args, CommandFactory as _};

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
    clap_complete::generate(args.shell, &mut command, "controller", &mut io::stdout());
    ExitCode::SUCCESS
}
