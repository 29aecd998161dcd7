//! Frames over a stream that is cut anywhere: nothing about them depends on the cuts.

use bytes::{Bytes, BytesMut};
use proptest::{collection::vec, prelude::*};
use proto::{
    codec::{EncodeError, HEADER_LEN, encode},
    frame::{Frame, FrameKind, MAX_FRAME_LEN},
};

use crate::{
    any_frame::frame,
    stream::{decode, encoded, joined},
};

proptest! {
    #[test]
    fn any_frame_round_trips_however_its_bytes_are_cut(
        frames in vec(frame(), 1..5),
        pieces in vec(1..50_usize, 1..40),
    ) {
        let bytes = encoded(&frames);

        let decoded = decode(&bytes, &pieces);

        prop_assert_eq!(decoded.end, Ok(true));
        prop_assert_eq!(joined(decoded.frames), joined(frames));
    }

    #[test]
    fn a_stream_may_end_between_frames_and_nowhere_else(frames in vec(frame(), 1..4)) {
        let bytes = encoded(&frames);
        let ends: Vec<usize> = (0..=frames.len()).map(|n| encoded(&frames[..n]).len()).collect();

        for len in 0..=bytes.len() {
            let decoded = decode(&bytes[..len], &[7]);
            prop_assert_eq!(decoded.end, Ok(ends.contains(&len)), "after {} bytes", len);
        }
    }
}

#[test]
fn data_is_handed_on_before_its_frame_is_complete() {
    let bytes = encoded(&[Frame::Stdout(Bytes::from_static(b"progress 50 %"))]);

    let decoded = decode(&bytes[..HEADER_LEN + 8], &[]);

    assert_eq!(
        decoded.frames,
        [Frame::Stdout(Bytes::from_static(b"progress"))]
    );
    assert_eq!(decoded.end, Ok(false));
}

#[test]
fn the_longest_data_frame_is_sent_and_a_longer_one_is_not() {
    let zeros = |len: u32| Frame::Stderr(Bytes::from(vec![0; len as usize]));
    let mut out = BytesMut::from(&b"before"[..]);

    let refused = encode(&zeros(MAX_FRAME_LEN + 1), &mut out);

    let (kind, len) = (FrameKind::Stderr, MAX_FRAME_LEN as usize + 1);
    assert_eq!(refused, Err(EncodeError { kind, len }));
    assert_eq!(&out[..], b"before", "a refused frame leaves nothing behind");

    let longest = zeros(MAX_FRAME_LEN);
    let decoded = decode(&encoded(std::slice::from_ref(&longest)), &[]);
    assert_eq!(decoded.frames, [longest]);
}

#[test]
fn each_number_is_that_of_its_kind_alone() {
    for number in 0..=u8::MAX {
        let kind = FrameKind::of_number(number);
        assert!(kind.is_none_or(|kind| kind as u8 == number));
    }
    for kind in FrameKind::ALL {
        assert_eq!(FrameKind::of_number(kind as u8), Some(kind));
    }
    let numbers = FrameKind::ALL.map(|kind| kind as u8);
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
}
