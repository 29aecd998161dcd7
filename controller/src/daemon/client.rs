//! The command line's end: hands its wishes to a daemon, where one serves it.

mod running;

use std::{
    net::{Shutdown, SocketAddr},
    os::fd::AsFd as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::BytesMut;
use proto::{capability::Capabilities, id::NodeName};
use tokio::{
    net::UnixStream,
    time::{Instant, timeout, timeout_at},
};

pub use self::running::{Broken, CancelError, Canceller, Running};
use super::{
    Status,
    place::{ConnectError, Place},
    protocol::{
        Answers, Declined, EncodeError, Frame, Hello, Look, Reply, Request, VERSION, Wish, encode,
    },
    stream::{ReadError, Reader, write_all},
};
use crate::{orchestrator::StartRun, told::Told};

/// How long a daemon may take to greet, which it does at once unless it is stopped.
const PATIENCE: Duration = Duration::from_secs(2);

/// A daemon that serves this program.
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
    /// The connection that showed it, for the first request. Never locked across an await.
    first: Mutex<Option<Connection>>,
    addresses: Vec<(NodeName, SocketAddr)>,
}

/// How to reach the daemon once more.
#[derive(Debug)]
struct Shared {
    place: Place,
    hello: Hello,
}

/// One connection. The greeting leaves together with the request, which saves a turn.
#[derive(Debug)]
struct Connection {
    stream: Arc<UnixStream>,
    reader: Reader<Reply>,
    /// What is still to be sent.
    out: BytesMut,
    /// Whether the daemon has let us in.
    welcome: bool,
    /// When it was asked.
    asked: Instant,
}

/// Why a daemon did not do it. Nothing was asked of an agent then.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It is not to be used.
    #[error(transparent)]
    Connect(ConnectError),
    /// It does not want to.
    #[error("the daemon declines: {0}")]
    Declined(Declined),
    /// It is not there, or left before it answered.
    #[error("the daemon is gone")]
    Gone,
    /// It does not say a word. Nothing comes of what it was asked for.
    #[error("the daemon{} does not answer within {} s; it may be stopped", of_pid(*.pid), PATIENCE.as_secs())]
    Silent {
        /// Its process, where the system tells.
        pid: Option<i32>,
    },
    /// It is not what it seemed to be.
    #[error(transparent)]
    Read(ReadError),
    /// It cannot be asked that.
    #[error("the request cannot be put to the daemon")]
    Encode(#[source] EncodeError),
    /// It tried, and this came of it.
    #[error(transparent)]
    Told(Told),
}

impl Hello {
    /// Returns the greeting of a program that wants something which needs no mesh.
    #[must_use]
    pub fn of_operator() -> Self {
        Self {
            version: VERSION,
            release: env!("CARGO_PKG_VERSION").into(),
            home: super::protocol::RawPath::default(),
            identity: super::protocol::Stamp::default(),
            mdns: None,
        }
    }
}

impl Client {
    /// Connects to the daemon at `place`. Whether it serves this program shows with the first request.
    ///
    /// # Errors
    /// There is none, or it is not to be trusted.
    pub async fn connect(
        place: Place,
        hello: Hello,
        addresses: Vec<(NodeName, SocketAddr)>,
    ) -> Result<Self, AskError> {
        let shared = Arc::new(Shared { place, hello });
        let first = shared.connect().await?;
        Ok(Self {
            shared,
            first: Mutex::new(Some(first)),
            addresses,
        })
    }

    /// Asks for a run, and takes that back if `unwanted` resolves before it is on its way.
    ///
    /// # Errors
    /// The daemon was not asked, or says why nothing was started.
    pub async fn start(
        &self,
        start: StartRun,
        unwanted: impl Future<Output = ()>,
    ) -> Result<Running, AskError> {
        let (id, target) = (start.id, start.target.clone());
        let wish = Wish {
            start,
            addresses: self.addresses.clone(),
        };
        let connection = self.ask(&Request::Run(Box::new(wish))).await?;
        Running::begin(id, target, connection, Arc::clone(&self.shared), unwanted).await
    }

    /// Asks who answers within `window`.
    ///
    /// # Errors
    /// The daemon does not say.
    pub async fn agents(&self, window: Duration) -> Result<Answers, AskError> {
        let mut connection = self.ask(&Request::Agents(self.look(window))).await?;
        let answer = connection.answer().await?;
        let Reply::Answers(answers) = answer else {
            return Err(unexpected(answer));
        };
        Ok(answers)
    }

    /// Asks what the host of `name` is and has.
    ///
    /// # Errors
    /// The daemon does not say.
    pub async fn describe(
        &self,
        name: &NodeName,
        window: Duration,
    ) -> Result<Capabilities, AskError> {
        let request = Request::Describe(name.clone(), self.look(window));
        let mut connection = self.ask(&request).await?;
        let answer = connection.answer().await?;
        let Reply::Capabilities(document) = answer else {
            return Err(unexpected(answer));
        };
        Ok(*document)
    }

    /// Asks how the daemon is.
    ///
    /// # Errors
    /// It does not say.
    pub async fn status(&self) -> Result<Status, AskError> {
        let mut connection = self.ask(&Request::Status).await?;
        let answer = connection.answer().await?;
        let Reply::Status(status) = answer else {
            return Err(unexpected(answer));
        };
        Ok(*status)
    }

