//! Whatever arrives is a frame or an error.

use std::ffi::OsStr;

use proptest::prelude::*;

use super::*;

fn hello() -> Hello {
    Hello {
        version: VERSION,
        release: "0.1.0".into(),
        home: Path::new(OsStr::from_bytes(b"/home/op/\xff")).into(),
        identity: Stamp::default(),
        mdns: Some(false),
    }
}

#[test]
fn what_is_said_arrives_in_whatever_pieces() {
    let mut sent = BytesMut::new();
    encode(&Request::Hello(hello()), &mut sent).expect("it is short");
    encode_data(Data::Stdout, &vec![7; 2 * CHUNK + 1], &mut sent);
    encode(&Request::Status, &mut sent).expect("it is short");

    let mut input = BytesMut::new();
    let mut frames = Vec::new();
    for piece in sent.chunks(3) {
        input.extend_from_slice(piece);
        while let Some(frame) = decode::<Request>(&mut input).expect("well formed") {
            frames.push(frame);
        }
    }

    assert!(matches!(&frames[0], Frame::Message(Request::Hello(said)) if *said == hello()));
    let lens: Vec<usize> = frames[1..4]
        .iter()
        .map(|frame| match frame {
            Frame::Data(Data::Stdout, bytes) => bytes.len(),
            Frame::Data(..) | Frame::Message(_) => 0,
        })
        .collect();
    assert_eq!(lens, [CHUNK, CHUNK, 1]);
    assert!(matches!(frames[4], Frame::Message(Request::Status)));
    assert!(input.is_empty());
}

#[test]
fn a_claimed_length_beyond_the_limit_is_refused_before_it_is_read() {
    let mut input = BytesMut::from(&header(MESSAGE, MAX_BODY + 1)[..]);

    let refused = decode::<Reply>(&mut input).expect_err("too long");

    assert_eq!(refused, Malformed::TooLong(MAX_BODY + 1));
}

#[test]
fn a_message_with_something_after_it_is_malformed() {
    let mut input = BytesMut::new();
    encode(&(Request::Status, 0_u8), &mut input).expect("it is short");

    assert_eq!(
        decode::<Request>(&mut input).expect_err("more"),
        Malformed::Body
    );
}

proptest! {
    #[test]
    fn any_bytes_give_frames_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        let mut input = BytesMut::from(&bytes[..]);
        while let Ok(Some(_)) = decode::<Request>(&mut input) {}
        let mut input = BytesMut::from(&bytes[..]);
        while let Ok(Some(_)) = decode::<Reply>(&mut input) {}
    }

    #[test]
    fn any_body_of_a_message_gives_it_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let mut whole = BytesMut::from(&header(MESSAGE, bytes.len())[..]);
        whole.extend_from_slice(&bytes);
        let _ = decode::<Request>(&mut whole.clone());
        let _ = decode::<Reply>(&mut whole);
    }
}

#[test]
fn what_has_no_form_is_an_error_and_leaves_nothing_behind() {
    let mut out = BytesMut::from(&b"before"[..]);
    let no_text = Path::new(OsStr::from_bytes(b"\xff"));

    let refused = encode(&no_text, &mut out).expect_err("serde takes paths as text");

    assert!(matches!(refused, EncodeError::Form(_)), "{refused:?}");
    assert_eq!(out, &b"before"[..]);
}
