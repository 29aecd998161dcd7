//! From a connection attempt to the code that serves it: connection → role → link; stream → its
//! first frame → handler.
//!
//! Owns accepting. **Invariant:** no handler is reached without a certificate of a controller of
//! this mesh: TLS refuses others, and the name is read from the certificate that TLS checked.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use proto::{
    frame::{Frame, Hello},
    id::{NodeId, NodeName, Role},
    text::Text,
};
use quinn::{Connecting, Connection, ConnectionError, Incoming, SendStream};
use tokio::task::JoinSet;

use super::{Shared, files, run};
use crate::{
    clock::now_ms,
    close::CloseCode,
    link::{FrameReader, ReadFrameError, peer_of, send_frame, why_not_accepted},
    transport::Transport,
};

/// How long a connection attempt may take until its certificate is judged.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);

/// How long a stream may stay without its first frame.
const FIRST_FRAME_LIMIT: Duration = Duration::from_secs(10);

/// Handshakes in progress at most, of all hosts. A host that never finishes its own must not keep out
/// others, so links that were judged do not count.
const MAX_HANDSHAKES: usize = 256;

/// The same for one host.
const MAX_HANDSHAKES_OF_HOST: usize = 32;

/// Handshakes beyond which a newcomer must show that it can receive at its address (RFC 9000
/// §8.1.2), so that forged addresses cannot fill the agent.
const RETRY_BEYOND: usize = 32;

/// Links beyond which newcomers are turned away.
const MAX_LINKS: usize = 1024;

/// Accepts links and serves them until the agent is to stop and every run has ended.
pub(super) async fn serve(transport: &Transport, shared: &Arc<Shared>) {
    let mut links = JoinSet::new();
    let handshakes = Arc::new(Handshakes::default());
    loop {
        tokio::select! {
            biased; // stopping wins over accepting
            () = shared.stop.cancelled() => break,
            Some(ended) = links.join_next() => log_panic(ended),
            incoming = transport.accept() => match incoming {
                Some(incoming) => admit(incoming, transport, &handshakes, shared, &mut links),
                None => break,
            },
        }
    }
    while let Some(ended) = links.join_next().await {
        log_panic(ended);
    }
    // Those whose callers are away, too.
    shared.runs.join().await;
}

fn admit(
    incoming: Incoming,
    transport: &Transport,
    handshakes: &Arc<Handshakes>,
    shared: &Arc<Shared>,
    links: &mut JoinSet<()>,
) {
    if links.len() > MAX_LINKS + MAX_HANDSHAKES {
        tracing::warn!(
            links = links.len(),
            "too many links; a newcomer was turned away"
        );
        return incoming.refuse();
    }
    if handshakes.count() > RETRY_BEYOND && !incoming.remote_address_validated() {
        // An error says that this attempt was validated after all, and then it is lost: it retries.
        return drop(incoming.retry());
    }
    match Handshake::begin(handshakes, incoming.remote_address().ip()) {
        Some(handshake) => {
            let remote = incoming.remote_address();
            let judging = transport.judge(incoming);
            let shared = Arc::clone(shared);
            links.spawn(serve_link(remote, judging, handshake, shared));
        }
        None => incoming.refuse(),
    }
}

/// The handshakes in progress, by the host that they come from.
#[derive(Debug, Default)]
struct Handshakes(Mutex<HashMap<IpAddr, usize>>);

impl Handshakes {
    fn count(&self) -> usize {
        self.lock().values().sum()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // A panic elsewhere leaves the counts right: each change is one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handshake in progress; it is over when this is dropped.
struct Handshake {
    of: Arc<Handshakes>,
    host: IpAddr,
}

impl Handshake {
    /// Begins one, unless there are too many.
    fn begin(of: &Arc<Handshakes>, host: IpAddr) -> Option<Self> {
        let mut by_host = of.lock();
        let all: usize = by_host.values().sum();
        let own = by_host.get(&host).copied().unwrap_or_default();
        if all >= MAX_HANDSHAKES || own >= MAX_HANDSHAKES_OF_HOST {
            return None; // and leaves no trace: hosts can be made up without end
        }
        by_host.insert(host, own + 1);
        drop(by_host);
        Some(Self {
            of: Arc::clone(of),
            host,
        })
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut by_host = self.of.lock();
        if let Some(own) = by_host.get_mut(&self.host) {
            *own -= 1;
            if *own == 0 {
                by_host.remove(&self.host);
            }
        }
    }
}

async fn serve_link(
    remote: SocketAddr,
    judging: Result<Connecting, ConnectionError>,
    handshake: Handshake,
    shared: Arc<Shared>,
) {
    let judged = async { judging?.await };
    let connection = match tokio::time::timeout(HANDSHAKE_LIMIT, judged).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            tracing::warn!(%remote, why = %why_not_accepted(&error), "a link was refused");
            return;
        }
        Err(_) => {
            tracing::debug!(%remote, "a handshake took too long");
            return;
        }
    };
    drop(handshake);
    let peer = match peer_of(&connection) {
        Some(NodeId {
            role: Role::Controller,
            name,
        }) => name,
        Some(_) | None => {
            return close(&connection, CloseCode::ProtocolViolation);
        }
    };
    tracing::debug!(%peer, %remote, "link up");
    serve_streams(&connection, &peer, &shared).await;
    if shared.stop.is_cancelled() {
        close(&connection, CloseCode::Stopping);
    }
    tracing::debug!(%peer, "link down");
}

