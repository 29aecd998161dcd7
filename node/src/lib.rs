//! The overlay of the mesh, and the agent.

pub mod agent;
