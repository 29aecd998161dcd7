//! The one registry of frames: every message of the mesh, its number and its bounds.
//!
//! A frame is `kind: u8`, `length: u32` (big endian), and a body of that length. Control frames
//! carry a postcard body; data frames carry raw bytes. The kind is written by hand and not by
//! postcard, because postcard numbers enum variants by *position*: numbers here are explicit,
//! append-only and never reused. postcard is not self-describing either, so a new optional field
//! is a new frame.
//!
//! **Invariant:** every frame has golden bytes, in `tests/wire/golden.rs`; the exhaustive match
//! there does not compile for a frame that lacks them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    capability::Capabilities,
    file::{Attributes, Entry, FileRefusal, FileRequest, Start, Sum},
    id::RunId,
    run::{Attach, Attached, Earlier, Ended, Refusal, RunRequest, Started},
    text::Text,
};

/// The application protocol that both ends must offer (RFC 7301): name and version.
///
/// A node of another version shares no protocol with this one, and both ends say so.
pub const ALPN: &[u8] = b"mesosync/1";

/// The longest body of any frame, in bytes.
///
/// A run's request must hold a script or argument list as long as the platforms take (Linux limits
/// one word to 128 KiB), and nothing that a peer claims may make us allocate more.
pub const MAX_FRAME_LEN: u32 = 1 << 20;

/// The longest body of a control frame other than a run's request, in bytes.
const MAX_CONTROL_LEN: u32 = 64 << 10;

/// The number of a frame on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum FrameKind {
    /// See [`Frame::Hello`].
    Hello = 0,
    /// See [`Frame::Run`].
    Run = 1,
    /// See [`Frame::Stdin`].
    Stdin = 2,
    /// See [`Frame::StdinEnd`].
    StdinEnd = 3,
    /// See [`Frame::Started`].
    Started = 4,
    /// See [`Frame::Stdout`].
    Stdout = 5,
    /// See [`Frame::Stderr`].
    Stderr = 6,
    /// See [`Frame::Ended`].
    Ended = 7,
    /// See [`Frame::Cancel`].
    Cancel = 8,
    /// See [`Frame::Refused`].
    Refused = 9,
    /// See [`Frame::AskCapabilities`].
    AskCapabilities = 10,
    /// See [`Frame::Capabilities`].
    Capabilities = 11,
    /// See [`Frame::Earlier`].
    Earlier = 12,
    /// See [`Frame::Attach`].
    Attach = 13,
    /// See [`Frame::Attached`].
    Attached = 14,
    /// See [`Frame::Probe`].
    Probe = 15,
    // 16 is free.
    /// See [`Frame::Resize`].
    Resize = 17,
    /// See [`Frame::File`].
    File = 20,
    /// See [`Frame::FileFound`].
    FileFound = 21,
    /// See [`Frame::FileHeld`].
    FileHeld = 22,
    /// See [`Frame::FileStart`].
    FileStart = 23,
    /// See [`Frame::FileBytes`].
    FileBytes = 24,
    /// See [`Frame::FileEnd`].
    FileEnd = 25,
    /// See [`Frame::FileEntry`].
    FileEntry = 26,
    /// See [`Frame::FileDone`].
    FileDone = 27,
    /// See [`Frame::FileRefused`].
    FileRefused = 28,
}

impl FrameKind {
    /// Every kind, in the order of the numbers.
    pub const ALL: [Self; 26] = [
        Self::Hello,
        Self::Run,
        Self::Stdin,
        Self::StdinEnd,
        Self::Started,
        Self::Stdout,
        Self::Stderr,
        Self::Ended,
        Self::Cancel,
        Self::Refused,
        Self::AskCapabilities,
        Self::Capabilities,
        Self::Earlier,
        Self::Attach,
        Self::Attached,
        Self::Probe,
        Self::Resize,
        Self::File,
        Self::FileFound,
        Self::FileHeld,
        Self::FileStart,
        Self::FileBytes,
        Self::FileEnd,
        Self::FileEntry,
        Self::FileDone,
        Self::FileRefused,
    ];

    /// Returns the kind with this number, if there is one.
    #[must_use]
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// Returns the longest body that a frame of this kind may have, in bytes.
    #[must_use]
    pub const fn max_len(self) -> u32 {
        match self {
            Self::Run | Self::Stdin | Self::Stdout | Self::Stderr | Self::FileBytes => {
                MAX_FRAME_LEN
            }
            Self::StdinEnd | Self::AskCapabilities | Self::Probe | Self::FileDone => 0,
            Self::Hello
            | Self::Started
            | Self::Ended
            | Self::Cancel
            | Self::Refused
            | Self::Capabilities
            | Self::Earlier
            | Self::Attach
            | Self::Attached
            | Self::Resize
            | Self::File
            | Self::FileFound
            | Self::FileHeld
            | Self::FileStart
            | Self::FileEnd
            | Self::FileEntry
            | Self::FileRefused => MAX_CONTROL_LEN,
        }
    }

    /// Tells whether the body is raw bytes, handed on piece by piece as they arrive.
    #[must_use]
    pub const fn is_data(self) -> bool {
        match self {
            Self::Stdin | Self::Stdout | Self::Stderr | Self::FileBytes => true,
            Self::Hello
            | Self::Run
            | Self::StdinEnd
            | Self::Started
            | Self::Ended
            | Self::Cancel
            | Self::Refused
            | Self::AskCapabilities
            | Self::Capabilities
            | Self::Earlier
            | Self::Attach
            | Self::Attached
            | Self::Probe
            | Self::Resize
            | Self::File
            | Self::FileFound
            | Self::FileHeld
            | Self::FileStart
            | Self::FileEnd
            | Self::FileEntry
            | Self::FileDone
            | Self::FileRefused => false,
        }
    }
}

