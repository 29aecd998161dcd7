//! One run: what is asked, how it can end, and the legal order of its frames.
//!
//! Owns the request, the closed set of results, and the two state machines ([`CallerRun`],
//! [`CalleeRun`]). Does not own processes, streams or clocks.

mod attach;
mod callee;
mod caller;
mod outcome;
mod request;

pub use attach::{Attach, Attached, Hold};
pub use callee::{CalleeRun, CalleeViolation, Input};
pub use caller::{Again, CallerRun, CallerViolation, Progress};
pub use outcome::{
    Earlier, Ended, Exit, KnownOfLost, Limit, Outcome, Refusal, StartFailure, Started, Tree,
    Unstarted, Wire,
};
pub use request::{
    Argv, Audience, EmptyArgv, Environment, Limits, OnLinkLoss, RequestError, RunRequest,
    StdinMode, What, Word,
};
