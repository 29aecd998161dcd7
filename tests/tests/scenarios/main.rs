//! The promises of the README, each tried through real sockets and the real binaries.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of a test are a test as well"
)]

#[cfg(unix)]
mod bad_input;
#[cfg(unix)]
mod cli;
#[cfg(unix)]
mod display;
mod help;
#[cfg(unix)]
mod json;
mod lab;
