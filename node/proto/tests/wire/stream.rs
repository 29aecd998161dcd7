//! Whole streams through the codec.

use bytes::{Bytes, BytesMut};
use proto::{
    codec::{DecodeError, Decoder, encode},
    frame::Frame,
};

/// What a stream gave until its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// The frames, in order.
    pub(crate) frames: Vec<Frame>,
    /// Whether the stream ended between two frames.
    pub(crate) end: Result<bool, DecodeError>,
}

/// Decodes `bytes` as they arrive in pieces of these lengths, the last of which is used for ever.
pub(crate) fn decode(bytes: &[u8], pieces: &[usize]) -> Decoded {
    let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
    let mut lengths = pieces.iter().copied();
    let last = pieces.last().copied().unwrap_or(usize::MAX);
    let mut rest = Bytes::copy_from_slice(bytes);
    while !rest.is_empty() {
        let length = lengths.next().unwrap_or(last);
        let mut piece = rest.split_to(length.min(rest.len()));
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => {
                    let end = Err(error);
                    return Decoded { frames, end };
                }
            }
        }
        assert!(piece.is_empty(), "the decoder left bytes behind");
    }
    let end = Ok(decoder.is_between_frames());
    Decoded { frames, end }
}

/// Encodes `frames` one behind the other.
pub(crate) fn encoded(frames: &[Frame]) -> BytesMut {
    let mut bytes = BytesMut::new();
    for frame in frames {
        encode(frame, &mut bytes).expect("the frame is within its bound");
    }
    bytes
}

/// Joins neighbouring data frames of one kind and drops empty ones: how a stream was cut into them
/// means nothing.
pub(crate) fn joined(frames: Vec<Frame>) -> Vec<Frame> {
    let mut result: Vec<Frame> = Vec::new();
    for frame in frames {
        let joined = match (result.last(), &frame) {
            (_, Frame::Stdin(b) | Frame::Stdout(b) | Frame::Stderr(b) | Frame::FileBytes(b))
                if b.is_empty() =>
            {
                continue;
            }
            (Some(Frame::Stdin(a)), Frame::Stdin(b)) => Frame::Stdin(both(a, b)),
            (Some(Frame::Stdout(a)), Frame::Stdout(b)) => Frame::Stdout(both(a, b)),
            (Some(Frame::Stderr(a)), Frame::Stderr(b)) => Frame::Stderr(both(a, b)),
            (Some(Frame::FileBytes(a)), Frame::FileBytes(b)) => Frame::FileBytes(both(a, b)),
            (Some(_) | None, _) => {
                result.push(frame);
                continue;
            }
        };
        result.pop();
        result.push(joined);
    }
    result
}

fn both(a: &[u8], b: &[u8]) -> Bytes {
    [a, b].concat().into()
}