    /// Has the daemon read its files again.
    ///
    /// # Errors
    /// They are of no use, or it does not say.
    pub async fn reload(&self) -> Result<(), AskError> {
        self.done(&Request::Reload).await
    }

    /// Has the daemon stop, and waits until it has let go of everything.
    ///
    /// # Errors
    /// It does not.
    pub async fn stop(&self) -> Result<(), AskError> {
        self.done(&Request::Stop).await
    }

    async fn done(&self, request: &Request) -> Result<(), AskError> {
        let mut connection = self.ask(request).await?;
        let answer = connection.answer().await?;
        let Reply::Done = answer else {
            return Err(unexpected(answer));
        };
        Ok(())
    }

    fn look(&self, window: Duration) -> Look {
        Look {
            window,
            addresses: self.addresses.clone(),
        }
    }

    async fn ask(&self, request: &Request) -> Result<Connection, AskError> {
        let first = {
            let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
            first.take()
        };
        let mut connection = match first {
            Some(connection) => connection,
            None => self.shared.connect().await?,
        };
        connection.say(request).await?;
        Ok(connection)
    }
}

impl Shared {
    async fn connect(&self) -> Result<Connection, AskError> {
        let stream = self.place.connect().await.map_err(|error| match error {
            ConnectError::Crowded { .. } => AskError::Silent { pid: None },
            error @ (ConnectError::NotOurs { .. }
            | ConnectError::Foreign { .. }
            | ConnectError::System { .. }) => AskError::Connect(error),
        })?;
        let stream = Arc::new(stream.ok_or(AskError::Gone)?);
        let reader = Reader::new(Arc::clone(&stream));
        let mut out = BytesMut::new();
        let hello = Request::Hello(self.hello.clone());
        encode(&hello, &mut out).map_err(AskError::Encode)?;
        Ok(Connection {
            stream,
            reader,
            out,
            welcome: false,
            asked: Instant::now(),
        })
    }
}

impl Connection {
    async fn say(&mut self, request: &Request) -> Result<(), AskError> {
        encode(request, &mut self.out).map_err(AskError::Encode)?;
        self.asked = Instant::now();
        let sent = write_all(&self.stream, &mut self.out);
        match timeout(PATIENCE, sent).await {
            // What it said before it left is still to be read.
            Ok(_) => Ok(()),
            Err(_) => Err(self.silent()),
        }
    }

    fn silent(&self) -> AskError {
        let peer = self.stream.peer_cred().ok();
        let pid = peer.and_then(|peer| peer.pid());
        AskError::Silent { pid }
    }

    /// Leaves a daemon that has not let us in, so that it does nothing of what it was asked for.
    async fn leave(&mut self) -> AskError {
        self.close();
        // It sees the end before it does anything, unless it woke up just now and had said so.
        if let Ok(Ok(None)) = timeout(Duration::ZERO, self.greeting()).await {
            drop(timeout(PATIENCE, self.message()).await);
        }
        self.silent()
    }

    /// Tells the daemon that nothing more is wanted of it, and leaves it a word.
    fn close(&self) {
        let closed = self.stream.as_fd().try_clone_to_owned().and_then(|stream| {
            std::os::unix::net::UnixStream::from(stream).shutdown(Shutdown::Write)
        });
        if let Err(error) = closed {
            tracing::debug!(%error, "the daemon is gone, or was told already");
        }
    }

    /// Returns what the daemon answers to the request.
    ///
    /// # Errors
    /// It does not greet in time, or leaves.
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped, unless it was about to give up.
    async fn answer(&mut self) -> Result<Reply, AskError> {
        if !self.welcome {
            match timeout_at(self.asked + PATIENCE, self.greeting()).await {
                Ok(Ok(None)) => {}
                Ok(Ok(Some(reply))) => return Ok(reply),
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(self.leave().await),
            }
        }
        self.message().await
    }

    /// Waits to be let in; returns what the daemon says instead.
    async fn greeting(&mut self) -> Result<Option<Reply>, AskError> {
        let reply = self.message().await?;
        if let Reply::Welcome = reply {
            self.welcome = true;
            return Ok(None);
        }
        Ok(Some(reply))
    }

    async fn message(&mut self) -> Result<Reply, AskError> {
        match self.reader.next().await.map_err(AskError::Read)? {
            Some(Frame::Message(reply)) => Ok(reply),
            Some(Frame::Data(..)) | None => Err(AskError::Gone),
        }
    }
}

fn of_pid(pid: Option<i32>) -> String {
    pid.map(|pid| format!(" with pid {pid}"))
        .unwrap_or_default()
}

/// Returns what follows from an answer that gives nothing of what was asked for.
fn unexpected(reply: Reply) -> AskError {
    match reply {
        Reply::Failed(told) => AskError::Told(told),
        Reply::Declined(declined) => AskError::Declined(declined),
        Reply::Stopping => AskError::Declined(Declined::Stopping),
        Reply::Welcome
        | Reply::Asked
        | Reply::Started(_)
        | Reply::Earlier(_)
        | Reply::Attached(..)
        | Reply::Away
        | Reply::Over(_)
        | Reply::Cancelled(_)
        | Reply::Answers(_)
        | Reply::Capabilities(_)
        | Reply::Status(_)
        | Reply::Done => AskError::Gone,
    }
}