/// Greets, then serves each stream in a task of its own.
async fn serve_streams(connection: &Connection, peer: &NodeName, shared: &Arc<Shared>) {
    let mut streams = JoinSet::new();
    let greeting = greet(connection.clone(), shared.os);
    streams.spawn(greeting);
    loop {
        tokio::select! {
            biased; // stopping wins over accepting
            () = shared.stop.cancelled() => break,
            Some(ended) = streams.join_next() => log_panic(ended),
            stream = connection.accept_bi() => match stream {
                Ok((send, recv)) => {
                    let stream = Stream {
                        send,
                        frames: FrameReader::new(recv),
                        connection: connection.clone(),
                        peer: peer.clone(),
                    };
                    streams.spawn(serve_stream(stream, Arc::clone(shared)));
                }
                Err(_) => break,
            },
        }
    }
    // Runs see the stop, or the link's loss, and end; the ledger keeps how.
    while let Some(ended) = streams.join_next().await {
        log_panic(ended);
    }
}

async fn greet(connection: Connection, os: proto::capability::OsFamily) {
    let hello = hello(os);
    let Ok(mut send) = connection.open_uni().await else {
        return; // the link is gone, and its task sees that
    };
    if send_frame(&mut send, &Frame::Hello(hello)).await.is_ok() {
        // Only fails when the stream is gone with its link.
        drop(send.finish());
        drop(send.stopped().await);
    }
}

fn hello(os: proto::capability::OsFamily) -> Hello {
    Hello {
        version: Text::cut(env!("CARGO_PKG_VERSION")),
        os,
        clock_ms: now_ms(),
    }
}

/// One stream that a controller opened, and who that is.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) send: SendStream,
    pub(super) frames: FrameReader,
    pub(super) connection: Connection,
    pub(super) peer: NodeName,
}

impl Stream {
    /// Sends the last frame, and waits until the peer has it or is gone.
    pub(super) async fn finish(mut self, frame: Frame) {
        if let Err(error) = send_frame(&mut self.send, &frame).await {
            tracing::debug!(peer = %self.peer, %error, "the last frame of a stream was not sent");
            return;
        }
        drop(self.send.finish());
        // Either way the stream is over.
        drop(self.send.stopped().await);
    }
}

async fn serve_stream(mut stream: Stream, shared: Arc<Shared>) {
    let first = tokio::time::timeout(FIRST_FRAME_LIMIT, stream.frames.next()).await;
    match first {
        Ok(Ok(Some(Frame::Run(request)))) => run::serve(stream, *request, &shared).await,
        Ok(Ok(Some(Frame::Cancel(cancel)))) => {
            run::cancel(stream, cancel, &shared).await;
        }
        Ok(Ok(Some(Frame::Attach(attach)))) => run::attach(stream, attach, &shared).await,
        Ok(Ok(Some(Frame::Probe))) => {
            let hello = Frame::Hello(hello(shared.os));
            stream.finish(hello).await;
        }
        Ok(Ok(Some(Frame::File(request)))) => files::serve(stream, *request, &shared).await,
        Ok(Ok(Some(Frame::AskCapabilities))) => {
            match shared.prober.capabilities().await {
                Ok(document) => {
                    let document = Box::new(document.as_ref().clone());
                    stream.finish(Frame::Capabilities(document)).await;
                }
                // The caller sees the stream end without an answer.
                Err(error) => tracing::error!(%error, "the capabilities were not probed"),
            }
        }
        Ok(Ok(Some(frame))) => violation(
            &stream,
            &format_args!("a stream began with {:?}", frame.kind()),
        ),
        // The caller thought better of it, in the middle of its request perhaps, or its link is gone.
        Ok(Ok(None) | Err(ReadFrameError::Stream { .. } | ReadFrameError::CutShort)) => {}
        Ok(Err(error @ ReadFrameError::Decode(_))) => violation(&stream, &error),
        Err(_) => stream.frames.stop(CloseCode::Abandoned),
    }
}

/// Ends the whole link: a peer that breaks the protocol once is not to be understood again.
pub(super) fn violation(stream: &Stream, what: &dyn std::fmt::Display) {
    if stream.connection.close_reason().is_none() {
        tracing::warn!(peer = %stream.peer, %what, "protocol violation; the link is closed");
    }
    close(&stream.connection, CloseCode::ProtocolViolation);
}

fn close(connection: &Connection, code: CloseCode) {
    connection.close(code.number(), code.reason().as_bytes());
}

pub(super) fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a task of the agent broke");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_are_turned_away_leave_no_trace() {
        let handshakes = Arc::new(Handshakes::default());
        let host = |n: u32| IpAddr::from(n.to_be_bytes());
        let begun: Vec<_> = (0..1000_u32)
            .filter_map(|n| Handshake::begin(&handshakes, host(n)))
            .collect();

        assert_eq!(begun.len(), MAX_HANDSHAKES);
        assert_eq!(handshakes.lock().len(), MAX_HANDSHAKES);
        drop(begun);
        assert!(handshakes.lock().is_empty());
    }

    #[test]
    fn one_host_leaves_room_for_others() {
        let handshakes = Arc::new(Handshakes::default());
        let host = IpAddr::from([192, 0, 2, 1]);
        let begun: Vec<_> = (0..1000)
            .filter_map(|_| Handshake::begin(&handshakes, host))
            .collect();

        assert_eq!(begun.len(), MAX_HANDSHAKES_OF_HOST);
        assert!(Handshake::begin(&handshakes, [192, 0, 2, 2].into()).is_some());
    }
}
