//! What both halves agree on: the questions on a stream, and how QUIC is set up.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use quinn::{EndpointConfig, ServerConfig, TokioRuntime, TransportConfig};
use socket2::{Domain, Protocol, Socket, Type};

/// The application protocol of the benchmark.
pub(crate) const ALPN: &[u8] = b"quinn-peer";

/// The name of the server in its certificate.
pub(crate) const SERVER: &str = "server.bench.internal";

/// The length of an echo, question and answer alike: about that of a small command.
pub(crate) const ECHO_LEN: usize = 100;

/// A question on a stream, sent as one byte and, for the bulk, eight bytes of length.
pub(crate) mod ask {
    pub(crate) const ECHO: u8 = b'e';
    pub(crate) const BULK: u8 = b'b';
    pub(crate) const SPAWN: u8 = b's';
}

/// Opens an endpoint on the loopback with socket buffers fit for bulk data.
pub(crate) fn endpoint(server: Option<ServerConfig>) -> anyhow::Result<quinn::Endpoint> {
    let address: SocketAddr = ([127, 0, 0, 1], 0).into();
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    // The kernel grants what its limit allows.
    socket.set_recv_buffer_size(7 << 20)?;
    socket.set_send_buffer_size(7 << 20)?;
    socket.bind(&address.into())?;
    quinn::Endpoint::new(
        EndpointConfig::default(),
        server,
        socket.into(),
        Arc::new(TokioRuntime),
    )
    .context("open an endpoint")
}

/// quinn's defaults, but for windows that one fast stream needs.
pub(crate) fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    if std::env::var_os("QUINN_PEER_DEFAULTS").is_none() {
        transport.stream_receive_window((8_u32 << 20).into());
        transport.send_window(8 << 20);
    }
    transport.keep_alive_interval(Some(Duration::from_secs(5)));
    Arc::new(transport)
}
