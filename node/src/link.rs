//! One authenticated QUIC connection to one node.
//!
//! Owns dialling a single address and what can go wrong with it. Which address to dial is the
//! business of `links` and `discovery`.
//!
//! **Invariant:** a [`Link`] exists only where the peer proved to be the node that was asked for.
//! Whether the *peer* accepted *us* is known when its hello has arrived, or any frame on a stream:
//! quinn's `connect` resolves before the server has judged the client's certificate. A run does not
//! wait for that, which saves a round trip half; a refusal then shows as the link's loss.

mod error;

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use pki::{Expect, NodeCertificate};
use proto::{
    codec::{DecodeError, Decoder, EncodeError, encode},
    frame::{Frame, FrameKind, Hello},
    id::NodeId,
};
use quinn::{Connection, RecvStream, SendStream, VarInt};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use tokio::{io::AsyncReadExt as _, sync::OnceCell};

use crate::{
    close::CloseCode,
    transport::{CALLER_LINK_WINDOW, NO_LINK_WINDOW, Readers, Transport},
};

pub use self::error::DialError;
pub(crate) use self::error::why_not_accepted;

/// How much is read from a stream at first: most streams carry a few small frames.
const FIRST_READ: usize = 4 << 10;

/// How much is read at once from a stream that always has more: a few of quinn's receive batches, so
/// that bulk data costs few wake-ups.
const LARGEST_READ: usize = 256 << 10;

/// How long a node that was let in may take to introduce itself, which takes half a round trip.
const HELLO_LIMIT: Duration = Duration::from_secs(10);

/// So little that whatever it consists of, quinn keeps it: see [`Pace`].
const LEAST_WINDOW: u32 = 64 << 10;

/// How much a peer may send before it is read.
///
/// quinn (quinn-proto 0.11.19) closes a link when an unread stream consists of more than 1,024
/// pieces after it has put together those below `max(unread / 1024, 128)` bytes, also where nothing
/// is missing between them. So a caller that cannot read on asks for less, and reads what is under
/// way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// What keeps a long path busy.
    Full,
    /// What quinn keeps in any case.
    Least,
}

/// A connection to a node that proved who it is.
#[derive(Debug)]
pub struct Link {
    connection: Connection,
    peer: NodeId,
    trusted_until: OffsetDateTime,
    hello: OnceCell<Hello>,
    readers: Readers,
    /// How often the peer was made to speak.
    nudges: AtomicU64,
}

impl Link {
    /// Dials `addr` and lets the node there prove that it is `expect`.
    ///
    /// # Errors
    /// Says which step failed, and why.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the handshake.
    pub async fn dial(
        transport: &Transport,
        addr: SocketAddr,
        expect: &Expect,
    ) -> Result<Self, DialError> {
        let connecting = transport
            .connect(addr, &expect.server_name())
            .map_err(|source| DialError::Address { addr, source })?;
        let connection = connecting
            .await
            .map_err(|error| DialError::of(addr, error))?;
        let certificate = certificate_of(&connection).ok_or(DialError::NoCertificate { addr })?;
        Ok(Self {
            connection,
            peer: certificate.node().clone(),
            trusted_until: certificate.not_after().min(transport.trusted_until()),
            hello: OnceCell::new(),
            readers: transport.readers(),
            nudges: AtomicU64::new(0),
        })
    }

    /// Returns who is at the other end.
    #[must_use]
    pub const fn peer(&self) -> &NodeId {
        &self.peer
    }

    /// Returns until when the handshake that made this link could be made again: one of the two
    /// certificates or the revocation list is over then.
    #[must_use]
    pub const fn trusted_until(&self) -> OffsetDateTime {
        self.trusted_until
    }

