//! A run outlives its link, its caller and, as far as that can be, its agent; and its output is exact.

mod callers;
mod cuts;
mod disks;
mod kills;
mod points;
mod storm;
mod stream;
mod trees;
mod unknown;

use std::process::Command;

use scenarios::{Lab, proxy::Proxy};

use crate::props::TARGET;

/// Returns `controller run` on the target through `proxy`.
fn run_through(lab: &Lab, proxy: &Proxy, options: &[&str], words: &[&str]) -> Command {
    let known = [(TARGET, proxy.address())];
    let mut command = lab.controller_knowing(known, ["run", "-t", TARGET]);
    command.args(options).arg("--").args(words);
    command
}
