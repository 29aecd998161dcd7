//! What the command line and the daemon say to each other.
//!
//! One request a connection. A frame is `kind: u8`, `length: u32` (big endian) and a body: raw bytes
//! for data, postcard for the rest. Both ends are one program, of one version or strangers: a
//! greeting with another version is declined, and then the command line works alone. So the bodies
//! may change with [`VERSION`], and need no golden bytes.
//!
//! ```text
//! client  Hello, and at once Run, Agents, … ─►
//!         ◄─ Welcome and the answer | Declined
//! ```
//!
//! **Invariant:** no bytes make the decoder panic, or hold more than one frame of [`MAX_BODY`].
//! Guarded by `any_bytes_give_frames_or_an_error`.

use std::{fmt, net::SocketAddr, os::unix::ffi::OsStrExt as _, path::Path, time::Duration};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use node::discovery::fixed::KnownAddress;
use proto::{
    capability::Capabilities,
    frame::Hello as AgentHello,
    id::{NodeName, RunId},
    run::{Attached, Earlier, Ended, Outcome, Refusal, Started},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Status;
use crate::{orchestrator::StartRun, told::Told};

/// The version of this protocol, to be raised with every change of a body.
pub const VERSION: u32 = 2;

/// The longest body, in bytes: a listing of 10,000 agents, or a request as long as an agent takes it.
pub const MAX_BODY: usize = 4 << 20;

/// The most output that one frame carries.
pub const CHUNK: usize = 64 << 10;

/// Bytes before each body.
const HEADER_LEN: usize = 5;

/// What a client says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Request {
    /// First: who asks.
    Hello(Hello),
    /// Run this.
    Run(Box<Wish>),
    /// Who answers now?
    Agents(Look),
    /// What is this host?
    Describe(NodeName, Look),
    /// End this run.
    Cancel(CancelRun),
    /// How are you?
    Status,
    /// Read your files again.
    Reload,
    /// Stop.
    Stop,
}

/// What the daemon says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Reply {
    /// First: ask on.
    Welcome,
    /// Instead, and last: do it yourself.
    Declined(Declined),
    /// The wish is with the agent.
    Asked,
    /// Last: it came to nothing, and why.
    Failed(Told),
    /// The process was started.
    Started(Started),
    /// The run id was used before.
    Earlier(Earlier),
    /// The output goes on here, without so many bytes before.
    Attached(Attached, u64),
    /// The link to the agent is lost for now.
    Away,
    /// Last: how the run ended.
    Over(Box<Over>),
    /// Last: what came of a cancellation.
    Cancelled(CancelAnswer),
    /// Last: who answered.
    Answers(Answers),
    /// Last: the agent's word.
    Capabilities(Box<Capabilities>),
    /// Last: how the daemon is.
    Status(Box<Status>),
    /// Last: it is done.
    Done,
    /// Last: the daemon stops, and what was asked for goes on without it.
    Stopping,
}

/// What arrives: a message of the other end, or a piece of a stream.
#[derive(Debug, Clone)]
pub enum Frame<M> {
    /// A [`Request`] or a [`Reply`].
    Message(M),
    /// Bytes of a run.
    Data(Data, Bytes),
}

/// Which stream of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The number of a frame that carries a message.
const MESSAGE: u8 = 0;

impl Data {
    const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    const fn number(self) -> u8 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
        }
    }
}

/// Who asks, and what it would do itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// See [`VERSION`].
    pub version: u32,
    /// The release.
    pub release: String,
    /// The folder it takes its files from.
    pub home: RawPath,
    /// The identity file it would use.
    pub identity: Stamp,
    /// Whether it was told to look for agents on the LAN, or not to.
    pub mdns: Option<bool>,
}

/// A path, whatever bytes it is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawPath(Vec<u8>);

impl From<&Path> for RawPath {
    fn from(path: &Path) -> Self {
        Self(path.as_os_str().as_bytes().into())
    }
}

impl RawPath {
    /// Tells whether it names nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for RawPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&proto::text::escaped(&String::from_utf8_lossy(&self.0)))
    }
}

/// Which file, and which state of it: enough to tell that two programs would read the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Device and inode; zero where there is no file.
    pub file: (u64, u64),
    /// Length, in bytes.
    pub len: u64,
    /// Last change, in nanoseconds since 1970.
    pub changed_ns: i128,
}

/// Why the daemon does not do it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Declined {
    /// It speaks another version.
    #[error("it is another version: {release}")]
    Version {
        /// Its own.
        release: String,
    },
    /// It belongs to another user.
    #[error("it serves another user")]
    User,
    /// It uses another folder, with another configuration.
    #[error("it uses another folder: {0}")]
    Home(RawPath),
    /// It is somebody else in the mesh, or of another mesh.
    #[error("it uses another identity, or another state of it")]
    Identity,
    /// It looks for agents elsewhere.
    #[error("it was told otherwise about mDNS")]
    Mdns,
    /// It stops.
    #[error("it is stopping")]
    Stopping,
    /// It serves as many as it can.
    #[error("it serves {0} clients already")]
    Busy(usize),
    /// Its files are of no use as they are now.
    #[error("its files cannot be read again: {0}")]
    Unreadable(String),
    /// Its identity is over.
    #[error("its identity is over")]
    Ended,
}

/// Where and for how long to look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// For how long.
    pub window: Duration,
    /// Addresses that the operator gave.
    pub addresses: Vec<(NodeName, SocketAddr)>,
}

