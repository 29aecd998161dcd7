//! What is no request, or comes out of turn.

use super::*;

fn bytes_of(frame: &Frame) -> Vec<u8> {
    let mut bytes = bytes::BytesMut::new();
    encode(frame, &mut bytes).unwrap();
    bytes.to_vec()
}

/// Sends `bytes` on a stream of its own and ends it; returns why the agent closed the link.
#[track_caller]
fn closed_after(stage: &mut Stage, bytes: &[u8]) -> u32 {
    let peer = stage.peer();
    let mut wire = peer.open().unwrap();
    wire.send(bytes).unwrap();
    wire.finish();
    let closed = peer.wait_closed();
    let ConnectionError::ApplicationClosed(close) = closed else {
        panic!("{closed:?} after {bytes:?}")
    };
    u32::try_from(close.error_code.into_inner()).unwrap()
}

#[test]
fn bytes_that_are_no_request_close_the_link_and_nothing_else() {
    let mut stage = Stage::new();
    let run = bytes_of(&Frame::Run(Box::new(stage.request())));
    let cancel = bytes_of(&Frame::Cancel(Cancel {
        run: fresh_id(),
        grace_ms: 0,
    }));
    let longer = |frame: &[u8]| {
        let mut frame = frame.to_vec();
        let length = u32::from_be_bytes(frame[1..5].try_into().unwrap());
        frame[1..5].copy_from_slice(&(length + 1).to_be_bytes());
        frame.push(0);
        frame
    };
    let broken: Vec<(&str, Vec<u8>)> = vec![
        ("an unknown kind", vec![200, 0, 0, 0, 0]),
        ("a length of 4 GiB", vec![1, 0xff, 0xff, 0xff, 0xff, 0]),
        ("a request over 1 MiB", vec![1, 0, 0x10, 0, 1, 0]),
        ("a control frame over 64 KiB", vec![8, 0, 1, 0, 1, 0]),
        ("a body where none may be", vec![10, 0, 0, 0, 1, 0]),
        (
            "a body of garbage",
            vec![1, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff],
        ),
        ("an empty body", vec![1, 0, 0, 0, 0]),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("bytes after a request, within its frame", longer(&run)),
        ("bytes after a cancel, within its frame", longer(&cancel)),
    ];

    for (what, bytes) in broken {
        assert_eq!(
            closed_after(&mut stage, &bytes),
            PROTOCOL_VIOLATION,
            "{what}"
        );
    }
    stage.assert_alive_with(0);
}

#[test]
fn a_request_that_is_cut_short_is_none_and_its_link_lives_on() {
    let mut stage = Stage::new();
    let run = bytes_of(&Frame::Run(Box::new(stage.request())));
    let peer = stage.peer();

    for cut in [3, run.len() - 1] {
        let mut wire = peer.open().unwrap();
        wire.send(&run[..cut]).unwrap();
        wire.finish();
        assert_eq!(wire.next().unwrap(), None, "{cut} bytes of it");
    }

    let answer = peer.run(&stage.request());
    assert!(
        matches!(answer.first(), Some(Frame::Started(_))),
        "{answer:?}"
    );
}

#[test]
fn frames_that_may_not_come_first_close_the_link() {
    let mut stage = Stage::new();
    let ended = Ended {
        result: Result::Finished(Exit::Code(0)),
        tree: Tree::Gone,
        stdout_bytes: 0,
        stderr_bytes: 0,
        duration_ms: 0,
    };
    let frames = [
        Frame::Stdin("input".into()),
        Frame::StdinEnd,
        Frame::Stdout("output".into()),
        Frame::Ended(ended),
        Frame::Refused(Refusal::Stopping),
        Frame::Earlier(Earlier { accepted_at_ms: 0 }),
    ];

    for frame in frames {
        let closed = closed_after(&mut stage, &bytes_of(&frame));
        assert_eq!(closed, PROTOCOL_VIOLATION, "{frame:?}");
    }
    stage.assert_alive_with(0);
}

#[test]
fn frames_out_of_turn_end_the_run_and_its_link() {
    let mut stage = Stage::new();
    let second = Frame::Run(Box::new(stage.request()));
    let cancel = Frame::Cancel(Cancel {
        run: fresh_id(),
        grace_ms: 0,
    });
    let cases = [
        (StdinMode::Closed, vec![second.clone()]),
        (StdinMode::Piped, vec![second]),
        (StdinMode::Closed, vec![Frame::Stdin("input".into())]),
        (StdinMode::Closed, vec![Frame::StdinEnd]),
        (StdinMode::Piped, vec![Frame::StdinEnd, Frame::StdinEnd]),
        (
            StdinMode::Piped,
            vec![Frame::StdinEnd, Frame::Stdin("late".into())],
        ),
        (StdinMode::Piped, vec![cancel]),
        (StdinMode::Piped, vec![Frame::Stdout("wrong way".into())]),
    ];

    for (stdin, frames) in cases {
        let first = RunRequest {
            stdin,
            ..request(&stage.lab, &["sleep", "1000"])
        };
        let mark = Mark::of(first.id);
        let peer = stage.peer();
        let mut wire = peer.ask(&Frame::Run(Box::new(first)));
        assert!(matches!(wire.next().unwrap(), Some(Frame::Started(_))));

        for frame in &frames {
            // The link may be closed before the last one has left.
            let _ = wire.send_frame(frame);
        }

        assert!(
            matches!(peer.wait_closed(), ConnectionError::ApplicationClosed(_)),
            "{frames:?}"
        );
        mark.wait_until_nothing_is_left("a run whose caller broke the protocol");
    }
    stage.assert_alive_with(0);
}

#[test]
fn request_that_arrives_byte_by_byte_runs_once() {
    let mut stage = Stage::new();
    let peer = stage.peer();
    let mut wire = peer.open().unwrap();

    for byte in bytes_of(&Frame::Run(Box::new(stage.request()))) {
        wire.send(&[byte]).unwrap();
    }

    assert_eq!(exit_of(&wire.rest().unwrap()), Exit::Code(3));
    assert_eq!(stage.counter.starts(), 1);
}

#[test]
fn stream_without_a_word_harms_nobody() {
    let mut stage = Stage::new();
    let peer = stage.peer();

    let mut empty = peer.open().unwrap();
    empty.finish();
    let answer = empty.rest().unwrap();
    let _idle: Vec<_> = (0..100).map(|_| peer.open().unwrap()).collect();

    assert_eq!(answer, []);
    stage.assert_alive_with(0);
    assert!(peer.closed().is_none());
}

#[test]
fn noise_on_many_streams_never_starts_anything() {
    let mut stage = Stage::new();
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut draw = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    // A program that is not there, so that no change makes it one.
    let harmless = request(&stage.lab, &["/no/such/program", "with", "some words"]);
    let run = bytes_of(&Frame::Run(Box::new(harmless)));

    for _ in 0..50 {
        let mut bytes = run.clone();
        for _ in 0..4 {
            let at = draw() as usize % bytes.len();
            bytes[at] = draw() as u8;
        }
        let peer = stage.peer();
        let mut wire = peer.open().unwrap();
        wire.send(&bytes).unwrap();
        wire.finish();
        // Refused, or the link is closed; or it means the same, and the program is not there.
        match wire.rest() {
            Ok(answer) => assert!(
                !matches!(answer.first(), Some(Frame::Started(_))),
                "{answer:?} to {bytes:?}"
            ),
            Err(_) => drop(peer.wait_closed()),
        }
    }

    stage.assert_alive_with(0);
}
