//! The decoder over any bytes: never a panic, the same frames however the bytes are cut, and
//! whatever it yields travels back unchanged.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use proto::{
    codec::{DecodeError, Decoder, encode},
    frame::Frame,
};

fuzz_target!(|bytes: &[u8]| {
    let whole = decode(bytes, std::iter::repeat(usize::MAX));
    let one_by_one = decode(bytes, std::iter::repeat(1));
    // The input's own bytes, from its end, say where it is cut.
    let cuts = bytes.iter().rev().map(|byte| usize::from(*byte) + 1);
    let cut_anywhere = decode(bytes, cuts.chain(std::iter::repeat(usize::MAX)));
    assert_eq!(whole, one_by_one);
    assert_eq!(whole, cut_anywhere);

    let mut again = BytesMut::new();
    for frame in &whole.frames {
        encode(frame, &mut again).expect("what came in a frame fits into a frame");
    }
    let again = decode(&again, std::iter::repeat(usize::MAX));
    assert_eq!(again.end, Ok(true));
    assert_eq!(again.frames, whole.frames);
});

/// What a stream gave until its end.
#[derive(Debug, PartialEq)]
struct Decoded {
    /// The frames; neighbouring data frames of one kind are joined.
    frames: Vec<Frame>,
    /// Whether the stream ended between two frames.
    end: Result<bool, DecodeError>,
}

fn decode(bytes: &[u8], cuts: impl Iterator<Item = usize>) -> Decoded {
    let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
    let mut rest = Bytes::copy_from_slice(bytes);
    for cut in cuts {
        let mut piece = rest.split_to(cut.min(rest.len()));
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(frame)) => push_joined(&mut frames, frame),
                Ok(None) => break,
                Err(error) => {
                    return Decoded {
                        frames,
                        end: Err(error),
                    };
                }
            }
        }
        assert!(piece.is_empty(), "the decoder left bytes behind");
        if rest.is_empty() {
            break;
        }
    }
    Decoded {
        frames,
        end: Ok(decoder.is_between_frames()),
    }
}

/// Appends `frame`, joined to the last one if both are pieces of one body as far as anyone can tell.
fn push_joined(frames: &mut Vec<Frame>, frame: Frame) {
    let joined = match (frames.last(), &frame) {
        (Some(Frame::Stdin(a)), Frame::Stdin(b)) => Frame::Stdin([&a[..], b].concat().into()),
        (Some(Frame::Stdout(a)), Frame::Stdout(b)) => Frame::Stdout([&a[..], b].concat().into()),
        (Some(Frame::Stderr(a)), Frame::Stderr(b)) => Frame::Stderr([&a[..], b].concat().into()),
        (Some(Frame::FileBytes(a)), Frame::FileBytes(b)) => {
            Frame::FileBytes([&a[..], b].concat().into())
        }
        _ => return frames.push(frame),
    };
    frames.pop();
    frames.push(joined);
}
