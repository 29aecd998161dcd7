//! `controller run`: the main job. Words to a wish; then the run is driven and shown.

pub(super) mod drive;
mod flags;
mod many;
pub(super) mod one;
mod stdin;
pub(super) mod words;

use std::process::ExitCode;

use self::words::wish;
pub(super) use self::{
    flags::RunArgs,
    many::{NotConfirmed, shown},
};
use super::Global;
use crate::{
    exit::{code, process_code},
    output,
};

/// Runs the verb.
pub(super) fn run(global: &Global, args: RunArgs) -> ExitCode {
    let selector = args.targets.selector();
    let one = selector.one();
    // A run that is several has each of its targets in turn.
    let first = one.clone().map_or_else(|| "each".parse(), Ok);
    let wish = first
        .map_err(anyhow::Error::from)
        .and_then(|first| wish(&args, first));
    let wish = match wish {
        Ok(wish) => wish,
        Err(error) => {
            output::fail(
                error.as_ref(),
                Some("`controller run --help` shows examples"),
            );
            return process_code(code::USAGE);
        }
    };
    let as_one = one.filter(|_| !args.is_for_several());
    process_code(match as_one {
        Some(target) => one::run(global, &args, wish, target),
        None => many::run(global, &args, &selector, wish),
    })
}
