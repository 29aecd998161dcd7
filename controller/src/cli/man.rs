//! `controller man`: manual pages, made from the very definition of the command line.

use std::{io, path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory as _};

use crate::{
    exit::{code, process_code},
    output,
};

/// Print the manual page, or write one for each verb into a folder.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  controller man --out-dir ~/.local/share/man/man1")]
pub(super) struct ManArgs {
    /// Write controller.1, controller-run.1 and so on into this folder.
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,
}

/// Runs the verb.
pub(super) fn man(args: &ManArgs) -> ExitCode {
    let command = super::Cli::command();
    let written = match &args.out_dir {
        None => clap_mangen::Man::new(command).render(&mut io::stdout()),
        Some(folder) => {
            fs_err::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(command, folder))
        }
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::fail(&error, None);
            process_code(code::FAILURE)
        }
    }
}
