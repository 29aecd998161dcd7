//! The callee's half of a run: from a request to its end.
//!
//! Owns the order of things: judge, note durably, start, say so, keep the output, end, note, report.
//! Does not own processes (`process`), the record (`ledger`), what was printed (`spool`) or what a
//! command means (nobody here).
//!
//! **Invariant:** a process is started only after the ledger has durably accepted its run id as
//! new, and nobody hears of an end before the ledger keeps it. Guarded by the replay scenarios and by
//! `ledger`'s tests.

mod conduct;
mod hear;
mod input;
mod kept;
mod live;
mod noop;
mod pipes;
mod start;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use proto::{
    frame::{Cancel, Frame},
    id::{NodeName, RunId},
    run::{Attach, Earlier, Ended, Refusal, RunRequest, Started, Tree, Wire},
    text::Text,
};
use tokio::task::spawn_blocking;

pub(crate) use self::live::Live;
use self::{
    conduct::conduct,
    hear::{Beginning, hear, watch},
    kept::Kept,
    start::start,
};
use super::{
    Shared,
    ledger::{Accept, AcceptError, Accepted, Entry, GaveUp, State, Unsettled},
    process::Process,
    router::Stream,
    runs::{CancelRequest, Entered, Place},
    spool::{Counts, Spool},
};
use crate::{
    clock::{millis, now_ms},
    fault,
};

/// Starts in progress at once. Each holds a thread, and one whose working directory is on a dead
/// network mount holds it for ever; the others go on.
pub(super) const MAX_STARTS: usize = 32;

/// Serves one request to run something.
pub(super) async fn serve(stream: Stream, request: RunRequest, shared: &Arc<Shared>) {
    tracing::debug!(run = %request.id, peer = %stream.peer, "run asked for");
    let request = Arc::new(request);
    match admit(&stream, &request, shared).await {
        Ok(Admitted::New(place, unsettled)) if noop::is_asked_for(&request, shared) => {
            noop::answer(stream, place, unsettled, &request, shared).await;
        }
        Ok(Admitted::New(place, unsettled)) => match launch(&request, unsettled, shared).await {
            Ok(process) => begin(stream, process, place, request, shared).await,
            Err(refusal) => {
                tracing::info!(run = %request.id, why = %refusal, "run not started");
                if let Refusal::Start(failure) = &refusal {
                    keep(shared, request.id, &Kept::NotStarted(failure.kind()));
                }
                drop(place);
                stream.finish(Frame::Refused(refusal)).await;
            }
        },
        // It may be a copy that the network kept for long, and its input would begin anew: so it takes
        // nobody's place, also where nobody is. Who means it attaches.
        Ok(Admitted::InProgress(earlier, live)) => {
            let head = Frame::Earlier(earlier);
            watch(stream, &live.spool, Counts::default(), Some(head)).await;
        }
        Ok(Admitted::Earlier(earlier, ended)) => {
            let spool = reopen(request.id, ended, shared).await;
            let head = Frame::Earlier(earlier);
            watch(stream, &spool, Counts::default(), Some(head)).await;
        }
        Err(refusal) => {
            let refusal = proven(request.id, refusal, shared).await;
            tracing::warn!(run = %request.id, peer = %stream.peer, why = %refusal, "run refused");
            stream.finish(Frame::Refused(refusal)).await;
        }
    }
}

/// Serves somebody who wants to hear a run that was accepted before.
pub(super) async fn attach(stream: Stream, attach: Attach, shared: &Arc<Shared>) {
    let have = Counts {
        stdout: attach.stdout_from,
        stderr: attach.stderr_from,
    };
    let mut conducted = Conducted::Perhaps;
    let refusal = loop {
        match shared.runs.find(attach.run, &stream.peer) {
            Ok(Some(run)) => {
                // Without one, it has ended just now: the ledger knows.
                if let Some(live) = run.live().await {
                    return hear(stream, &live, Beginning::Attach(have, attach.hold)).await;
                }
            }
            Ok(None) => match recorded(attach.run, &stream.peer, shared)
                .map(|recorded| conducted.settle(recorded))
            {
                Ok(Recorded::Ended(ended)) => {
                    let spool = reopen(attach.run, ended, shared).await;
                    return watch(stream, &spool, have, None).await;
                }
                Ok(Recorded::InProgress) => {}
                Err(refusal) => break proven(attach.run, refusal, shared).await,
            },
            Err(refusal) => break refusal,
        }
    };
    stream.finish(Frame::Refused(refusal)).await;
}

