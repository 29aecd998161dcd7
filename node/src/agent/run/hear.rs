//! A run as one stream hears it: from what the caller has on, to the run's end.
//!
//! **Invariant:** a stream that hears of an end has heard all output before it, or of the gaps in it.
//! Where output is missing, the stream is reset instead.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use bytes::{Bytes, BytesMut};
use libp2p::futures::FutureExt as _;
use proto::{
    codec::encode,
    frame::Frame,
    run::{Attached, CalleeRun, Ended, Hold, Started},
};
use quinn::SendStream;

use super::{
    input::{InputError, feed},
    live::{Live, Stdin},
};
use crate::{
    agent::{
        router::Stream,
        spool::{Counts, Cursor, Item, Spool, Ticket},
    },
    close::CloseCode,
    fault,
    link::FrameReader,
};

/// Pieces of output that are handed to the link at once. Each such turn wakes its task.
const TOGETHER: usize = 16;

/// How a stream comes to hear a run.
#[derive(Debug, Clone, Copy)]
pub(super) enum Beginning {
    /// It asked for it, and this was the start; it is the first caller.
    Started(Started, Ticket),
    /// It attached, having so much.
    Attach(Counts, Hold),
}

/// Why a stream heard no more.
enum Heard {
    /// The end, like everything before it.
    Ended(Box<Ended>),
    /// Its peer is gone, or does not read any more.
    Gone,
}

/// Lets a stream hear a run in progress.
pub(super) async fn hear(stream: Stream, live: &Live, begin: Beginning) {
    let (have, hold) = match begin {
        Beginning::Started(started, ticket) => {
            return call(stream, live, ticket, Call::first(started)).await;
        }
        Beginning::Attach(have, hold) => (have, hold),
    };
    match hold {
        Hold::Take => {
            let ticket = live.spool.take();
            call(stream, live, ticket, Call::again(have)).await;
        }
        Hold::Watch => watch(stream, &live.spool, have, None).await,
    }
}

/// What a caller begins with.
struct Call {
    have: Counts,
    head: Option<Frame>,
    /// Whether it is told where the output begins; the first one knows.
    attaches: bool,
}

impl Call {
    fn first(started: Started) -> Self {
        Self {
            have: Counts::default(),
            head: Some(Frame::Started(started)),
            attaches: false,
        }
    }

    const fn again(have: Counts) -> Self {
        Self {
            have,
            head: None,
            attaches: true,
        }
    }
}

/// Serves the run's caller.
async fn call(stream: Stream, live: &Live, ticket: Ticket, begin: Call) {
    let Call {
        have,
        head,
        attaches,
    } = begin;
    let Stream {
        mut send,
        mut frames,
        connection,
        peer,
    } = stream;
    let spool = &*live.spool;
    let mut cursor = spool.cursor(have);
    spool.given(ticket, cursor.position());
    let abandoned = send.stopped();
    let stdin = live.stdin.lock().await;
    let attached = attaches.then(|| attached(spool, &cursor, stdin.from()));
    let lead = lead(head, attached);
    let seat = Seat::of(ticket);
    let heard = tokio::select! {
        heard = tell(&mut send, lead, spool, &mut cursor, Some(&seat)) => heard,
        error = sit(&seat, spool, &mut frames, stdin) => {
            tracing::warn!(%peer, %error, "protocol violation; the link is closed");
            let code = CloseCode::ProtocolViolation;
            connection.close(code.number(), code.reason().as_bytes());
            Heard::Gone
        }
        _ = connection.closed() => Heard::Gone,
        _ = abandoned => Heard::Gone,
    };
    if let (Heard::Gone, Some(ticket)) = (&heard, seat.ticket()) {
        spool.left(ticket);
    }
    report(send, heard).await;
}

/// The caller's place, which others may take and leave.
struct Seat {
    ticket: Mutex<Option<Ticket>>,
    /// Up to where this stream was given the output.
    position: AtomicU64,
}

impl Seat {
    const fn of(ticket: Ticket) -> Self {
        Self {
            ticket: Mutex::new(Some(ticket)),
            position: AtomicU64::new(0),
        }
    }

