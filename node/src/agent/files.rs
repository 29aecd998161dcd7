//! The callee's half of a copy: a question about this host's files, and its answer.
//!
//! Owns judging the request, its bounds, and the order of frames. The disk's side is
//! [`crate::files`], the same as the caller's.
//!
//! **Invariants:** no question waits on the agent's own thread for a disk; one that hangs holds one
//! of [`MAX_COPIES`] places until it returns. And of two requests with the same transfer id, the later
//! one goes on where the earlier one stops: a caller that dials again after a cut must not wait until
//! this end notices the cut, too. The earlier one hears that it was superseded.

mod leftovers;
mod transfers;

use std::{path::PathBuf, sync::Arc, time::Duration};

use proto::{
    file::{Attributes, FileAction, FileFault, FileRefusal, FileRequest, Place, Sum},
    frame::Frame,
    id::TransferId,
    text::Text,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::spawn_blocking,
};

use self::{leftovers::Leftovers, transfers::Transfers};
use super::{Shared, router::Stream};
use crate::{
    clock::now_ms,
    close::CloseCode,
    files::{
        Folder, Last, Meter, Partial, Received, SendContentError, Source, Wanted, list, look,
        make_folder, make_link, receive, send, settle,
    },
    link::send_frame,
};

/// Questions that are served at once, each with a thread, and up to 2 MiB for a file's content.
const MAX_COPIES: usize = 32;

/// How long a question waits for a place.
const PLACE_LIMIT: Duration = Duration::from_secs(5);

/// How far a controller's clock may be ahead: as for runs.
const CLOCK_TOLERANCE_MS: u64 = 30_000;

/// Entries of a listing between the thread that reads them and the stream.
const ENTRIES: usize = 256;

/// What the agent knows of its copies.
#[derive(Debug)]
pub(super) struct FileService {
    /// Where relative paths start: the home folder of the agent's user.
    start: PathBuf,
    places: Arc<Semaphore>,
    transfers: Transfers,
    leftovers: Arc<Leftovers>,
}

impl FileService {
    /// Serves paths that start in `start`, and keeps its records in the agent's folder `home`.
    pub(super) fn new(start: PathBuf, home: &std::path::Path) -> Self {
        Self {
            start,
            places: Arc::new(Semaphore::new(MAX_COPIES)),
            transfers: Transfers::default(),
            leftovers: Arc::new(Leftovers::of(home)),
        }
    }

    /// Removes what copies left behind that nobody has continued for long, aside. Must be called
    /// within a runtime.
    pub(super) fn sweep(&self) {
        self.leftovers.sweep_aside();
    }
}

/// Serves one request about this host's files.
pub(super) async fn serve(stream: Stream, request: FileRequest, shared: &Arc<Shared>) {
    if let Err(refusal) = judge(&request, shared) {
        tracing::warn!(peer = %stream.peer, why = %refusal, "a question about files was refused");
        return refuse(stream, refusal).await;
    }
    let service = &shared.files;
    let place = Arc::clone(&service.places).acquire_owned();
    let Ok(Ok(permit)) = tokio::time::timeout(PLACE_LIMIT, place).await else {
        let limit = u32::try_from(MAX_COPIES).unwrap_or(u32::MAX);
        return refuse(stream, FileRefusal::Busy { limit }).await;
    };
    tracing::debug!(peer = %stream.peer, at = %request.action.place(), "files asked for");
    let asked = Asked {
        start: service.start.clone(),
        at: request.action.place().clone(),
        permit,
    };
    let stop = shared.stop.clone();
    // A stopping agent leaves its streams; the link's close code says why.
    tokio::select! {
        biased; // stopping wins
        () = stop.cancelled() => {}
        () = answer(stream, request.action, asked, service) => {}
    }
}

/// Where something was asked for, and the place among all that are served. It goes with the thread
/// that does the work.
struct Asked {
    start: PathBuf,
    at: Place,
    permit: OwnedSemaphorePermit,
}

async fn answer(stream: Stream, action: FileAction, asked: Asked, service: &FileService) {
    match action {
        FileAction::Look { .. } => {
            let work = |asked: &Asked| look(&asked.start, &asked.at).map(Frame::FileFound);
            reply(stream, asked, work).await;
        }
        FileAction::MakeFolder { mode, .. } => {
            let work = move |asked: &Asked| {
                let there = make_folder(&asked.start, &asked.at, mode)?;
                Ok(there.map_or(Frame::FileDone, Frame::FileFound))
            };
            reply(stream, asked, work).await;
        }
        FileAction::Settle { mode, modified, .. } => {
            let work = move |asked: &Asked| {
                settle(&asked.start, &asked.at, mode, modified).map(|()| Frame::FileDone)
            };
            reply(stream, asked, work).await;
        }
        FileAction::MakeLink { target, .. } => {
            let work = move |asked: &Asked| {
                make_link(&asked.start, &asked.at, &target).map(|()| Frame::FileDone)
            };
            reply(stream, asked, work).await;
        }
        FileAction::List { .. } => send_list(stream, asked).await,
        FileAction::Get { held, .. } => send_file(stream, asked, held).await,
        FileAction::Put {
            transfer,
            mode,
            modified,
            ..
        } => {
            let last = Last {
                mode,
                modified,
                most: u64::MAX,
            };
            take_file(stream, asked, transfer, last, service).await;
        }
    }
}