impl Look {
    /// Returns the addresses as the orchestrator takes them.
    pub fn known(&self) -> impl Iterator<Item = KnownAddress> + '_ {
        known(&self.addresses)
    }
}

/// A run that is wanted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Wish {
    /// Which.
    pub start: StartRun,
    /// Addresses that the operator gave.
    pub addresses: Vec<(NodeName, SocketAddr)>,
}

impl Wish {
    /// Returns the addresses as the orchestrator takes them.
    pub fn known(&self) -> impl Iterator<Item = KnownAddress> + '_ {
        known(&self.addresses)
    }
}

fn known(addresses: &[(NodeName, SocketAddr)]) -> impl Iterator<Item = KnownAddress> + '_ {
    addresses.iter().map(|(name, addr)| KnownAddress {
        name: name.clone(),
        addr: *addr,
    })
}

/// A run that is to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelRun {
    /// Which.
    pub run: RunId,
    /// On which agent.
    pub target: NodeName,
    /// Time between asking its processes to end and killing them.
    pub grace: Duration,
}

/// What came of a cancellation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CancelAnswer {
    /// It has ended.
    Ended(Ended),
    /// The agent does not do it.
    Refused(Refusal),
    /// The agent did not say.
    Failed(String),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Over {
    /// How, as far as is known.
    pub outcome: Outcome,
    /// The agent's account.
    pub ended: Option<Ended>,
    /// What broke it.
    pub broken: Option<String>,
    /// Why the agent let nobody in.
    pub not_let_in: Option<Told>,
}

/// Who answered a look-up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// Each agent.
    pub agents: Vec<Answer>,
    /// Why some mechanism could not look.
    pub blind: Vec<String>,
}

/// An agent that answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Who.
    pub name: NodeName,
    /// Where.
    pub addr: SocketAddr,
    /// Whether it was found by mDNS.
    pub by_mdns: bool,
    /// The round trip.
    pub rtt: Duration,
    /// What it said of itself.
    pub hello: AgentHello,
}

/// Appends a message to `out`.
///
/// # Errors
/// It is longer than [`MAX_BODY`], or has no form; `out` is left as it was.
pub fn encode<M: Serialize>(message: &M, out: &mut BytesMut) -> Result<(), EncodeError> {
    struct Out<'a>(&'a mut BytesMut);
    impl Extend<u8> for Out<'_> {
        fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
            bytes.into_iter().for_each(|byte| self.0.put_u8(byte));
        }
    }
    let start = out.len();
    out.put_bytes(0, HEADER_LEN);
    let encoded = postcard::to_extend(message, Out(out));
    if let Err(source) = encoded.map(|Out(_)| ()) {
        out.truncate(start);
        return Err(EncodeError::Form(source));
    }
    let len = out.len() - start - HEADER_LEN;
    if len > MAX_BODY {
        out.truncate(start);
        return Err(EncodeError::TooLong { len });
    }
    out[start..start + HEADER_LEN].copy_from_slice(&header(MESSAGE, len));
    Ok(())
}

/// Appends bytes of a run to `out`, in as many frames as they need.
pub fn encode_data(data: Data, bytes: &[u8], out: &mut BytesMut) {
    for piece in bytes.chunks(CHUNK) {
        out.put_slice(&header(data.number(), piece.len()));
        out.put_slice(piece);
    }
}

fn header(kind: u8, len: usize) -> [u8; HEADER_LEN] {
    let len = u32::try_from(len).expect("bodies are cut to a few megabytes");
    let [a, b, c, d] = len.to_be_bytes();
    [kind, a, b, c, d]
}

/// Takes the first frame out of `input`; `None` while it is not complete.
///
/// # Errors
/// The bytes are no frame of the other end. The connection is of no use afterwards.
pub fn decode<M: DeserializeOwned>(input: &mut BytesMut) -> Result<Option<Frame<M>>, Malformed> {
    let Some((&[kind, ref length @ ..], _)) = input.split_first_chunk::<HEADER_LEN>() else {
        return Ok(None);
    };
    let len = u32::from_be_bytes(*length) as usize;
    let data = Data::ALL.into_iter().find(|data| data.number() == kind);
    let most = match data {
        Some(_) => CHUNK,
        None if kind == MESSAGE => MAX_BODY,
        None => return Err(Malformed::Kind(kind)),
    };
    if len > most {
        return Err(Malformed::TooLong(len));
    }
    if input.len() < HEADER_LEN + len {
        return Ok(None);
    }
    input.advance(HEADER_LEN);
    let body = input.split_to(len).freeze();
    match data {
        Some(data) => Ok(Some(Frame::Data(data, body))),
        None => message(&body).map(|message| Some(Frame::Message(message))),
    }
}

fn message<M: DeserializeOwned>(body: &[u8]) -> Result<M, Malformed> {
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        Ok(_) | Err(_) => Err(Malformed::Body),
    }
}

/// A message that cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// It is too long.
    #[error("{len} bytes are more than the {MAX_BODY} that a message may have")]
    TooLong {
        /// How long it would be.
        len: usize,
    },
    /// Something in it cannot be told in bytes.
    #[error("put the message into bytes")]
    Form(#[source] postcard::Error),
}

/// Bytes that the other end cannot have sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A number that this version does not know.
    #[error("unknown frame number {0}")]
    Kind(u8),
    /// A body longer than its kind allows; nothing of it was read.
    #[error("a frame of {0} bytes")]
    TooLong(usize),
    /// A body that is no message.
    #[error("a malformed message")]
    Body,
}

#[cfg(test)]
mod tests;