/// Ends a run, and answers when it is over; whatever was not accepted never will be.
pub(super) async fn cancel(stream: Stream, cancel: Cancel, shared: &Arc<Shared>) {
    let grace = Duration::from_millis(cancel.grace_ms.into());
    let mut conducted = Conducted::Perhaps;
    let answer = loop {
        if let Some(ended) = shared
            .runs
            .cancel(cancel.run, CancelRequest { grace })
            .await
        {
            break Frame::Ended(ended);
        }
        let recorded = give_up(cancel.run, &stream.peer, shared).await;
        match recorded.map(|recorded| conducted.settle(recorded)) {
            Ok(Recorded::Ended(ended)) => break Frame::Ended(ended),
            // Accepted between the two questions.
            Ok(Recorded::InProgress) => {}
            Err(refusal) => break Frame::Refused(refusal),
        }
    };
    stream.finish(answer).await;
}

/// Lets a started process run, and its caller hear it.
async fn begin(
    stream: Stream,
    mut process: Process,
    place: Place,
    request: Arc<RunRequest>,
    shared: &Arc<Shared>,
) {
    let pid = process.pid();
    let (peer, principal) = (&stream.peer, &request.principal);
    tracing::info!(run = %request.id, %peer, %principal, pid, "run started");
    let started = Started {
        pid,
        at_ms: now_ms(),
    };
    let folder = Arc::clone(&shared.output);
    let (spool, ticket) = Spool::new(request.id, folder, request.on_link_loss);
    let spool = Arc::new(spool);
    let stdin = process.stdin.take();
    let live = Arc::new(Live::new(
        Arc::clone(&spool),
        stdin,
        process.terminal.clone(),
    ));
    place.live(Arc::clone(&live));
    shared
        .runs
        .spawn(conduct(process, place, spool, request, Arc::clone(shared)));
    fault::point("run-before-told");
    hear(stream, &live, Beginning::Started(started, ticket)).await;
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
    let launched = spawn_blocking(move || {
        fault::point("run-before-settle");
        let settled = shared.ledger.settle(&unsettled);
        settled.map_err(|error| refusal(&error))?;
        fault::point("run-before-start");
        let started = start(&request, &shared).map_err(Refusal::Start);
        fault::point("run-after-start");
        started
    });
    launched.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a start broke");
        let why = Text::cut("the agent failed; its log says more");
        Err(Refusal::Request { why })
    })
}

enum Admitted {
    New(Place, Unsettled),
    InProgress(Earlier, Arc<Live>),
    Earlier(Earlier, Ended),
}

async fn admit(
    stream: &Stream,
    request: &RunRequest,
    shared: &Shared,
) -> Result<Admitted, Refusal> {
    judge(request, shared)?;
    let digest = request.digest();
    let asked = asked(stream, request, digest);
    loop {
        // What is on record is told whatever the agent could take on now.
        if let Some(earlier) = on_record(&asked, shared)? {
            return Ok(earlier);
        }
        if shared.stop.is_cancelled() && shared.runs.find(request.id, &stream.peer)?.is_none() {
            return Err(Refusal::Stopping);
        }
        match shared.runs.enter(request.id, &stream.peer, digest)? {
            Entered::First(place) => return accept(place, &asked, shared),
            Entered::InProgress(run) => {
                let accepted_at_ms = run.accepted_at_ms;
                if let Some(live) = run.live().await {
                    return Ok(Admitted::InProgress(Earlier { accepted_at_ms }, live));
                }
                // It was refused after all, so this one is judged by itself; or it has ended, and the
                // ledger knows.
            }
        }
    }
}

/// Checks all that needs no record.
fn judge(request: &RunRequest, shared: &Shared) -> Result<(), Refusal> {
    if request.audience.mesh != shared.mesh || request.audience.agent != shared.name {
        return Err(Refusal::Audience {
            agent: Text::cut(request.audience.agent.as_str()),
        });
    }
    request.check().map_err(|error| Refusal::Request {
        why: Text::cut(&error.to_string()),
    })
}

fn asked(stream: &Stream, request: &RunRequest, digest: [u8; 32]) -> Accept {
    Accept {
        id: request.id,
        digest,
        principal: stream.peer.clone(),
        issued_at: SystemTime::UNIX_EPOCH + Duration::from_millis(request.issued_at_ms),
        valid_for: Duration::from_millis(request.valid_for_ms.into()),
    }
}

/// Looks the request up among those that have ended.
fn on_record(asked: &Accept, shared: &Shared) -> Result<Option<Admitted>, Refusal> {
    let known = shared
        .ledger
        .known(asked)
        .map_err(|error| refusal(&error))?;
    match known {
        Some(entry) if entry.state != State::Accepted => admit_earlier(&entry).map(Some),
        Some(_) | None => Ok(None),
    }
}

fn admit_earlier(entry: &Entry) -> Result<Admitted, Refusal> {
    let earlier = Earlier {
        accepted_at_ms: millis(entry.accepted_at),
    };
    match read(entry)? {
        Recorded::Ended(ended) => Ok(Admitted::Earlier(earlier, ended)),
        // Nobody conducts it.
        Recorded::InProgress => Ok(Admitted::Earlier(earlier, lost(Counts::default()))),
    }
}