/// Checks whom the request is for, and when it was made.
fn judge(request: &FileRequest, shared: &Shared) -> Result<(), FileRefusal> {
    let audience = &request.audience;
    if audience.mesh != shared.mesh || audience.agent != shared.name {
        return Err(FileRefusal::Audience {
            agent: Text::cut(audience.agent.as_str()),
        });
    }
    let now = now_ms();
    let ahead_ms = request.issued_at_ms.saturating_sub(now);
    if ahead_ms > CLOCK_TOLERANCE_MS {
        return Err(FileRefusal::FromTheFuture { ahead_ms });
    }
    let age_ms = now.saturating_sub(request.issued_at_ms);
    let valid_for_ms = request.valid_for_ms;
    if age_ms > u64::from(valid_for_ms) {
        return Err(FileRefusal::TooOld {
            age_ms,
            valid_for_ms,
        });
    }
    Ok(())
}

/// Does the work on a thread, and sends what comes of it.
async fn reply(
    stream: Stream,
    asked: Asked,
    work: impl FnOnce(&Asked) -> Result<Frame, FileFault> + Send + 'static,
) {
    let path = shown(&asked.at);
    let frame = match spawn_blocking(move || work(&asked)).await {
        Ok(Ok(frame)) => frame,
        Ok(Err(fault)) => refused(FileRefusal::File { path, fault }),
        Err(_) => refused(FileRefusal::Broken),
    };
    stream.finish(frame).await;
}

async fn send_list(mut stream: Stream, asked: Asked) {
    let path = shown(&asked.at);
    let (to, mut from) = mpsc::channel(ENTRIES);
    let listing = spawn_blocking(move || {
        list(
            &asked.start,
            &asked.at,
            &mut |entry| match to.blocking_send(entry) {
                Ok(()) => Wanted::More,
                Err(_) => Wanted::NoMore,
            },
        )
    });
    while let Some(entry) = from.recv().await {
        let frame = Frame::FileEntry(Box::new(entry));
        if send_frame(&mut stream.send, &frame).await.is_err() {
            return; // the caller is gone
        }
    }
    let frame = match listing.await {
        Ok(Ok(())) => Frame::FileDone,
        Ok(Err(fault)) => refused(FileRefusal::File { path, fault }),
        Err(_) => refused(FileRefusal::Broken),
    };
    stream.finish(frame).await;
}

async fn send_file(mut stream: Stream, asked: Asked, held: Sum) {
    let path = shown(&asked.at);
    let opened = spawn_blocking(move || {
        Source::open(&asked.start, &asked.at).map(|source| (source, asked.permit))
    });
    // The permit is held until the last byte is sent.
    let (source, _permit) = match opened.await {
        Ok(Ok(opened)) => opened,
        Ok(Err(fault)) => return refuse(stream, FileRefusal::File { path, fault }).await,
        Err(_) => return refuse(stream, FileRefusal::Broken).await,
    };
    let found: Attributes = source.attributes();
    if send_frame(&mut stream.send, &Frame::FileFound(found))
        .await
        .is_err()
    {
        return; // the caller is gone
    }
    match send(&mut stream.send, source, held, &Meter::default()).await {
        Ok(_) => {
            drop(stream.send.finish());
            // Either way the stream is over.
            drop(stream.send.stopped().await);
        }
        Err(SendContentError::File(fault)) => {
            refuse(stream, FileRefusal::File { path, fault }).await;
        }
        Err(SendContentError::Broken) => refuse(stream, FileRefusal::Broken).await,
        Err(SendContentError::Stream(error)) => {
            tracing::debug!(peer = %stream.peer, %error, "the caller takes no more of a file");
        }
    }
}

async fn take_file(
    mut stream: Stream,
    asked: Asked,
    transfer: TransferId,
    last: Last,
    service: &FileService,
) {
    let path = shown(&asked.at);
    service.sweep();
    let turn = service.transfers.enter(transfer).await;
    let leftovers = Arc::clone(&service.leftovers);
    let opened = spawn_blocking(move || {
        let (folder, name) = Folder::holding(&asked.start, &asked.at)?;
        let partial = Partial::open(folder, name, transfer)?;
        if partial.is_resumable() {
            leftovers.note(transfer, &asked.start, &asked.at, partial.hidden());
        }
        Ok((partial, asked.permit))
    });
    let (partial, _permit) = match opened.await {
        Ok(Ok(opened)) => opened,
        Ok(Err(fault)) => return refuse(stream, FileRefusal::File { path, fault }).await,
        Err(_) => return refuse(stream, FileRefusal::Broken).await,
    };
    let held = Frame::FileHeld(partial.held());
    if send_frame(&mut stream.send, &held).await.is_err() {
        return; // the caller is gone
    }
    let meter = Meter::default();
    let received = tokio::select! {
        biased; // whoever takes over waits for us
        () = turn.superseded.cancelled() => Received::Refused(Box::new(FileRefusal::Superseded)),
        received = receive(&mut stream.frames, partial, last, &meter, Some(turn.released)) => received,
    };
    let refusal = match received {
        Received::Whole { sum, .. } => {
            service.leftovers.forget(transfer);
            tracing::info!(peer = %stream.peer, bytes = sum.bytes, "file taken");
            return stream.finish(Frame::FileDone).await;
        }
        Received::File(fault) => FileRefusal::File { path, fault },
        Received::Refused(refusal) => *refusal,
        Received::Violation => return super::router::violation(&stream, &"a file out of order"),
        Received::Lost(_) => return, // with its link, or its caller
        Received::Broken => FileRefusal::Broken,
    };
    stream.frames.stop(CloseCode::Abandoned);
    refuse(stream, refusal).await;
}

async fn refuse(stream: Stream, refusal: FileRefusal) {
    tracing::debug!(peer = %stream.peer, why = %refusal, "a file is not copied");
    stream.finish(refused(refusal)).await;
}

fn refused(refusal: FileRefusal) -> Frame {
    Frame::FileRefused(Box::new(refusal))
}

fn shown(at: &Place) -> proto::file::PathText {
    Text::cut(&at.to_string())
}
