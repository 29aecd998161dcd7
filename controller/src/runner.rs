//! Where a door starts its runs.
//!
//! Owns the choice and nothing else; verbs name these types and not the orchestrator's, so that they
//! work the same whoever carries their wishes out.

pub use crate::orchestrator::{Canceller, Orchestrator as Runner, Running};
