//! The wire protocol of the mesh, as pure code.
//!
//! Owns the ids, the frames and their bytes, the legal order of a run's frames, and the vocabulary
//! of capabilities and of files. Does no I/O and has no clock and no randomness of its own: time and random
//! bytes are arguments.

pub mod capability;
pub mod codec;
pub mod file;
pub mod frame;
pub mod id;
pub mod run;
pub mod shell;
pub mod text;
