//! Mesosync, the controller: finds agents, sends commands to them, and shows what happens.
//!
//! The doors (today the command line; later HTTP, MCP and AJ) meet in [`orchestrator`], which knows
//! none of them: no door reaches an agent by another way.

pub mod cli;
pub mod config;
#[cfg(unix)]
pub mod daemon;
pub mod exit;
pub mod history;
pub mod home;
mod maybe;
pub mod orchestrator;
pub mod output;
pub mod runner;
pub mod targets;
pub mod timespan;
pub mod told;
