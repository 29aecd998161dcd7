//! How a run can end: closed sets, so that nobody ever reads "no response".

use serde::{Deserialize, Serialize};

use crate::{capability::within_bound, text::Text};

/// The callee's word that a process runs. The id is durably noted by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The process's number on the agent's host.
    pub pid: u32,
    /// When, by the agent's clock, in milliseconds since 1970.
    pub at_ms: u64,
}

/// The callee's word that this id was accepted before, and that nothing is started now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earlier {
    /// When the first request was accepted, by the agent's clock, in milliseconds since 1970.
    pub accepted_at_ms: u64,
}

/// The callee's last word on a run that it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Why it ended.
    pub result: Wire,
    /// What is left of its processes.
    pub tree: Tree,
    /// How many bytes of standard output were sent, so that a truncated stream shows.
    pub stdout_bytes: u64,
    /// The same for standard error.
    pub stderr_bytes: u64,
    /// From start to end, in milliseconds.
    pub duration_ms: u64,
}

/// Why a run that was accepted ended, as the callee reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wire {
    /// Its first process ended by itself.
    Finished(Exit),
    /// One of its limits was reached, and it was ended.
    Reached(Limit),
    /// The caller asked for its end.
    Cancelled,
    /// Its agent stopped or died under it.
    AgentStopped,
    /// Its link was lost, and it was ended for that.
    LinkLost,
}

impl Wire {
    /// Returns what this means to the caller; `None` if the run is lost.
    #[must_use]
    pub const fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Finished(exit) => Some(Outcome::Finished(exit)),
            Self::Reached(limit) => Some(Outcome::TimedOut(limit)),
            Self::Cancelled => Some(Outcome::Cancelled),
            Self::AgentStopped | Self::LinkLost => None,
        }
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// By returning a code; Windows uses all 32 bits.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

/// A limit of a run; see [`super::Limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limit {
    /// Time since the start.
    Wall,
    /// Time without output.
    Idle,
    /// Bytes of output.
    Output,
}

/// What is left of a run's processes when it is reported as ended.
///
/// A longer list of processes is refused off the wire, so whoever makes one cuts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tree {
    /// Nothing.
    Gone,
    /// The first process ended by itself and left others running, as a service starter does.
    Left {
        /// Their numbers, at most [`Tree::MAX_PIDS`].
        #[serde(deserialize_with = "within_bound::<_, _, { Tree::MAX_PIDS }>")]
        pids: Vec<u32>,
    },
    /// They were to be killed, and these could not be seen to end.
    Unconfirmed {
        /// Their numbers, at most [`Tree::MAX_PIDS`].
        #[serde(deserialize_with = "within_bound::<_, _, { Tree::MAX_PIDS }>")]
        pids: Vec<u32>,
    },
}

impl Tree {
    /// The most processes that are named: enough to act on, and no use to a fork storm.
    pub const MAX_PIDS: usize = 64;
}

/// Why an agent did not start a process. Each reason is a promise that it did not and, with this
/// request, will not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The peer's certificate is not a controller's.
    #[error("only a controller may run commands")]
    Role,
    /// The request is for another agent or another mesh.
    #[error("the request is for {agent} and not for this agent")]
    Audience {
        /// Whom it is for.
        agent: Text<80>,
    },
    /// The request is malformed.
    #[error("the request cannot be carried out: {why}")]
    Request {
        /// Which part.
        why: Text<256>,
    },
    /// The agent's clock is past the request's window.
    #[error(
        "the request was made {age_ms} ms ago by the agent's clock and was valid for {valid_for_ms} ms; compare the clocks of both hosts"
    )]
    TooOld {
        /// Agent's clock less issue time, in milliseconds.
        age_ms: u64,
        /// The window, in milliseconds.
        valid_for_ms: u32,
    },
    /// The request comes from the agent's future.
    #[error(
        "the request was made {ahead_ms} ms ahead of the agent's clock; compare the clocks of both hosts"
    )]
    FromTheFuture {
        /// Issue time less agent's clock, in milliseconds.
        ahead_ms: u64,
    },
    /// The request is older than what the agent remembers, so it might be a repetition.
    #[error("the request is older than the agent's record of runs; ask with a new run id")]
    OlderThanMemory,
    /// The id was used for something else.
    #[error("this run id was used for another request; ask with a new run id")]
    DifferentRequest,
    /// The id belongs to another controller's run.
    #[error("this run id belongs to another controller")]
    OtherController,
    /// The agent promised never to accept this id.
    #[error("this run id was given up; ask with a new run id")]
    GivenUp,
    /// The record of the run could not be written.
    #[error("the agent cannot record the run, so it does not start it: {why}")]
    Ledger {
        /// What failed.
        why: Text<256>,
    },
    /// The first request with this id was accepted, and then could not be started.
    #[error(
        "this run id was used for a run that could not be started ({0}); ask with a new run id"
    )]
    NotStartedEarlier(Unstarted),
    /// The agent has no such run on record.
    #[error("the agent has no run with this id on record")]
    UnknownRun,
    /// The agent is stopping.
    #[error("the agent is stopping")]
    Stopping,
    /// The agent runs as many as it may.
    #[error("the agent runs {limit} runs already, which is its limit")]
    Busy {
        /// How many.
        limit: u32,
    },
    /// The operating system did not start the program.
    #[error(transparent)]
    Start(StartFailure),
}

