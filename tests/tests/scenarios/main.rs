//! The promises of the README, each tried through real sockets and the real binaries.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of a test are a test as well"
)]

#[cfg(target_os = "linux")]
mod attach;
#[cfg(target_os = "linux")]
mod backpressure;
#[cfg(unix)]
mod bad_input;
#[cfg(unix)]
mod cli;
#[cfg(target_os = "linux")]
mod daemon;
#[cfg(target_os = "linux")]
mod discovery;
#[cfg(unix)]
mod display;
#[cfg(target_os = "linux")]
mod emulate;
mod expiry;
mod files;
#[cfg(target_os = "linux")]
mod fleet;
mod help;
mod identity;
#[cfg(target_os = "linux")]
mod interrupts;
#[cfg(unix)]
mod json;
mod lab;
#[cfg(target_os = "linux")]
mod lan;
#[cfg(target_os = "linux")]
mod processes;
#[cfg(target_os = "linux")]
mod props;
#[cfg(target_os = "linux")]
mod quickstart;
#[cfg(target_os = "linux")]
mod replay;
#[cfg(target_os = "linux")]
mod runs;
#[cfg(target_os = "linux")]
mod shell;
mod started;
