//! Frames to bytes and back.
//!
//! The decoder is incremental: it takes whatever bytes have arrived and yields the frames that are
//! complete. The body of a data frame is handed on piece by piece without copying, so that output
//! is shown the moment that it is produced and a long frame costs no memory.
//!
//! **Invariant:** no input makes the decoder panic, or allocate more than [`FrameKind::max_len`] bytes
//! in one piece. Guarded by `any_bytes_give_frames_or_an_error`, its neighbours in
//! `tests/wire/hostile.rs`, and the fuzz target `frames`.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};

use crate::frame::{Frame, FrameKind};

/// Bytes before each body: kind and length.
pub const HEADER_LEN: usize = 5;

/// Returns the header of a frame with a body of `len` bytes.
///
/// # Panics
/// If `len` exceeds what the kind allows; callers of data frames cut their bodies.
#[must_use]
pub fn header(kind: FrameKind, len: usize) -> [u8; HEADER_LEN] {
    let len = u32::try_from(len)
        .ok()
        .filter(|len| *len <= kind.max_len())
        .expect("bodies are cut to the limit of their kind");
    let [a, b, c, d] = len.to_be_bytes();
    [kind as u8, a, b, c, d]
}

/// Appends the bytes of `frame` to `out`.
///
/// # Errors
/// The body is longer than its kind allows; `out` is left as it was.
pub fn encode(frame: &Frame, out: &mut BytesMut) -> Result<(), EncodeError> {
    let start = out.len();
    out.put_bytes(0, HEADER_LEN);
    match frame {
        Frame::Hello(body) => put(body, out),
        Frame::Run(body) => put(body, out),
        Frame::Started(body) => put(body, out),
        Frame::Ended(body) => put(body, out),
        Frame::Cancel(body) => put(body, out),
        Frame::Refused(body) => put(body, out),
        Frame::Capabilities(body) => put(body, out),
        Frame::Earlier(body) => put(body, out),
        Frame::Attach(body) => put(body, out),
        Frame::Attached(body) => put(body, out),
        Frame::Resize(body) => put(body, out),
        Frame::File(body) => put(body, out),
        Frame::FileFound(body) => put(body, out),
        Frame::FileHeld(body) => put(body, out),
        Frame::FileStart(body) => put(body, out),
        Frame::FileEnd(body) => put(body, out),
        Frame::FileEntry(body) => put(body, out),
        Frame::FileRefused(body) => put(body, out),
        Frame::Stdin(bytes)
        | Frame::Stdout(bytes)
        | Frame::Stderr(bytes)
        | Frame::FileBytes(bytes) => out.put_slice(bytes),
        Frame::StdinEnd | Frame::AskCapabilities | Frame::Probe | Frame::FileDone => {}
    }
    let kind = frame.kind();
    let len = out.len() - start - HEADER_LEN;
    if len > kind.max_len() as usize {
        out.truncate(start);
        return Err(EncodeError { kind, len });
    }
    out[start..start + HEADER_LEN].copy_from_slice(&header(kind, len));
    Ok(())
}

fn put<T: Serialize>(body: &T, out: &mut BytesMut) {
    struct Out<'a>(&'a mut BytesMut);
    impl Extend<u8> for Out<'_> {
        fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
            bytes.into_iter().for_each(|byte| self.0.put_u8(byte));
        }
    }
    postcard::to_extend(body, Out(out)).expect("our own types always serialize into memory");
}

/// A frame that is too long to be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind:?} of {len} bytes is longer than the {} bytes that a frame may carry", kind.max_len())]
pub struct EncodeError {
    /// Which frame.
    pub kind: FrameKind,
    /// How long its body would be, in bytes.
    pub len: usize,
}

/// Turns the bytes of one stream into frames.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
}

#[derive(Debug)]
enum State {
    Header {
        have: [u8; HEADER_LEN],
        len: usize,
    },
    Control {
        kind: FrameKind,
        missing: usize,
        body: Vec<u8>,
    },
    Data {
        kind: FrameKind,
        missing: usize,
    },
}

impl Default for State {
    fn default() -> Self {
        Self::Header {
            have: [0; HEADER_LEN],
            len: 0,
        }
    }
}

impl Decoder {
    /// Takes bytes from the front of `input` and returns the next frame, or `None` when `input` is
    /// used up.
    ///
    /// # Errors
    /// The bytes are no frame of this protocol. The stream is of no use afterwards.
    pub fn next(&mut self, input: &mut Bytes) -> Result<Option<Frame>, DecodeError> {
        loop {
            match &mut self.state {
                State::Header { have, len } => {
                    let take = input.len().min(HEADER_LEN - *len);
                    have[*len..*len + take].copy_from_slice(&input.split_to(take));
                    *len += take;
                    if *len < HEADER_LEN {
                        return Ok(None);
                    }
                    self.state = body_of(*have)?;
                }
                State::Data { missing: 0, .. } => self.state = State::default(),
                State::Data { kind, missing } => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let piece = input.split_to(input.len().min(*missing));
                    *missing -= piece.len();
                    return data(*kind, piece).map(Some);
                }
                State::Control {
                    kind,
                    missing,
                    body,
                } => {
                    let take = input.len().min(*missing);
                    make_room(body, take, *missing);
                    body.extend_from_slice(&input.split_to(take));
                    *missing -= take;
                    if *missing > 0 {
                        return Ok(None);
                    }
                    let frame = control(*kind, body);
                    self.state = State::default();
                    return frame.map(Some);
                }
            }
            if !input.has_remaining() && matches!(self.state, State::Header { len: 0, .. }) {
                return Ok(None);
            }
        }
    }

    /// Tells whether the stream may end here: between two frames.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        match &self.state {
            State::Header { len, .. } => *len == 0,
            State::Data { missing, .. } => *missing == 0,
            State::Control { .. } => false,
        }
    }
}

