//! The QUIC endpoint of a node: socket, limits, timeouts.
//!
//! Owns how quinn is set up, and why each number is what it is. Whom to trust is decided by the
//! TLS configurations that `pki` builds; this file hands them to quinn as they are, because quinn's
//! own constructors switch early data on.
//!
//! **Invariant:** no early data and no resumption, on either side. Guarded in `pki` by its
//! handshake tests.

mod batch;
mod mtu;

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::hmac;
use pki::{Identity, Revocation};
use proto::{frame::ALPN, id::Role};
use quinn::{
    AsyncUdpSocket, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, Runtime as _, TokioRuntime,
    TransportConfig, VarInt,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use quinn_proto::HashedConnectionIdGenerator;
use socket2::{Domain, Protocol, Socket, Type};
use time::OffsetDateTime;

use self::batch::GrowingBatches;

/// How long a peer may stay silent before its link is closed.
///
/// Six keep-alives of [`KEEP_ALIVE`], so that lost packets alone do not cost a link.
pub const IDLE_LIMIT: Duration = Duration::from_secs(30);

/// How often the dialling side of a link speaks when it has nothing to say.
pub const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Asked of the operating system for each socket, which may grant less.
///
/// The default on Linux is 208 KiB: less than one round trip of a gigabit path.
const SOCKET_BUFFER: usize = 4 << 20;

/// Bytes that a sender keeps until they are acknowledged, for all streams of a link.
///
/// This bounds an agent's memory when its controller stops reading, and its throughput on long
/// paths: 4 MiB at 100 ms is 40 MiB/s.
const SEND_WINDOW: u64 = 4 << 20;

/// Bytes of one stream that a controller accepts before it has read them.
const CALLER_STREAM_WINDOW: u32 = 4 << 20;

/// Bytes of one stream that an agent accepts before they are read: what a process has not taken of
/// its standard input, or a disk of a file. A process that does not read holds up no other run of its
/// link.
///
/// As much as an ssh channel: 2 MiB at 100 ms is 20 MiB/s.
const CALLEE_STREAM_WINDOW: u32 = 2 << 20;

/// The same for all streams of a link; see [`crate::link::Pace`].
pub(crate) const CALLER_LINK_WINDOW: u32 = 16 << 20;

/// Bytes of one stream that a controller accepts before it has read them, where many share a link.
///
/// Each reader holds up its own stream and no other, so the link as a whole has no window. quinn
/// keeps so much of one stream as it comes; see [`crate::link::Pace`]. 1 MiB at 100 ms is 10 MiB/s
/// for each run.
const SHARED_STREAM_WINDOW: u32 = 1 << 20;

/// The window of a link that has none: what is left of a QUIC number is room to grow, by which a
/// silent peer is made to speak.
pub(crate) const NO_LINK_WINDOW: u64 = 1 << 60;

/// Links from which on an endpoint's further ones keep to ordinary packets: each keeps room for
/// several of its largest, which is 6 KiB more for each link of a fleet on a path of jumbo frames.
const MANY_LINKS: usize = 256;

/// The only version of QUIC that is spoken (RFC 9000 §15). quinn would take its drafts, too.
const QUIC: u32 = 1;

/// Streams that one controller may have open at an agent at once: as many runs as an agent takes,
/// and some for what cancels them.
const STREAMS_PER_LINK: u32 = crate::agent::MAX_RUNS as u32 + 64;

/// Connections that may wait to be judged before new ones are sent away.
const MAX_INCOMING: usize = 512;

/// Bytes kept of a connection that waits to be judged: an honest one sends two packets.
const INCOMING_BUFFER: u64 = 16 << 10;

/// The same for all that wait.
const INCOMING_BUFFERS: u64 = 1 << 20;

/// First guess of a round trip. quinn's 333 ms would make the first retransmission wait a second.
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// Turns of the scheduler in which a closed connection's task sends its last packet: it is woken in
/// the first and runs in the second; the rest is reserve.
const FAREWELL_TURNS: usize = 4;

/// Who reads from the links that this node dials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// One, who paces the whole link.
    One,
    /// Many at once, each of whom holds up nobody else.
    Many,
}

