//! Platform profiles: how one speaks to a kind of host.
//!
//! Each `*.yaml` beside this crate's manifest is one profile: the shell and how it is started, how
//! words are quoted, what packages and services are called by, which commands answer with data, and
//! what is better not done. This crate owns their schema and embeds them. It does not choose among
//! them by what an agent says of itself, and does not run anything.
//!
//! **Invariant:** every profile of the folder is embedded, follows the schema to the letter, and
//! starts its shell exactly as [`proto::shell::Shell::launch_options`] says. Guarded by
//! `every_file_of_the_folder_is_embedded` and `a_launch_of_its_own_is_refused`.

mod builtin;
mod name;
mod parse;
mod profile;

pub use builtin::{builtin, builtin_yaml, default_profile, default_shell};
pub use name::{ParseProfileNameError, ProfileName};
pub use parse::ParseProfileError;
pub use profile::{
    Avoid, DomainMatch, Encoding, Idiom, LineEnd, Match, Network, Output, Packages, PathStyle,
    Paths, Profile, Services, ShellUse, Users,
};
