//! The proof of the wire: golden bytes, hostile bytes, and the legal order of frames.

#![allow(clippy::unwrap_used, reason = "an unwrap in a test is an assertion")]

mod allocation; // how much memory a call asked for at most
mod any_frame; // strategies for well-formed frames
mod callee; // what an agent takes from a controller
mod caller; // what a controller believes of an agent
mod digest; // what a retry must repeat
mod golden; // the bytes of every frame
mod hostile; // bytes that nobody honest sends
mod network; // both halves of a run over a network that breaks
mod pieces; // frames over a stream that is cut anywhere
mod request; // what no agent could carry out
mod sample; // one request, to vary
mod stream; // whole streams through the codec