    /// Returns the peer's address.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        let addr = self.connection.remote_address();
        // A socket of both families shows an IPv4 address mapped into IPv6 (RFC 4291 §2.5.5.2).
        SocketAddr::new(addr.ip().to_canonical(), addr.port())
    }

    /// Returns the current estimate of the round trip.
    #[must_use]
    pub fn rtt(&self) -> Duration {
        self.connection.rtt()
    }

    /// Waits for the peer's hello, which proves that it accepted this node.
    ///
    /// # Errors
    /// The peer closed the link instead, stays mute, or does not follow the protocol.
    ///
    /// # Cancel safety
    /// The hello is not lost if the first byte of it was not read; call it once per link.
    pub async fn hello(&self) -> Result<&Hello, DialError> {
        let addr = self.remote_address();
        self.hello
            .get_or_try_init(async || {
                let hello = tokio::time::timeout(HELLO_LIMIT, self.read_hello(addr)).await;
                hello.unwrap_or(Err(DialError::NoHello { addr }))
            })
            .await
    }

    async fn read_hello(&self, addr: SocketAddr) -> Result<Hello, DialError> {
        let recv = self.connection.accept_uni().await;
        let recv = recv.map_err(|error| DialError::of(addr, error))?;
        let mut frames = FrameReader::new(recv);
        match frames.next().await {
            Ok(Some(Frame::Hello(hello))) => Ok(hello),
            Ok(_) => Err(DialError::NoHello { addr }),
            Err(ReadFrameError::Stream { .. }) => Err(match self.connection.close_reason() {
                Some(error) => DialError::of(addr, error),
                None => DialError::NoHello { addr },
            }),
            Err(ReadFrameError::Decode(_) | ReadFrameError::CutShort) => {
                Err(DialError::NoHello { addr })
            }
        }
    }

    /// Sets how much the peer may send before it is read, for all streams of this link together.
    ///
    /// What the peer was allowed before still comes. A link with many readers has no pace: each
    /// holds up its own stream.
    pub fn set_pace(&self, pace: Pace) {
        if self.readers == Readers::Many {
            return;
        }
        self.connection.set_receive_window(match pace {
            Pace::Full => CALLER_LINK_WINDOW.into(),
            Pace::Least => LEAST_WINDOW.into(),
        });
    }

    /// Returns how many packets have come from the peer.
    pub(crate) fn heard(&self) -> u64 {
        self.connection.stats().udp_rx.datagrams
    }

    /// Makes the peer of a link with many readers speak, which it does at once if it is there: a
    /// window that grows by nothing to speak of has to be acknowledged.
    pub(crate) fn nudge(&self) {
        let nudges = 1 + self.nudges.fetch_add(1, Ordering::Relaxed);
        if let Ok(window) = VarInt::from_u64(NO_LINK_WINDOW + nudges) {
            self.connection.set_receive_window(window);
        }
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// The link is closed.
    pub(crate) async fn open(&self) -> Result<(SendStream, FrameReader), DialError> {
        let (send, recv) = self
            .connection
            .open_bi()
            .await
            .map_err(|error| DialError::of(self.remote_address(), error))?;
        Ok((send, FrameReader::new(recv)))
    }

    /// Returns why the link is closed, if it is.
    #[must_use]
    pub fn closed(&self) -> Option<DialError> {
        let error = self.connection.close_reason()?;
        Some(DialError::of(self.remote_address(), error))
    }

    /// Waits until the link is closed.
    pub(crate) async fn until_closed(&self) {
        self.connection.closed().await;
    }

    /// Closes the link.
    pub fn close(&self, code: CloseCode) {
        self.connection
            .close(code.number(), code.reason().as_bytes());
    }
}

/// Returns who the certificate of an accepted connection says that the peer is.
pub(crate) fn peer_of(connection: &Connection) -> Option<NodeId> {
    certificate_of(connection).map(|certificate| certificate.node().clone())
}

fn certificate_of(connection: &Connection) -> Option<NodeCertificate> {
    let identity = connection.peer_identity()?;
    let chain = identity.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    NodeCertificate::read(chain.first()?).ok()
}

/// Reads the frames of one stream.
#[derive(Debug)]
pub(crate) struct FrameReader {
    recv: RecvStream,
    decoder: Decoder,
    input: Bytes,
    buffer: BytesMut,
    /// How much the next read takes at most.
    size: usize,
}

impl FrameReader {
    pub(crate) fn new(recv: RecvStream) -> Self {
        Self {
            recv,
            decoder: Decoder::default(),
            input: Bytes::new(),
            buffer: BytesMut::new(),
            size: FIRST_READ,
        }
    }

    /// Returns the next frame, or `None` at the end of the stream.
    ///
    /// # Cancel safety
    /// Nothing that was read is lost when this is dropped.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, ReadFrameError> {
        loop {
            if let Some(frame) = self.decoder.next(&mut self.input)? {
                return Ok(Some(frame));
            }
            if !self.read().await? {
                return match self.decoder.is_between_frames() {
                    true => Ok(None),
                    false => Err(ReadFrameError::CutShort),
                };
            }
        }
    }

    /// Fills `input`; false at the end of the stream.
    async fn read(&mut self) -> Result<bool, ReadFrameError> {
        // Most reads find less than they could take: one buffer serves several of them.
        if self.buffer.capacity() < self.size / 4 {
            self.buffer.reserve(self.size);
        }
        let limit = self.buffer.capacity().min(self.size);
        let read = self
            .recv
            .read_buf(&mut (&mut self.buffer).limit(limit))
            .await;
        let len = read.map_err(|source| ReadFrameError::Stream { source })?;
        if len == self.size {
            self.size = (self.size * 4).min(LARGEST_READ);
        }
        self.input = self.buffer.split().freeze();
        Ok(len > 0)
    }

    /// Tells the peer that nothing more will be read.
    pub(crate) fn stop(&mut self, code: CloseCode) {
        // An error says that the stream has ended, which is what is wanted.
        drop(self.recv.stop(code.number()));
    }
}

/// Why a stream gives no frame.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadFrameError {
    #[error("read from the stream")]
    Stream {
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("the stream ends within a frame")]
    CutShort,
}

/// Sends one control frame.
pub(crate) async fn send_frame(send: &mut SendStream, frame: &Frame) -> Result<(), SendFrameError> {
    let mut bytes = BytesMut::new();
    encode(frame, &mut bytes)?;
    let kind = frame.kind();
    send.write_chunk(bytes.freeze())
        .await
        .map_err(|source| SendFrameError::Stream { kind, source })
}

/// Why a frame was not sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendFrameError {
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error("send {kind:?}")]
    Stream {
        kind: FrameKind,
        #[source]
        source: quinn::WriteError,
    },
}
