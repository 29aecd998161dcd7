//! The callee's half of a run: from a request to its end.
//!
//! Owns the order of things: judge, note durably, start, say so, stream, end, note, report. Does
//! not own processes (`process`), the record (`ledger`) or what a command means (nobody here).
//!
//! **Invariant:** a process is started only after the ledger has durably accepted its run id as
//! new, and the caller hears of an end only after the ledger keeps it. Guarded by the replay
//! scenarios and by `ledger`'s tests.

mod conduct;
mod input;
mod kept;
mod noop;
mod output;
mod start;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use proto::{
    frame::Frame,
    id::RunId,
    run::{Earlier, Ended, Refusal, RunRequest, Tree, Wire},
    text::Text,
};

use self::{conduct::conduct, kept::Kept, start::start};
use super::{
    Shared,
    ledger::{Accept, AcceptError, Accepted, State, Unsettled},
    process::Process,
    router::{Stream, millis},
    runs::{Entered, Place},
};
use crate::link::send_frame;

/// Starts in progress at once. Each holds a thread, and one whose working directory is on a dead
/// network mount holds it for ever; the others go on.
pub(super) const MAX_STARTS: usize = 32;

/// Serves one request to run something.
pub(super) async fn serve(mut stream: Stream, request: RunRequest, shared: &Arc<Shared>) {
    tracing::debug!(run = %request.id, peer = %stream.peer, "run asked for");
    let request = Arc::new(request);
    match admit(&stream, &request, shared).await {
        Ok(Admitted::New(place, unsettled)) if noop::is_asked_for(&request, shared) => {
            noop::answer(stream, place, unsettled, &request, shared).await;
        }
        Ok(Admitted::New(place, unsettled)) => match launch(&request, unsettled, shared).await {
            Ok(process) => conduct(stream, process, place, &request, shared).await,
            Err(refusal) => {
                tracing::info!(run = %request.id, why = %refusal, "run not started");
                if let Refusal::Start(failure) = &refusal {
                    keep(shared, request.id, &Kept::NotStarted(failure.kind()));
                }
                drop(place);
                stream.finish(Frame::Refused(refusal)).await;
            }
        },
        Ok(Admitted::Earlier(earlier, ended)) => {
            let earlier = Frame::Earlier(earlier);
            if send_frame(&mut stream.send, &earlier).await.is_ok() {
                stream.finish(Frame::Ended(ended)).await;
            }
        }
        Err(refusal) => {
            tracing::warn!(run = %request.id, peer = %stream.peer, why = %refusal, "run refused");
            stream.finish(Frame::Refused(refusal)).await;
        }
    }
}

/// Makes the acceptance durable and then starts the process, on a thread where both may block: the
/// disk may be slow, and a program or its working directory may lie on a file system that hangs.
async fn launch(
    request: &Arc<RunRequest>,
    unsettled: Unsettled,
    shared: &Arc<Shared>,
) -> Result<Process, Refusal> {
    // Never closed, so this only waits.
    let _turn = shared.starts.acquire().await;
    let (request, shared) = (Arc::clone(request), Arc::clone(shared));
    let launched = tokio::task::spawn_blocking(move || {
        let settled = shared.ledger.settle(&unsettled);
        settled.map_err(|error| refusal(&error))?;
        start(&request, &shared).map_err(Refusal::Start)
    });
    launched.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a start broke");
        let why = Text::cut("the agent failed; its log says more");
        Err(Refusal::Request { why })
    })
}

enum Admitted<'a> {
    New(Place<'a>, Unsettled),
    Earlier(Earlier, Ended),
}

async fn admit<'a>(
    stream: &Stream,
    request: &RunRequest,
    shared: &'a Shared,
) -> Result<Admitted<'a>, Refusal> {
    judge(request, shared)?;
    let digest = request.digest();
    loop {
        match shared.runs.enter(request.id, &stream.peer, digest)? {
            Entered::First(place) => return accept(place, stream, request, digest, shared),
            Entered::InProgress {
                accepted_at_ms,
                end,
            } => {
                if let Some(ended) = end.wait().await {
                    return Ok(Admitted::Earlier(Earlier { accepted_at_ms }, ended));
                }
                // The first request was refused after all, so this one is judged by itself.
            }
        }
    }
}

