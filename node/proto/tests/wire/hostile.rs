//! Bytes that nobody honest sends: frames or an error, never a panic, and never more memory than
//! the kind of frame allows.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::Index};
use proto::{
    capability::Capabilities,
    codec::{DecodeError, Decoder, HEADER_LEN, header},
    frame::{Frame, FrameKind},
    run::{Argv, Ended, Environment, Tree, Wire, Word},
};

use crate::{
    allocation::largest,
    any_frame::frame,
    sample,
    stream::{decode, encoded, joined},
};

proptest! {
    #[test]
    fn any_bytes_give_frames_or_an_error(
        bytes in prop_oneof![vec(any::<u8>(), 0..300), vec(claim(), 1..5).prop_map(|c| c.concat())],
        pieces in vec(1..20_usize, 1..40),
    ) {
        let whole = decode(&bytes, &[]);
        let cut = decode(&bytes, &pieces);

        prop_assert_eq!(cut.end, whole.end);
        prop_assert_eq!(joined(cut.frames), joined(whole.frames));
    }

    #[test]
    fn a_damaged_stream_gives_frames_or_an_error(
        frames in vec(frame(), 1..4),
        damage in vec((any::<Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = encoded(&frames);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }

        let decoded = decode(&bytes, &[]);

        let again = decode(&encoded(&decoded.frames), &[]);
        prop_assert_eq!(again.end, Ok(true));
        prop_assert_eq!(joined(again.frames), joined(decoded.frames));
    }

    #[test]
    fn a_claimed_length_costs_no_more_than_the_bytes_that_came(claim in claim()) {
        let came = [Bytes::from(claim.clone())];

        let (_, most) = largest(|| decode_all(&came));

        // Twice for doubling; the rest for the smallest vectors, of whatever items.
        prop_assert!(most <= 2 * claim.len() + 1024, "{most} bytes for {}", claim.len());
    }

    #[test]
    fn no_body_costs_more_than_its_kind_allows(
        kind in proptest::sample::select(&FrameKind::ALL[..]),
        pattern in vec(prop_oneof![Just(0), Just(1), Just(0x7f), any::<u8>()], 1..4),
        pieces in 1..100_000_usize,
    ) {
        let len = kind.max_len() as usize;
        let body: Vec<u8> = pattern.iter().copied().cycle().take(len).collect();

        let most = most_for_body(kind, &body, pieces);

        prop_assert!(most <= len.max(1024), "{kind:?} took {most} bytes");
    }
}

#[test]
fn an_unknown_number_is_refused() {
    let unknown = (0..=u8::MAX).filter(|number| FrameKind::of_number(*number).is_none());

    for number in unknown {
        let end = Err(DecodeError::UnknownKind { number });
        assert_eq!(decode(&[number, 0, 0, 0, 0], &[]).end, end);
    }
}

#[test]
fn a_longer_body_than_the_kind_allows_is_refused_by_its_header() {
    for kind in FrameKind::ALL {
        let len = kind.max_len() + 1;
        let header = [&[kind as u8][..], &len.to_be_bytes()].concat();

        assert_eq!(
            decode(&header, &[1]).end,
            Err(DecodeError::TooLong { kind, len })
        );
    }
}

#[test]
fn bytes_behind_a_body_are_refused() {
    let honest = encoded(&[Frame::Cancel(proto::frame::Cancel {
        run: sample::run_id(),
        grace_ms: 2000,
    })]);
    let mut longer = honest.to_vec();
    longer.push(0);
    longer[HEADER_LEN - 1] += 1;

    let kind = FrameKind::Cancel;
    assert_eq!(decode(&longer, &[]).end, Err(DecodeError::Body { kind }));
}

#[test]
fn a_run_of_too_many_words_is_refused_before_they_are_held() {
    let words = |count| What(0, vec![Word::from("x"); count]);
    let most = run_body(&words(Argv::MAX_WORDS), &[]);
    let more = run_body(&words(Argv::MAX_WORDS + 1), &[]);

    assert_eq!(decode(&framed(FrameKind::Run, &most), &[]).end, Ok(true));
    assert_eq!(
        decode(&framed(FrameKind::Run, &more), &[]).end,
        refused(FrameKind::Run)
    );
    let empty = vec![Word(Vec::new()); FrameKind::Run.max_len() as usize - 200];
    let flood = run_body(&What(0, [vec![Word::from("x")], empty].concat()), &[]);
    let bound = FrameKind::Run.max_len() as usize;
    assert!(most_for_body(FrameKind::Run, &flood, usize::MAX) <= bound);
}

#[test]
fn a_run_of_too_many_variables_is_refused_before_they_are_held() {
    let variables = |count| vec![(Word(Vec::new()), Word(Vec::new())); count];
    let what = What(0, vec![Word::from("x")]);
    let most = run_body(&what, &variables(Environment::MAX_VARIABLES));
    let more = run_body(&what, &variables(Environment::MAX_VARIABLES + 1));
    let flood = run_body(&what, &variables(500_000));

    assert_eq!(decode(&framed(FrameKind::Run, &most), &[]).end, Ok(true));
    assert_eq!(
        decode(&framed(FrameKind::Run, &more), &[]).end,
        refused(FrameKind::Run)
    );
    let bound = FrameKind::Run.max_len() as usize;
    assert!(most_for_body(FrameKind::Run, &flood, usize::MAX) <= bound);
}

#[test]
fn a_body_where_there_is_none_is_refused() {
    for kind in [
        FrameKind::StdinEnd,
        FrameKind::AskCapabilities,
        FrameKind::Probe,
        FrameKind::FileDone,
    ] {
        let end = Err(DecodeError::TooLong { kind, len: 1 });
        assert_eq!(decode(&[kind as u8, 0, 0, 0, 1, 0], &[]).end, end);
    }
}

#[test]
fn an_end_that_names_too_many_processes_is_refused() {
    let end_of_a_stream = |tree| {
        let ended = Ended {
            result: Wire::Cancelled,
            tree,
            stdout_bytes: 0,
            stderr_bytes: 0,
            duration_ms: 0,
        };
        decode(&encoded(&[Frame::Ended(ended)]), &[]).end
    };

    for tree in [
        |pids| Tree::Left { pids },
        |pids| Tree::Unconfirmed { pids },
    ] {
        let (most, more) = (vec![7; Tree::MAX_PIDS], vec![7; Tree::MAX_PIDS + 1]);
        assert_eq!(end_of_a_stream(tree(most)), Ok(true));
        assert_eq!(end_of_a_stream(tree(more)), refused(FrameKind::Ended));
    }
}

#[test]
fn the_largest_document_fits_into_a_frame() {
    let bound = FrameKind::Capabilities.max_len() as usize;

    assert!(Capabilities::MAX_LEN <= bound);
}

/// A header that claims any length, and a few bytes of a body.
fn claim() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![9 => 0..29_u8, 1 => any::<u8>()];
    let length = prop_oneof![0..80_u32, 0..70_000_u32, 0..=1_u32 << 20, any::<u32>()];
    let byte = prop_oneof![Just(0), Just(1), Just(0xff), any::<u8>()];
    (number, length, vec(byte, 0..120))
        .prop_map(|(number, length, body)| [&[number][..], &length.to_be_bytes(), &body].concat())
}

