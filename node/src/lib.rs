//! The overlay: authenticated links between nodes, how nodes find each other, and runs.

pub mod discovery;
pub mod agent;
