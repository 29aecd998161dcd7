//! An agent with a certificate of the mesh that answers questions about files with any bytes.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    thread::{self, JoinHandle},
};

use bytes::{Bytes, BytesMut};
use pki::{Identity, Revocation, StaleCrl};
use proto::{
    codec::{Decoder, encode},
    file::FileAction,
    frame::{ALPN, Frame},
    id::Role,
};
use quinn::{Connection, Endpoint, RecvStream, SendStream, crypto::rustls::QuicServerConfig};
use scenarios::Mesh;
use tokio::{sync::oneshot, task::JoinSet};

use crate::files::AGENT;

/// What it answers.
type Answer = Arc<dyn Fn(&FileAction) -> Vec<u8> + Send + Sync>;

/// The agent; it is gone when this is dropped.
pub(super) struct Liar {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Liar {
    /// Starts an agent of `mesh` that answers each question with these bytes, and then ends the
    /// stream.
    pub(super) fn start(
        mesh: &Mesh,
        answer: impl Fn(&FileAction) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let file = mesh.issue_agent(AGENT);
        let identity = Identity::load(&file, time::OffsetDateTime::now_utc()).unwrap();
        let nothing_revoked = Revocation::none_known(StaleCrl::Refuse);
        let tls = pki::server_config(&identity, &[Role::Controller], nothing_revoked, &[ALPN]);
        let crypto = QuicServerConfig::try_from(Arc::new(tls.unwrap())).unwrap();
        let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let endpoint = {
            let _entered = runtime.enter();
            Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap()
        };
        let address = endpoint.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(endpoint, Arc::new(answer)) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn serve(endpoint: Endpoint, answer: Answer) {
    let mut links = JoinSet::new();
    while let Some(incoming) = endpoint.accept().await {
        let answer = Arc::clone(&answer);
        links.spawn(async move {
            if let Ok(connection) = incoming.await {
                serve_link(connection, answer).await;
            }
        });
    }
}

async fn serve_link(connection: Connection, answer: Answer) {
    let mut streams = JoinSet::new();
    while let Ok((send, recv)) = connection.accept_bi().await {
        streams.spawn(serve_stream(send, recv, Arc::clone(&answer)));
    }
}

/// An error of a stream means that the controller has had enough.
async fn serve_stream(mut send: SendStream, mut recv: RecvStream, answer: Answer) {
    let mut decoder = Decoder::default();
    while let Ok(Some(chunk)) = recv.read_chunk(1 << 16, true).await {
        let mut input: Bytes = chunk.bytes;
        if let Ok(Some(Frame::File(request))) = decoder.next(&mut input) {
            drop(send.write_all(&answer(&request.action)).await);
            drop(send.finish());
            drop(send.stopped().await);
            return;
        }
    }
}

/// Returns the bytes of frames.
pub(super) fn bytes_of(frames: &[Frame]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    for frame in frames {
        encode(frame, &mut bytes).unwrap();
    }
    bytes.to_vec()
}
