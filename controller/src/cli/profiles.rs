//! `controller profiles`: what this controller knows of each platform.

use std::process::ExitCode;

use clap::Subcommand;

use crate::{
    exit::{code, process_code},
    output,
};

/// List and show platform profiles.
#[derive(Debug, Subcommand)]
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
                output::say(&"no such profile; `controller profiles list` shows them");
                return process_code(code::USAGE);
            }
        },
    };
    process_code(if printed.is_ok() {
        code::OK
    } else {
        code::OUTPUT_CLOSED
    })
}
