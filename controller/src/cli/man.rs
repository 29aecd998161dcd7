//! `controller man`: manual pages, made from the very definition of the command line.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};

use super::describe_error;
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
    process_code(match write(args) {
        Ok(()) => code::OK,
        Err(error) => describe_error::report(&error, code::FAILURE),
    })
}

fn write(args: &ManArgs) -> anyhow::Result<()> {
    let command = super::Cli::command();
    match &args.out_dir {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            output::whole(&String::from_utf8_lossy(&page))?;
        }
        Some(folder) => {
            fs_err::create_dir_all(folder)?;
            clap_mangen::generate_to(command, folder)
                .with_context(|| format!("write the pages into {}", folder.display()))?;
        }
    }
    Ok(())
}