fn refused(kind: FrameKind) -> Result<bool, DecodeError> {
    Err(DecodeError::Body { kind })
}

fn framed(kind: FrameKind, body: &[u8]) -> Vec<u8> {
    [&header(kind, body.len())[..], body].concat()
}

/// A request's `what` as it travels: the variant's number and the words.
#[derive(serde::Serialize)]
struct What(u8, Vec<Word>);

/// The body of a run's request that this crate's own types would not let one make.
fn run_body(what: &What, variables: &[(Word, Word)]) -> Vec<u8> {
    let honest = sample::request();
    let head = (
        honest.id,
        honest.audience,
        honest.issued_at_ms,
        honest.valid_for_ms,
    );
    let tail = (
        honest.cwd,
        variables,
        honest.stdin,
        honest.limits,
        honest.on_link_loss,
    );
    postcard::to_allocvec(&(head, honest.principal, what, tail)).unwrap()
}

/// Decodes a frame with this body, which arrives in pieces, and returns the largest allocation.
fn most_for_body(kind: FrameKind, body: &[u8], pieces: usize) -> usize {
    let bytes = Bytes::from(framed(kind, body));
    let pieces: Vec<Bytes> = bytes
        .chunks(pieces)
        .map(|piece| bytes.slice_ref(piece))
        .collect();
    largest(|| decode_all(&pieces)).1
}

/// Decodes without any allocation of its own, and drops the frames.
fn decode_all(pieces: &[Bytes]) -> Result<(), DecodeError> {
    let mut decoder = Decoder::default();
    for piece in pieces {
        let mut piece = piece.clone();
        while let Some(frame) = decoder.next(&mut piece)? {
            drop(frame);
        }
    }
    Ok(())
}
