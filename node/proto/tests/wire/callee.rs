//! What an agent takes from a controller after its request: standard input, if it was asked for, and
//! the size of its terminal, if it is one.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use proto::{
    frame::Frame,
    run::{CalleeRun, CalleeViolation, Input, StdinMode},
};

use crate::{
    any_frame::{frame, resize, stdin},
    sample,
};

proptest! {
    #[test]
    fn only_standard_input_is_taken_and_only_until_its_end(
        stdin in stdin(),
        frames in vec(step(), 0..8),
    ) {
        let mut run = CalleeRun::reading(&stdin);

        for (at, frame) in frames.iter().enumerate() {
            let taken = run.handle_frame(frame.clone());

            let ended = frames[..at].contains(&Frame::StdinEnd);
            let now = if ended { &StdinMode::Closed } else { &stdin };
            prop_assert_eq!(taken, expected(frame, now));
        }
    }
}

#[test]
fn a_request_in_the_middle_of_a_run_is_out_of_turn() {
    let mut run = CalleeRun::reading(&StdinMode::Piped);
    let again = Frame::Run(Box::new(sample::request()));

    let got = again.kind();
    assert_eq!(run.handle_frame(again), Err(CalleeViolation { got }));
}

fn expected(frame: &Frame, stdin: &StdinMode) -> Result<Input, CalleeViolation> {
    let got = frame.kind();
    let open = *stdin != StdinMode::Closed;
    if let (Frame::Stdin(bytes), true) = (frame, open) {
        Ok(Input::Stdin(bytes.clone()))
    } else if *frame == Frame::StdinEnd && open {
        Ok(Input::StdinEnd)
    } else if let (Frame::Resize(size), true) = (frame, stdin.is_terminal()) {
        Ok(Input::Resize(*size))
    } else {
        Err(CalleeViolation { got })
    }
}

fn step() -> impl Strategy<Value = Frame> {
    prop_oneof![
        4 => vec(any::<u8>(), 0..9).prop_map(|bytes| Frame::Stdin(Bytes::from(bytes))),
        1 => Just(Frame::StdinEnd),
        2 => resize(),
        2 => frame(),
    ]
}