/// Makes room for `take` bytes more: as bytes arrive, since a peer that only claims a length is to
/// cost nothing, but by doubling, and never beyond the `missing` bytes that may still come.
fn make_room(body: &mut Vec<u8>, take: usize, missing: usize) {
    if body.capacity() - body.len() < take {
        body.reserve_exact(take.max(body.len()).min(missing));
    }
}

fn body_of([number, length @ ..]: [u8; HEADER_LEN]) -> Result<State, DecodeError> {
    let kind = FrameKind::of_number(number).ok_or(DecodeError::UnknownKind { number })?;
    let len = u32::from_be_bytes(length);
    if len > kind.max_len() {
        return Err(DecodeError::TooLong { kind, len });
    }
    let missing = len as usize;
    Ok(if kind.is_data() {
        State::Data { kind, missing }
    } else {
        State::Control {
            kind,
            missing,
            body: Vec::new(),
        }
    })
}

fn data(kind: FrameKind, piece: Bytes) -> Result<Frame, DecodeError> {
    match kind {
        FrameKind::Stdin => Ok(Frame::Stdin(piece)),
        FrameKind::Stdout => Ok(Frame::Stdout(piece)),
        FrameKind::Stderr => Ok(Frame::Stderr(piece)),
        FrameKind::FileBytes => Ok(Frame::FileBytes(piece)),
        FrameKind::Hello
        | FrameKind::Run
        | FrameKind::StdinEnd
        | FrameKind::Started
        | FrameKind::Ended
        | FrameKind::Cancel
        | FrameKind::Refused
        | FrameKind::AskCapabilities
        | FrameKind::Capabilities
        | FrameKind::Earlier
        | FrameKind::Attach
        | FrameKind::Attached
        | FrameKind::Probe
        | FrameKind::Resize
        | FrameKind::File
        | FrameKind::FileFound
        | FrameKind::FileHeld
        | FrameKind::FileStart
        | FrameKind::FileEnd
        | FrameKind::FileEntry
        | FrameKind::FileDone
        | FrameKind::FileRefused => Err(DecodeError::Body { kind }),
    }
}

fn control(kind: FrameKind, body: &[u8]) -> Result<Frame, DecodeError> {
    Ok(match kind {
        FrameKind::Hello => Frame::Hello(take(kind, body)?),
        FrameKind::Run => Frame::Run(Box::new(take(kind, body)?)),
        FrameKind::StdinEnd => Frame::StdinEnd,
        FrameKind::Started => Frame::Started(take(kind, body)?),
        FrameKind::Ended => Frame::Ended(take(kind, body)?),
        FrameKind::Cancel => Frame::Cancel(take(kind, body)?),
        FrameKind::Refused => Frame::Refused(take(kind, body)?),
        FrameKind::AskCapabilities => Frame::AskCapabilities,
        FrameKind::Capabilities => Frame::Capabilities(Box::new(take(kind, body)?)),
        FrameKind::Earlier => Frame::Earlier(take(kind, body)?),
        FrameKind::Attach => Frame::Attach(take(kind, body)?),
        FrameKind::Attached => Frame::Attached(take(kind, body)?),
        FrameKind::Probe => Frame::Probe,
        FrameKind::Resize => Frame::Resize(take(kind, body)?),
        FrameKind::File => Frame::File(Box::new(take(kind, body)?)),
        FrameKind::FileFound => Frame::FileFound(take(kind, body)?),
        FrameKind::FileHeld => Frame::FileHeld(take(kind, body)?),
        FrameKind::FileStart => Frame::FileStart(take(kind, body)?),
        FrameKind::FileEnd => Frame::FileEnd(take(kind, body)?),
        FrameKind::FileEntry => Frame::FileEntry(Box::new(take(kind, body)?)),
        FrameKind::FileDone => Frame::FileDone,
        FrameKind::FileRefused => Frame::FileRefused(Box::new(take(kind, body)?)),
        FrameKind::Stdin | FrameKind::Stdout | FrameKind::Stderr | FrameKind::FileBytes => {
            return Err(DecodeError::Body { kind });
        }
    })
}

fn take<T: DeserializeOwned>(kind: FrameKind, body: &[u8]) -> Result<T, DecodeError> {
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(DecodeError::Body { kind }),
    }
}

/// Bytes that are no frame of this protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A number that this version does not know.
    #[error("unknown frame number {number}")]
    UnknownKind {
        /// The number.
        number: u8,
    },
    /// A body longer than the kind allows; nothing of it was read.
    #[error("{kind:?} of {len} bytes is longer than {} bytes", kind.max_len())]
    TooLong {
        /// Which frame.
        kind: FrameKind,
        /// The claimed length, in bytes.
        len: u32,
    },
    /// A body that is not of the kind's form.
    #[error("malformed {kind:?}")]
    Body {
        /// Which frame.
        kind: FrameKind,
    },
}
