//! The callee: what an agent does for the controllers of its mesh.

pub mod probe;
