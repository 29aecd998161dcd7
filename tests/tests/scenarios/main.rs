//! The promises of the README, each tried through real sockets and the real binaries.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of a test are a test as well"
)]

mod backpressure;
#[cfg(unix)]
mod bad_input;
#[cfg(unix)]
mod cli;
#[cfg(target_os = "linux")]
mod discovery;
#[cfg(unix)]
mod display;
mod expiry;
mod help;
mod identity;
#[cfg(unix)]
mod json;
mod lab;
mod lab;
#[cfg(target_os = "linux")]
mod lan;
mod processes;
mod props;
#[cfg(target_os = "linux")]
mod quickstart;
mod replay;
mod runs;
mod started;
