//! A peer that an agent should fear: QUIC by hand, with any identity, any TLS and any bytes.
//!
//! It judges nobody, so that what a handshake refuses was refused by the agent. Honest requests are
//! made by [`Peer::request`], for tests to bend.
//!
//! Every call waits for at most [`PATIENCE`]; what is late counts as hung and panics.

mod guise;
mod wire;

use std::{
    hash::{BuildHasher as _, RandomState},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

pub use guise::Guise;
use node::clock::now_ms;
use proto::{
    frame::{Frame, Hello},
    id::{Fingerprint, RunId},
    run::{Argv, Audience, Environment, Limits, OnLinkLoss, RunRequest, StdinMode, What, Word},
    text::Text,
};
use quinn::{Connection, ConnectionError, Endpoint};
use tokio::{
    runtime::{Handle, Runtime},
    sync::oneshot,
};
pub use wire::{Broken, Wire};

use crate::PATIENCE;

/// How long a peer that is dropped waits until its agent knows.
const GOODBYE: Duration = Duration::from_secs(1);

/// A connection to an agent, in the hands of a test.
#[derive(Debug)]
pub struct Peer {
    // Dropped first: without its engine nothing is sent any more.
    engine: Engine,
    connection: Connection,
    endpoint: Endpoint,
}

impl Peer {
    /// Dials `address` in a guise.
    ///
    /// The handshake of a client ends before the server has judged it, so an agent that refuses
    /// shows by [`Self::hello`] or [`Self::wait_closed`] at the latest.
    ///
    /// # Errors
    /// The agent refused, or does not answer.
    ///
    /// # Panics
    /// When no socket can be had.
    #[track_caller]
    pub fn dial(address: SocketAddr, guise: Guise) -> Result<Self, ConnectionError> {
        let engine = Engine::start();
        let config = guise.into_config();
        let dialled = engine.wait(async {
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let endpoint = match Endpoint::client(any) {
                Ok(endpoint) => endpoint,
                Err(error) => panic!("no socket for a peer: {error}"),
            };
            let (tls, name) = config;
            let connecting = match endpoint.connect_with(tls, address, &name) {
                Ok(connecting) => connecting,
                Err(error) => panic!("{address} cannot be dialled: {error}"),
            };
            connecting.await.map(|connection| (connection, endpoint))
        });
        dialled.map(|(connection, endpoint)| Self {
            engine,
            connection,
            endpoint,
        })
    }

    /// Dials `address` with the identity in a file, as an honest controller would.
    ///
    /// # Panics
    /// When the agent does not take it.
    #[must_use]
    #[track_caller]
    pub fn honest(address: SocketAddr, identity: &Path) -> Self {
        match Self::dial(address, Guise::of(identity)) {
            Ok(peer) => peer,
            Err(error) => panic!("{address} refuses {}: {error}", identity.display()),
        }
    }

    /// Waits for the agent's hello.
    ///
    /// # Errors
    /// The agent closed the link, or sent something else.
    #[track_caller]
    pub fn hello(&self) -> Result<Hello, Broken> {
        self.engine.wait(async {
            let recv = self.connection.accept_uni().await?;
            match wire::Reader::new(recv).next().await? {
                Some(Frame::Hello(hello)) => Ok(hello),
                other => panic!("no hello but {other:?}"),
            }
        })
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// The link is closed.
    #[track_caller]
    pub fn open(&self) -> Result<Wire, ConnectionError> {
        let (send, recv) = self.engine.wait(self.connection.open_bi())?;
        Ok(Wire::new(self.engine.handle.clone(), send, recv))
    }

    /// Opens a stream and sends `first` on it.
    ///
    /// # Panics
    /// When the link is closed.
    #[must_use]
    #[track_caller]
    pub fn ask(&self, first: &Frame) -> Wire {
        let mut wire = match self.open() {
            Ok(wire) => wire,
            Err(error) => panic!("no stream: {error}"),
        };
        if let Err(error) = wire.send_frame(first) {
            panic!("{:?} cannot be sent: {error}", first.kind());
        }
        wire
    }

    /// Asks for a run, and returns all frames of the answer.
    ///
    /// # Panics
    /// When the stream or the link breaks before the agent has ended it.
    #[must_use]
    #[track_caller]
    pub fn run(&self, request: &RunRequest) -> Vec<Frame> {
        let mut wire = self.ask(&Frame::Run(Box::new(request.clone())));
        match wire.rest() {
            Ok(frames) => frames,
            Err(error) => panic!("run {} has no end: {error}", request.id),
        }
    }

    /// Returns a request as an honest controller makes it now: a fresh id, no standard input, and
    /// half a second of grace.
    ///
    /// # Panics
    /// When `argv` is no command, or `agent` no name.
    #[must_use]
    #[track_caller]
    pub fn request(mesh: Fingerprint, agent: &str, argv: &[&str]) -> RunRequest {
        let words: Vec<Word> = argv.iter().map(|word| Word::from(*word)).collect();
        let (Ok(agent), Ok(argv)) = (agent.parse(), Argv::try_from(words)) else {
            panic!("no command, or no name of an agent: {argv:?} on {agent:?}")
        };
        RunRequest {
            id: fresh_id(),
            audience: Audience { mesh, agent },
            issued_at_ms: now_ms(),
            valid_for_ms: RunRequest::DEFAULT_VALID_FOR_MS,
            principal: Text::cut("a test"),
            what: What::Argv(argv),
            cwd: None,
            environment: Environment::default(),
            stdin: StdinMode::Closed,
            limits: Limits {
                grace_ms: 500,
                ..Limits::default()
            },
            on_link_loss: OnLinkLoss::End,
        }
    }

    /// Waits until the agent has closed the link, and returns why.
    #[must_use]
    #[track_caller]
    pub fn wait_closed(&self) -> ConnectionError {
        self.engine.wait(self.connection.closed())
    }

    /// Returns why the link is closed, if it is.
    #[must_use]
    pub fn closed(&self) -> Option<ConnectionError> {
        self.connection.close_reason()
    }

    /// Closes the link with `code`, and waits until the agent knows.
    pub fn close(self, code: u32) {
        self.connection.close(code.into(), b"closed by a test");
    }

    /// Goes away without a word, as a process that was killed or a cable that was cut: the agent
    /// notices by the idle limit alone, for which see [`Guise::idle_limit`].
    pub fn vanish(mut self) {
        self.engine.stop();
    }
}

impl Drop for Peer {
    /// Closes the link, and waits until that is said.
    fn drop(&mut self) {
        if self.engine.is_running() {
            self.connection.close(0_u32.into(), b"dropped");
            let said = async { tokio::time::timeout(GOODBYE, self.endpoint.wait_idle()).await };
            // An agent that is gone cannot be told.
            drop(self.engine.handle.block_on(said));
        }
    }
}

/// Returns a run id that nobody has used.
#[must_use]
pub fn fresh_id() -> RunId {
    // The keys of a hash map are as random as a test needs.
    let drawn = RandomState::new();
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&drawn.hash_one((1, SystemTime::now())).to_be_bytes());
    bytes[8..].copy_from_slice(&drawn.hash_one((2, SystemTime::now())).to_be_bytes());
    RunId::from_bytes(bytes)
}

/// The thread that moves packets while the test thinks.
#[derive(Debug)]
struct Engine {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    #[track_caller]
    fn start() -> Self {
        let runtime = match tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        {
            Ok(runtime) => runtime,
            Err(error) => panic!("no runtime for a peer: {error}"),
        };
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let drive = |runtime: Runtime| drop(runtime.block_on(stopped));
        let thread = thread::spawn(move || drive(runtime));
        Self {
            handle,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    #[track_caller]
    fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        wait(&self.handle, what)
    }

    const fn is_running(&self) -> bool {
        self.stop.is_some()
    }

    /// Ends the thread, with all its tasks.
    fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there has been shown already.
            drop(thread.join());
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}

#[track_caller]
fn wait<T>(handle: &Handle, what: impl Future<Output = T>) -> T {
    let limited = async { tokio::time::timeout(PATIENCE, what).await };
    match handle.block_on(limited) {
        Ok(value) => value,
        Err(_) => panic!("nothing from the other end within {PATIENCE:?}"),
    }
}