/// A socket and the means to dial or serve on it.
#[derive(Debug, Clone)]
pub struct Transport {
    readers: Readers,
    endpoint: quinn::Endpoint,
    client: quinn::ClientConfig,
    server: Option<quinn::ServerConfig>,
    /// Until when this node's own certificate is good.
    not_after: OffsetDateTime,
    revocation: Revocation,
}

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The UDP socket could not be had.
    #[error("listen on UDP {addr}")]
    Socket {
        /// Where.
        addr: SocketAddr,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },
    /// The identity is of no use for TLS.
    #[error("set up TLS with the identity of {node}")]
    Tls {
        /// Whose identity.
        node: proto::id::NodeId,
        /// The reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Transport {
    /// Binds a socket from which this node only dials.
    ///
    /// # Errors
    /// The socket or the TLS set-up failed.
    pub fn bind_caller(
        identity: &Identity,
        revocation: &Revocation,
        readers: Readers,
    ) -> Result<Self, BindError> {
        // Both families from one socket, where the system has IPv6.
        let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let four = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let bind = |addr| Self::bind(addr, identity, revocation, None, readers);
        bind(both).or_else(|_| bind(four))
    }

    /// Binds a socket that serves controllers.
    ///
    /// # Errors
    /// The socket or the TLS set-up failed.
    pub fn bind_callee(
        addr: SocketAddr,
        identity: &Identity,
        revocation: &Revocation,
    ) -> Result<Self, BindError> {
        let tls = |source| tls_error(identity, source);
        let rustls = pki::server_config(identity, &[Role::Controller], revocation.clone(), &[ALPN])
            .map_err(|error| tls(error.into()))?;
        let crypto =
            QuicServerConfig::try_from(Arc::new(rustls)).map_err(|error| tls(error.into()))?;
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        server
            .transport_config(Arc::new(callee_transport(mtu::ORDINARY)))
            .max_incoming(MAX_INCOMING)
            .incoming_buffer_size(INCOMING_BUFFER)
            .incoming_buffer_size_total(INCOMING_BUFFERS);
        Self::bind(addr, identity, revocation, Some(server), Readers::One)
    }

    fn bind(
        addr: SocketAddr,
        identity: &Identity,
        revocation: &Revocation,
        server: Option<quinn::ServerConfig>,
        readers: Readers,
    ) -> Result<Self, BindError> {
        let tls = |source| tls_error(identity, source);
        let rustls = pki::client_config(identity, revocation.clone(), &[ALPN])
            .map_err(|error| tls(error.into()))?;
        let crypto =
            QuicClientConfig::try_from(Arc::new(rustls)).map_err(|error| tls(error.into()))?;
        let mut client = quinn::ClientConfig::new(Arc::new(crypto));
        client.transport_config(Arc::new(caller_transport(mtu::ORDINARY, readers)));
        let endpoint = socket(addr)
            .and_then(|socket| {
                let mut config = match server {
                    Some(_) => known_after_a_restart(identity),
                    None => EndpointConfig::default(),
                };
                config.supported_versions(vec![QUIC]);
                let jumbo = config.max_udp_payload_size(mtu::LARGEST);
                jumbo.expect("it is within what QUIC allows");
                let socket = TokioRuntime.wrap_udp_socket(socket)?;
                // An agent has few links, and much to say on them.
                let socket: Arc<dyn AsyncUdpSocket> = match server {
                    None => GrowingBatches::new(socket),
                    Some(_) => socket,
                };
                let runtime = Arc::new(TokioRuntime);
                quinn::Endpoint::new_with_abstract_socket(config, server.clone(), socket, runtime)
            })
            .map_err(|source| BindError::Socket { addr, source })?;
        Ok(Self {
            readers,
            endpoint,
            client,
            server,
            not_after: identity.not_after(),
            revocation: revocation.clone(),
        })
    }

    /// Returns the address on which the socket was bound.
    ///
    /// # Errors
    /// The operating system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Returns who reads from the links that are dialled here.
    pub(crate) const fn readers(&self) -> Readers {
        self.readers
    }

    /// Returns until when a handshake with the best of peers could succeed.
    pub(crate) fn trusted_until(&self) -> OffsetDateTime {
        let list = self.revocation.believed_until();
        list.map_or(self.not_after, |list| list.min(self.not_after))
    }

    /// Starts a handshake with the node at `addr`, which must prove to be `server_name`.
    pub(crate) fn connect(
        &self,
        addr: SocketAddr,
        server_name: &str,
    ) -> Result<quinn::Connecting, quinn::ConnectError> {
        let mut config = self.client.clone();
        let payload = match self.endpoint.open_connections() {
            0..MANY_LINKS => mtu::largest_payload(addr),
            MANY_LINKS.. => mtu::ORDINARY,
        };
        if payload > mtu::ORDINARY {
            config.transport_config(Arc::new(caller_transport(payload, self.readers)));
        }
        self.endpoint.connect_with(config, addr, server_name)
    }

    /// Starts to judge a connection attempt.
    pub(crate) fn judge(
        &self,
        incoming: quinn::Incoming,
    ) -> Result<quinn::Connecting, quinn::ConnectionError> {
        let payload = mtu::largest_payload(incoming.remote_address());
        match &self.server {
            Some(server) if payload > mtu::ORDINARY => {
                let mut server = server.clone();
                server.transport_config(Arc::new(callee_transport(payload)));
                incoming.accept_with(Arc::new(server))
            }
            Some(_) | None => incoming.accept(),
        }
    }

    /// Waits for the next connection attempt; `None` when the endpoint is closed.
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped.
    pub(crate) async fn accept(&self) -> Option<quinn::Incoming> {
        self.endpoint.accept().await
    }

    /// Refuses new connections; those that are open go on.
    pub(crate) fn refuse_new(&self) {
        self.endpoint.set_server_config(None);
    }

    /// Closes every link and lets quinn's tasks send the news, without waiting for an answer.
    pub(crate) async fn farewell(&self, code: crate::close::CloseCode) {
        self.endpoint.close(code.number(), code.reason().as_bytes());
        for _ in 0..FAREWELL_TURNS {
            tokio::task::yield_now().await;
        }
    }

    /// Closes every link, and waits until the peers know or cannot be told.
    pub(crate) async fn close(&self, code: crate::close::CloseCode) {
        self.endpoint.close(code.number(), code.reason().as_bytes());
        self.endpoint.wait_idle().await;
    }
}

