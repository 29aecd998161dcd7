//! The promises of the README, each tried through real sockets and the real binaries.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of a test are a test as well"
)]

mod lab;