fn accept(place: Place, asked: &Accept, shared: &Shared) -> Result<Admitted, Refusal> {
    match shared.ledger.accept(asked, SystemTime::now()) {
        Ok(Accepted::New(unsettled)) => Ok(Admitted::New(place, unsettled)),
        Ok(Accepted::Earlier(entry)) => admit_earlier(&entry),
        Err(error) => Err(refusal(&error)),
    }
}

/// What the ledger says of an id that was accepted.
enum Recorded {
    Ended(Ended),
    InProgress,
}

/// Whether somebody conducts a run that is on record as in progress, and that was not found to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Conducted {
    /// It may have been accepted after it was not found.
    Perhaps,
    /// So it was looked for once more.
    No,
}

impl Conducted {
    /// Takes what is on record of a run that was not found: at the second time nobody conducts it,
    /// because that broke, and it is lost.
    fn settle(&mut self, recorded: Recorded) -> Recorded {
        match (recorded, *self) {
            (Recorded::InProgress, Self::No) => Recorded::Ended(lost(Counts::default())),
            (recorded, _) => {
                *self = Self::No;
                recorded
            }
        }
    }
}

/// Looks an id up for the controller that asked for it.
fn recorded(id: RunId, peer: &NodeName, shared: &Shared) -> Result<Recorded, Refusal> {
    let entry = shared.ledger.get(id).ok_or(Refusal::UnknownRun)?;
    if *entry.principal != *peer {
        return Err(Refusal::OtherController);
    }
    read(&entry)
}

fn read(entry: &Entry) -> Result<Recorded, Refusal> {
    match &entry.state {
        State::Accepted => Ok(Recorded::InProgress),
        State::GivenUp => Err(Refusal::GivenUp),
        State::Ended(outcome) => match Kept::read(outcome) {
            Kept::Ended(ended) => Ok(Recorded::Ended(ended)),
            Kept::NotStarted(kind) => Err(Refusal::NotStartedEarlier(kind)),
        },
    }
}

/// Makes sure that an id is never accepted, unless it was.
async fn give_up(id: RunId, peer: &NodeName, shared: &Arc<Shared>) -> Result<Recorded, Refusal> {
    match shared.ledger.give_up(id, peer, SystemTime::now()) {
        Ok(GaveUp::Known(entry)) => read(&entry),
        Ok(GaveUp::Now(unsettled)) => {
            tracing::info!(run = %id, %peer, "a run was cancelled that was never asked for");
            Err(given_up(unsettled, shared).await)
        }
        Err(error) => Err(refusal(&error)),
    }
}

/// Says that an id was given up only when that survives a power cut: for the caller it is the proof that
/// nothing was started, and never will be.
async fn proven(id: RunId, refusal: Refusal, shared: &Arc<Shared>) -> Refusal {
    if refusal == Refusal::GivenUp {
        return given_up(shared.ledger.given_up(id), shared).await;
    }
    refusal
}

async fn given_up(unsettled: Unsettled, shared: &Arc<Shared>) -> Refusal {
    let shared = Arc::clone(shared);
    match spawn_blocking(move || shared.ledger.settle(&unsettled)).await {
        Ok(Ok(())) => Refusal::GivenUp,
        Ok(Err(error)) => refusal(&error),
        Err(error) => Refusal::Ledger {
            why: Text::cut(&error.to_string()),
        },
    }
}

/// Opens what is kept of the output of a run that has ended.
async fn reopen(id: RunId, ended: Ended, shared: &Arc<Shared>) -> Spool {
    let folder = Arc::clone(&shared.output);
    let fallback = (Arc::clone(&folder), ended.clone());
    let opened = spawn_blocking(move || Spool::reopen(id, folder, ended)).await;
    opened.unwrap_or_else(|error| {
        tracing::error!(%error, "kept output was not read");
        Spool::unkept(id, fallback.0, fallback.1)
    })
}

/// What is said of a run whose agent died under it.
const fn lost(output: Counts) -> Ended {
    Ended {
        result: Wire::AgentStopped,
        tree: Tree::Gone,
        stdout_bytes: output.stdout,
        stderr_bytes: output.stderr,
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
pub(super) fn keep_lost(shared: &Shared, id: RunId, survivors: &[u32]) {
    let mut ended = lost(shared.output.end(id));
    if !survivors.is_empty() {
        // Whose they are is not known any more.
        let pids = survivors.iter().copied().take(Tree::MAX_PIDS).collect();
        ended.tree = Tree::Unconfirmed { pids };
    }
    keep(shared, id, &Kept::Ended(ended));
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
