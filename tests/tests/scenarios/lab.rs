//! The laboratory itself: an instrument that lies would prove anything.

#[cfg(target_os = "linux")]
mod lan;
mod process;
mod proxy;
