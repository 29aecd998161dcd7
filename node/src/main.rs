//! The agent's binary; all of it is in [`node::funnelcloud`].

use std::process::ExitCode;

fn main() -> ExitCode {
    node::funnelcloud::main(std::env::args_os())
}
