//! The command that costs nothing: an emulated agent answers it without a process.
//!
//! So that a measurement of thousands of agents on one machine is one of links and runs, and not of
//! how fast that machine forks. Everything else is as in any run: the request is judged, its id is on
//! record before it is answered, and its end is on record before the caller hears of it.
//!
//! The record is written and not synced. Nothing was started, so there is nothing that a power cut
//! could let happen twice.

use proto::{
    frame::Frame,
    run::{Ended, Exit, RunRequest, Started, Tree, What, Wire},
};

use super::{keep, kept::Kept};
use crate::{
    agent::{Noop, Shared, emulate::NOOP, ledger::Unsettled, router::Stream, runs::Place},
    clock::now_ms,
    close::CloseCode,
    link::send_frame,
};

/// What a started run without a process says in the place of a process's number.
const NO_PROCESS: u32 = 0;

/// Tells whether this agent answers `request` by itself.
pub(super) fn is_asked_for(request: &RunRequest, shared: &Shared) -> bool {
    let What::Argv(argv) = &request.what else {
        return false;
    };
    shared.noop == Noop::Answered
        && matches!(argv.words(), [program] if program.0 == NOOP.as_bytes())
}

/// Says that it started and that it has ended.
pub(super) async fn answer(
    mut stream: Stream,
    place: Place,
    _unsynced: Unsettled,
    request: &RunRequest,
    shared: &Shared,
) {
    let started = Started {
        pid: NO_PROCESS,
        at_ms: now_ms(),
    };
    let ended = Ended {
        result: Wire::Finished(Exit::Code(0)),
        tree: Tree::Gone,
        stdout_bytes: 0,
        stderr_bytes: 0,
        duration_ms: 0,
    };
    keep(shared, request.id, &Kept::Ended(ended.clone()));
    place.ended(&ended);
    drop(place);
    // It reads nothing, whatever is piped into it.
    stream.frames.stop(CloseCode::Abandoned);
    if send_frame(&mut stream.send, &Frame::Started(started))
        .await
        .is_ok()
    {
        stream.finish(Frame::Ended(ended)).await;
    }
}
