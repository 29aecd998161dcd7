//! The promises of the README, each tried through real sockets and the real binaries.

mod lab;