fn tls_error(identity: &Identity, source: Box<dyn std::error::Error + Send + Sync>) -> BindError {
    BindError::Tls {
        node: identity.node().clone(),
        source,
    }
}

/// Lets a node that was killed and started again tell the peers of its former links that it knows
/// nothing of them (a stateless reset, RFC 9000 §10.3.2), so that they dial again at once instead of
/// waiting for the idle limit. For that its connection ids and its reset tokens stem from its identity.
fn known_after_a_restart(identity: &Identity) -> EndpointConfig {
    let reset = identity.secret_for("mesosync stateless reset");
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &*reset)));
    let ids = identity.secret_for("mesosync connection ids");
    let (key, _) = ids.split_first_chunk().expect("32 bytes are more than 8");
    let key = u64::from_le_bytes(*key);
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(key)));
    config
}

fn socket(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    // Only a wish: the operating system caps it, and a smaller buffer is no error.
    for set in [Socket::set_recv_buffer_size, Socket::set_send_buffer_size] {
        if let Err(error) = set(&socket, SOCKET_BUFFER) {
            tracing::debug!(%error, "socket buffer stays at the system's size");
        }
    }
    if addr.is_ipv6() && addr.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

fn transport(payload: u16) -> TransportConfig {
    let mut config = TransportConfig::default();
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(payload);
    let idle = IdleTimeout::try_from(IDLE_LIMIT).expect("half a minute fits in a QUIC timeout");
    config
        .max_idle_timeout(Some(idle))
        .mtu_discovery_config(Some(discovery))
        .initial_rtt(INITIAL_RTT)
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(None);
    config
}

fn caller_transport(payload: u16, readers: Readers) -> TransportConfig {
    let mut config = transport(payload);
    let (of_stream, of_link) = match readers {
        Readers::One => (CALLER_STREAM_WINDOW, CALLER_LINK_WINDOW.into()),
        Readers::Many => (SHARED_STREAM_WINDOW, no_link_window()),
    };
    config
        .keep_alive_interval(Some(KEEP_ALIVE))
        .stream_receive_window(of_stream.into())
        .receive_window(of_link)
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        // The peer's hello, and nothing else.
        .max_concurrent_uni_streams(VarInt::from_u32(1));
    config
}

fn no_link_window() -> VarInt {
    VarInt::from_u64(NO_LINK_WINDOW).expect("it is less than 2^62")
}

fn callee_transport(payload: u16) -> TransportConfig {
    let mut config = transport(payload);
    config
        .stream_receive_window(CALLEE_STREAM_WINDOW.into())
        .receive_window(VarInt::MAX)
        .max_concurrent_bidi_streams(STREAMS_PER_LINK.into())
        .max_concurrent_uni_streams(VarInt::from_u32(0));
    config
}