/// Checks all that needs no record.
fn judge(request: &RunRequest, shared: &Shared) -> Result<(), Refusal> {
    if shared.stop.is_cancelled() {
        return Err(Refusal::Stopping);
    }
    if request.audience.mesh != shared.mesh || request.audience.agent != shared.name {
        return Err(Refusal::Audience {
            agent: Text::cut(request.audience.agent.as_str()),
        });
    }
    request.check().map_err(|error| Refusal::Request {
        why: Text::cut(&error.to_string()),
    })
}

fn accept<'a>(
    place: Place<'a>,
    stream: &Stream,
    request: &RunRequest,
    digest: [u8; 32],
    shared: &Shared,
) -> Result<Admitted<'a>, Refusal> {
    let asked = Accept {
        id: request.id,
        digest,
        principal: stream.peer.clone(),
        issued_at: SystemTime::UNIX_EPOCH + Duration::from_millis(request.issued_at_ms),
        valid_for: Duration::from_millis(request.valid_for_ms.into()),
    };
    match shared.ledger.accept(&asked, SystemTime::now()) {
        Ok(Accepted::New(unsettled)) => Ok(Admitted::New(place, unsettled)),
        Ok(Accepted::Earlier(entry)) => {
            let earlier = Earlier {
                accepted_at_ms: millis(entry.accepted_at),
            };
            let kept = match &entry.state {
                State::Ended(outcome) => Kept::read(outcome),
                State::Accepted | State::GivenUp => return Ok(Admitted::Earlier(earlier, lost())),
            };
            match kept {
                Kept::NotStarted(kind) => Err(Refusal::NotStartedEarlier(kind)),
                Kept::Ended(ended) => Ok(Admitted::Earlier(earlier, ended)),
            }
        }
        Err(error) => Err(refusal(&error)),
    }
}

/// What is said of a run whose agent died under it.
const fn lost() -> Ended {
    Ended {
        result: Wire::AgentStopped,
        tree: Tree::Gone,
        stdout_bytes: 0,
        stderr_bytes: 0,
        duration_ms: 0,
    }
}

/// Writes how a run ended. A failure is logged: the caller hears the truth all the same, and a
/// later retry hears that the result was lost.
fn keep(shared: &Shared, id: RunId, kept: &Kept) {
    if let Err(error) = shared.ledger.ended(id, &kept.write(), SystemTime::now()) {
        let error = &error as &dyn std::error::Error;
        tracing::error!(run = %id, error, "the end of a run could not be recorded");
    }
}

/// Writes that a run was lost with the agent that conducted it.
pub(super) fn keep_lost(shared: &Shared, id: RunId) {
    keep(shared, id, &Kept::Ended(lost()));
}

fn refusal(error: &AcceptError) -> Refusal {
    match error {
        AcceptError::TooOld { age, valid_for } => Refusal::TooOld {
            age_ms: whole_millis(*age),
            valid_for_ms: u32::try_from(valid_for.as_millis()).unwrap_or(u32::MAX),
        },
        AcceptError::FromTheFuture { ahead } => Refusal::FromTheFuture {
            ahead_ms: whole_millis(*ahead),
        },
        AcceptError::OlderThanMemory => Refusal::OlderThanMemory,
        AcceptError::DifferentRequest => Refusal::DifferentRequest,
        AcceptError::OtherPrincipal => Refusal::OtherController,
        AcceptError::GivenUp => Refusal::GivenUp,
        AcceptError::Full => Refusal::Ledger {
            why: Text::cut("it is full"),
        },
        AcceptError::Write(error) => Refusal::Ledger {
            why: Text::cut(&error.to_string()),
        },
    }
}

fn whole_millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