    fn ticket(&self) -> Option<Ticket> {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Ticket>> {
        self.ticket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Is the run's caller: feeds the process until somebody else takes over, and comes back when that one
/// is gone, so that a run is no orphan while somebody hears it. Its input is not taken any more then,
/// since nobody knows which of it the other one's followed.
///
/// Returns only when the caller breaks the protocol.
async fn sit(
    seat: &Seat,
    spool: &Spool,
    frames: &mut FrameReader,
    mut stdin: tokio::sync::MutexGuard<'_, Stdin>,
) -> InputError {
    let Some(first) = seat.ticket() else {
        return std::future::pending().await;
    };
    let mut state = CalleeRun::reading(&stdin.mode());
    tokio::select! {
        Err(error) = feed(frames, &mut state, &mut stdin) => return error,
        () = spool.superseded(first) => {}
    }
    drop(stdin);
    loop {
        *seat.lock() = None;
        let ticket = spool.take_vacant().await;
        *seat.lock() = Some(ticket);
        // The run waits for this stream from now on, and not for where the other one was.
        spool.given(ticket, seat.position.load(Ordering::Relaxed));
        spool.superseded(ticket).await;
    }
}

/// Serves a spectator, or whoever asks for a run that has ended.
pub(super) async fn watch(stream: Stream, spool: &Spool, have: Counts, head: Option<Frame>) {
    let Stream {
        mut send,
        connection,
        ..
    } = stream;
    let mut cursor = spool.cursor(have);
    let lead = lead(head, Some(attached(spool, &cursor, None)));
    let abandoned = send.stopped();
    let heard = tokio::select! {
        heard = tell(&mut send, lead, spool, &mut cursor, None) => heard,
        _ = connection.closed() => Heard::Gone,
        _ = abandoned => Heard::Gone,
    };
    report(send, heard).await;
}

/// Sends `lead`, and then output as it comes: what is there at once goes together.
async fn tell(
    send: &mut SendStream,
    lead: Bytes,
    spool: &Spool,
    cursor: &mut Cursor,
    seat: Option<&Seat>,
) -> Heard {
    let mut pieces = vec![lead];
    let mut ended = None;
    loop {
        if send.write_all_chunks(&mut pieces).await.is_err() {
            return Heard::Gone;
        }
        pieces.clear();
        if let Some(seat) = seat {
            seat.position.store(cursor.position(), Ordering::Relaxed);
            if let Some(ticket) = seat.ticket() {
                spool.given(ticket, cursor.position());
            }
        }
        if let Some(ended) = ended {
            return Heard::Ended(ended);
        }
        let mut next = Some(spool.read(cursor).await);
        while let Some(item) = next {
            match item {
                Item::Frame(frame) => pieces.push(frame),
                Item::Gap(_) => {
                    pieces.push(lead_of(Frame::Attached(attached(spool, cursor, None))));
                }
                Item::Ended(last) => {
                    ended = Some(last);
                    break;
                }
            }
            next = match pieces.len() < TOGETHER {
                true => spool.read(cursor).now_or_never(),
                false => None,
            };
        }
    }
}

async fn report(mut send: SendStream, heard: Heard) {
    match heard {
        Heard::Ended(ended) => {
            fault::point("run-before-end-told");
            let last = lead_of(Frame::Ended(*ended));
            if send.write_chunk(last).await.is_ok() && send.finish().is_ok() {
                // Either way the stream is over.
                drop(send.stopped().await);
                fault::point("run-after-end-told");
            }
        }
        // Fails only if the stream is closed already.
        Heard::Gone => drop(send.reset(CloseCode::Abandoned.number())),
    }
}

fn attached(spool: &Spool, cursor: &Cursor, stdin_from: Option<u64>) -> Attached {
    let (have, end) = (cursor.have(), spool.end());
    Attached {
        stdout_from: have.stdout,
        stderr_from: have.stderr,
        stdout_to: end.stdout,
        stderr_to: end.stderr,
        stdin_from,
    }
}

fn lead(head: Option<Frame>, attached: Option<Attached>) -> Bytes {
    let mut bytes = BytesMut::new();
    for frame in head.into_iter().chain(attached.map(Frame::Attached)) {
        append(&frame, &mut bytes);
    }
    bytes.freeze()
}

fn lead_of(frame: Frame) -> Bytes {
    lead(Some(frame), None)
}

fn append(frame: &Frame, bytes: &mut BytesMut) {
    let fits = encode(frame, bytes);
    fits.expect("these frames hold a few numbers, far below any limit");
}