/// A message between two nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Callee, on a stream of its own: this link is up, and this is what serves it.
    Hello(Hello),
    /// Caller, first on its stream: run this.
    Run(Box<RunRequest>),
    /// Caller: bytes for the process's standard input.
    Stdin(Bytes),
    /// Caller: no more standard input.
    StdinEnd,
    /// Callee: accepted, durably noted and started.
    Started(Started),
    /// Callee: bytes of standard output, in order.
    Stdout(Bytes),
    /// Callee: bytes of standard error, in order.
    Stderr(Bytes),
    /// Callee, last on its stream: how the run ended.
    Ended(Ended),
    /// Caller, first on a stream of its own: end a run and all its processes. Answered by
    /// [`Frame::Ended`] when that is done or was done before. An id that was never accepted is given
    /// up, so that it never will be: that is answered by [`Frame::Refused`].
    ///
    /// A stream of its own, so that a cancellation never waits behind standard input that the
    /// process does not read, nor its acknowledgement behind output that the caller does not read.
    Cancel(Cancel),
    /// Callee, last on its stream: no process was started, and why.
    Refused(Refusal),
    /// Caller, first on its stream: describe yourself.
    AskCapabilities,
    /// Callee, last on its stream: what the host is and has.
    Capabilities(Box<Capabilities>),
    /// Callee: this id was accepted before; [`Frame::Attached`] follows, and what is kept of the first
    /// run.
    Earlier(Earlier),
    /// Caller, first on its stream: let me hear a run that was accepted before. Answered by
    /// [`Frame::Attached`], the output from there on, and [`Frame::Ended`]; or by [`Frame::Refused`].
    Attach(Attach),
    /// Callee: where the output that follows begins.
    Attached(Attached),
    /// Caller, first on a stream of its own: are you there? Answered by [`Frame::Hello`].
    Probe,
    /// Caller: the terminal of the run has this size from now on. Legal only while a run's standard
    /// input is a terminal and has not ended.
    Resize(Resize),
    /// Caller, first on a stream of its own: do this with your files; see [`crate::file`].
    File(Box<FileRequest>),
    /// Callee: what lies under a name.
    FileFound(Attributes),
    /// Callee, for a put: what it has of this copy already.
    FileHeld(Sum),
    /// Sender of content: where it goes on.
    FileStart(Start),
    /// Sender of content: bytes of a file, in order.
    FileBytes(Bytes),
    /// Sender of content: that was all, and this is what all of it amounts to.
    FileEnd(Sum),
    /// Callee: one file of a folder that is listed.
    FileEntry(Box<Entry>),
    /// Callee, last on its stream: it is done, and will outlast a power cut.
    FileDone,
    /// Callee, last on its stream: it is not done, and why.
    FileRefused(Box<FileRefusal>),
}

impl Frame {
    /// Returns the number under which this frame travels.
    #[must_use]
    pub const fn kind(&self) -> FrameKind {
        match self {
            Self::Hello(_) => FrameKind::Hello,
            Self::Run(_) => FrameKind::Run,
            Self::Stdin(_) => FrameKind::Stdin,
            Self::StdinEnd => FrameKind::StdinEnd,
            Self::Started(_) => FrameKind::Started,
            Self::Stdout(_) => FrameKind::Stdout,
            Self::Stderr(_) => FrameKind::Stderr,
            Self::Ended(_) => FrameKind::Ended,
            Self::Cancel(_) => FrameKind::Cancel,
            Self::Refused(_) => FrameKind::Refused,
            Self::AskCapabilities => FrameKind::AskCapabilities,
            Self::Capabilities(_) => FrameKind::Capabilities,
            Self::Earlier(_) => FrameKind::Earlier,
            Self::Attach(_) => FrameKind::Attach,
            Self::Attached(_) => FrameKind::Attached,
            Self::Probe => FrameKind::Probe,
            Self::Resize(_) => FrameKind::Resize,
            Self::File(_) => FrameKind::File,
            Self::FileFound(_) => FrameKind::FileFound,
            Self::FileHeld(_) => FrameKind::FileHeld,
            Self::FileStart(_) => FrameKind::FileStart,
            Self::FileBytes(_) => FrameKind::FileBytes,
            Self::FileEnd(_) => FrameKind::FileEnd,
            Self::FileEntry(_) => FrameKind::FileEntry,
            Self::FileDone => FrameKind::FileDone,
            Self::FileRefused(_) => FrameKind::FileRefused,
        }
    }
}

/// What a node says of itself as soon as it has judged the peer's certificate.
///
/// QUIC's client considers a connection open before the server has judged the client's
/// certificate; the hello is the proof that it was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The agent's version, such as `0.1.0`.
    pub version: Text<32>,
    /// The platform family, which decides the default shell.
    pub os: crate::capability::OsFamily,
    /// The agent's clock when it sent this, in milliseconds since 1970.
    pub clock_ms: u64,
}

/// A request to end a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// Which run.
    pub run: RunId,
    /// Time between asking the processes to end and killing them, in milliseconds.
    pub grace_ms: u32,
}

/// The size of a terminal, in characters. Zero is a size that nobody knows, and is passed on as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resize {
    /// Its width.
    pub columns: u16,
    /// Its height.
    pub rows: u16,
}
