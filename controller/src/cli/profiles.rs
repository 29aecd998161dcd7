//! `controller profiles`: what this controller knows of each platform.

use std::process::ExitCode;

use clap::Subcommand;

use super::describe_error;
use crate::{
    exit::{code, process_code},
    output,
};

/// List and show platform profiles.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  controller profiles show linux-server")]
pub(super) enum ProfilesVerb {
    /// List the profiles.
    #[command(after_help = "Example:\n  controller profiles list")]
    List,
    /// Print one profile as YAML.
    #[command(after_help = "Example:\n  controller profiles show linux-server")]
    Show {
        /// Which profile.
        name: String,
    },
}

/// Runs the verb.
pub(super) fn profiles(verb: ProfilesVerb) -> ExitCode {
    let printed = match verb {
        ProfilesVerb::List => profiles::builtin().iter().try_for_each(|profile| {
            output::line(&format!("{:<20} {}", profile.name.as_str(), profile.title))
        }),
        ProfilesVerb::Show { name } => match profiles::builtin_yaml(&name) {
            Some(yaml) => output::line(&yaml.trim_end()),
            None => {
                let name = proto::text::escaped(&name);
                output::say(&format!(
                    "{name}: no such profile\n  `controller profiles list` shows them"
                ));
                return process_code(code::USAGE);
            }
        },
    };
    process_code(match printed {
        Ok(()) => code::OK,
        Err(error) => describe_error::report(&error.into(), code::FAILURE),
    })
}