impl Refusal {
    /// Tells whether the reason holds for the run id, and not only for this one request with it: no
    /// request of this caller's with the same id was ever accepted and started.
    ///
    /// The others may be given before anybody looks into the record of runs, or where that is gone.
    #[must_use]
    pub const fn tells_of_the_id(&self) -> bool {
        match self {
            Self::DifferentRequest
            | Self::OtherController
            | Self::GivenUp
            | Self::Ledger { .. }
            | Self::NotStartedEarlier(_)
            | Self::Start(_) => true,
            Self::Role
            | Self::Audience { .. }
            | Self::Request { .. }
            | Self::TooOld { .. }
            | Self::FromTheFuture { .. }
            | Self::OlderThanMemory
            | Self::UnknownRun
            | Self::Stopping
            | Self::Busy { .. } => false,
        }
    }
}

/// Why a program was not started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum StartFailure {
    /// No such program.
    #[error("{program}: command not found")]
    NotFound {
        /// As asked for.
        program: Text<256>,
    },
    /// It is there but cannot be executed.
    #[error("{program}: not executable: {why}")]
    NotExecutable {
        /// As asked for.
        program: Text<256>,
        /// The operating system's words.
        why: Text<256>,
    },
    /// The working directory cannot be entered.
    #[error("working directory {cwd}: {why}")]
    Cwd {
        /// As asked for.
        cwd: Text<256>,
        /// The operating system's words.
        why: Text<256>,
    },
    /// A variable may not be set.
    #[error("environment: {why}")]
    Environment {
        /// Which, and why not.
        why: Text<256>,
    },
    /// Anything else.
    #[error("cannot start {program}: {why}")]
    Other {
        /// As asked for.
        program: Text<256>,
        /// The operating system's words.
        why: Text<256>,
    },
}

/// The kind of a [`StartFailure`], as the ledger keeps it for a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Unstarted {
    /// No such program.
    #[error("command not found")]
    NotFound,
    /// It is there but cannot be executed.
    #[error("not executable")]
    NotExecutable,
    /// Anything else.
    #[error("the system did not start it")]
    Other,
}

impl StartFailure {
    /// Returns what a retry will hear of this.
    #[must_use]
    pub const fn kind(&self) -> Unstarted {
        match self {
            Self::NotFound { .. } => Unstarted::NotFound,
            Self::NotExecutable { .. } => Unstarted::NotExecutable,
            Self::Cwd { .. } | Self::Environment { .. } | Self::Other { .. } => Unstarted::Other,
        }
    }
}

/// How a run ended, as its caller knows. One of these and never anything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The process ended by itself.
    Finished(Exit),
    /// The agent started nothing, and says why.
    Refused(Refusal),
    /// The agent ended it at a limit.
    TimedOut(Limit),
    /// It was cancelled. Whether all its processes are gone, [`Ended::tree`] says.
    Cancelled,
    /// The agent says that it never accepted the id and promises that it never will.
    NotStarted,
    /// Its end is not known; this is what is.
    Lost(KnownOfLost),
}

/// What a caller knows of a run whose end it did not hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownOfLost {
    /// Whether the request left this host. If not, nothing was started.
    pub sent: bool,
    /// Whether the agent said that it started it.
    pub started: bool,
    /// How the agent said that it ended it, for want of a link or of itself.
    pub ended: Option<Wire>,
    /// Bytes of standard output received, on all streams.
    pub stdout_bytes: u64,
    /// Bytes of standard error received.
    pub stderr_bytes: u64,
}
