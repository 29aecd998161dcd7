//! The operator's binary; all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    controller::cli::main(std::env::args_os())
}
