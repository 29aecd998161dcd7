//! What a controller believes of an agent: the machine against a model that looks at the whole
//! history each time.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use proto::{
    frame::{Frame, FrameKind},
    run::{
        CallerRun, CallerViolation, Earlier, Ended, Exit, KnownOfLost, Outcome, Progress, Refusal,
        Started, Tree, Wire,
    },
};

use crate::any_frame;

const STARTED: Frame = Frame::Started(Started { pid: 7, at_ms: 0 });
const EARLIER: Frame = Frame::Earlier(Earlier { accepted_at_ms: 0 });

proptest! {
    #[test]
    fn frames_are_taken_in_legal_order_only(steps in vec(step(), 0..10)) {
        let (mut run, mut history) = (CallerRun::sent(), Vec::new());

        for step in steps {
            let frame = step.frame(&history);
            let expected = expected(&history, &frame);

            let got = run.handle_frame(frame.clone());

            prop_assert_eq!(&got, &expected, "{:?} after {:?}", frame, history);
            history.push(frame);
            prop_assert_eq!(run.outcome().cloned(), outcome(&history), "after {:?}", history);
            prop_assert_eq!(run.known(), known(&history));
        }
    }

    #[test]
    fn a_lost_agent_leaves_an_outcome_and_what_is_known(steps in vec(step(), 0..10)) {
        let (mut run, mut history) = (CallerRun::sent(), Vec::new());
        for step in steps {
            let frame = step.frame(&history);
            let _ = run.handle_frame(frame.clone());
            history.push(frame);
        }

        run.handle_lost();

        let expected = outcome(&history).unwrap_or(Outcome::Lost(known(&history)));
        prop_assert_eq!(run.outcome(), Some(&expected));
        run.handle_lost();
        prop_assert_eq!(run.outcome(), Some(&expected), "the end is the end");
        let late = run.handle_frame(STARTED);
        prop_assert_eq!(late, out_of_turn(FrameKind::Started));
    }

    #[test]
    fn truncated_output_is_never_reported_as_finished(
        start in prop_oneof![Just(STARTED), Just(EARLIER)],
        output in vec(output(), 1..6),
        result in any_frame::wire(),
        (stdout, stderr) in wrong_by(),
    ) {
        let mut run = CallerRun::sent();
        let _ = run.handle_frame(start);
        for frame in &output {
            prop_assert!(run.handle_frame(frame.clone()).is_ok());
        }
        let known = run.known();
        prop_assume!(known.stdout_bytes + known.stderr_bytes > 0);
        let ended = Ended {
            result,
            stdout_bytes: known.stdout_bytes.wrapping_add_signed(stdout.into()),
            stderr_bytes: known.stderr_bytes.wrapping_add_signed(stderr.into()),
            ..ended(Wire::Cancelled)
        };

        let got = run.handle_frame(Frame::Ended(ended));

        let truncated = matches!(got, Err(CallerViolation::Truncated { .. }));
        prop_assert!(truncated, "{:?}", got);
        prop_assert_eq!(run.outcome(), Some(&Outcome::Lost(known)));
        prop_assert_eq!(run.ended(), None);
    }
}

#[test]
fn a_missing_end_is_lost_with_all_that_was_heard() {
    let mut run = CallerRun::sent();
    run.handle_frame(STARTED).unwrap();
    run.handle_frame(Frame::Stdout(Bytes::from_static(b"abc")))
        .unwrap();
    run.handle_frame(Frame::Stderr(Bytes::from_static(b"de")))
        .unwrap();

    run.handle_lost();

    let known = KnownOfLost {
        sent: true,
        started: true,
        ended: None,
        stdout_bytes: 3,
        stderr_bytes: 2,
    };
    assert_eq!(run.outcome(), Some(&Outcome::Lost(known)));
}

#[test]
fn a_second_end_is_out_of_turn() {
    let mut run = CallerRun::sent();
    run.handle_frame(STARTED).unwrap();
    let end = Frame::Ended(ended(Wire::Finished(Exit::Code(0))));
    run.handle_frame(end.clone()).unwrap();

    assert_eq!(run.handle_frame(end), out_of_turn(FrameKind::Ended));
    assert!(matches!(run.outcome(), Some(Outcome::Lost(_))));
}

#[test]
fn an_earlier_run_finishes_without_its_output_repeated() {
    let mut run = CallerRun::sent();
    run.handle_frame(EARLIER).unwrap();
    let ended = Ended {
        stdout_bytes: 10,
        ..ended(Wire::Finished(Exit::Code(3)))
    };

    run.handle_frame(Frame::Ended(ended.clone())).unwrap();

    assert_eq!(run.outcome(), Some(&Outcome::Finished(Exit::Code(3))));
    assert_eq!(run.ended(), Some(&ended));
}

/// What the agent says next; an end counts the output before it, but for what it is off by.
#[derive(Debug, Clone)]
enum Step {
    Say(Frame),
    End { result: Wire, off: (i8, i8) },
}

impl Step {
    fn frame(self, history: &[Frame]) -> Frame {
        match self {
            Self::Say(frame) => frame,
            Self::End { result, off } => {
                let known = known(history);
                Frame::Ended(Ended {
                    stdout_bytes: known.stdout_bytes.saturating_add_signed(off.0.into()),
                    stderr_bytes: known.stderr_bytes.saturating_add_signed(off.1.into()),
                    ..ended(result)
                })
            }
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let off = prop_oneof![3 => Just((0, 0)), 1 => wrong_by()];
    let end = (any_frame::wire(), off).prop_map(|(result, off)| Step::End { result, off });
    let refused = any_frame::refusal().prop_map(Frame::Refused);
    prop_oneof![
        3 => prop_oneof![Just(STARTED), Just(EARLIER), refused].prop_map(Step::Say),
        6 => output().prop_map(Step::Say),
        2 => end,
        1 => any_frame::frame().prop_map(Step::Say),
    ]
}

/// How far off the counts of an end are; also where their sum is right.
fn wrong_by() -> impl Strategy<Value = (i8, i8)> {
    let swapped = (1..9_i8).prop_map(|off| (off, -off));
    let any = any::<(i8, i8)>().prop_filter("other counts", |off| *off != (0, 0));
    prop_oneof![swapped, any]
}

fn output() -> impl Strategy<Value = Frame> {
    let bytes = || vec(any::<u8>(), 0..9).prop_map(Bytes::from);
    prop_oneof![
        bytes().prop_map(Frame::Stdout),
        bytes().prop_map(Frame::Stderr)
    ]
}

fn ended(result: Wire) -> Ended {
    Ended {
        result,
        tree: Tree::Gone,
        stdout_bytes: 0,
        stderr_bytes: 0,
        duration_ms: 0,
    }
}

const fn out_of_turn(got: FrameKind) -> Result<Progress, CallerViolation> {
    Err(CallerViolation::OutOfTurn { got })
}

/// Whether the last of `frames` was in its turn, by the shape of them all.
fn is_legal(frames: &[Frame]) -> bool {
    match frames {
        [] | [Frame::Started(_) | Frame::Earlier(_) | Frame::Refused(_)] => true,
        [Frame::Started(_) | Frame::Earlier(_), output @ .., last] => {
            output.iter().all(is_output) && (is_output(last) || matches!(last, Frame::Ended(_)))
        }
        [..] => false,
    }
}

const fn is_output(frame: &Frame) -> bool {
    matches!(frame, Frame::Stdout(_) | Frame::Stderr(_))
}

/// The longest part of `frames`, from the first one, of which each was in its turn.
fn legal_part(frames: &[Frame]) -> &[Frame] {
    let len = (0..=frames.len())
        .take_while(|len| is_legal(&frames[..*len]))
        .last();
    &frames[..len.expect("nothing at all is legal")]
}

/// Output bytes of either kind in `frames`.
fn counted(frames: &[Frame]) -> (u64, u64) {
    let (mut stdout, mut stderr) = (0, 0);
    for frame in frames {
        if let Frame::Stdout(bytes) = frame {
            stdout += bytes.len() as u64;
        } else if let Frame::Stderr(bytes) = frame {
            stderr += bytes.len() as u64;
        }
    }
    (stdout, stderr)
}

fn is_truncated(history: &[Frame], ended: &Ended) -> bool {
    let counted = counted(history);
    let is_earlier = matches!(history.first(), Some(Frame::Earlier(_)));
    let may_be_left_out = is_earlier && counted == (0, 0);
    counted != (ended.stdout_bytes, ended.stderr_bytes) && !may_be_left_out
}

fn expected(history: &[Frame], frame: &Frame) -> Result<Progress, CallerViolation> {
    let with = [history, std::slice::from_ref(frame)].concat();
    if !is_legal(&with) {
        return out_of_turn(frame.kind());
    }
    if let Frame::Ended(ended) = frame
        && is_truncated(history, ended)
    {
        let (stdout, stderr) = counted(history);
        let reported = ended.stdout_bytes.saturating_add(ended.stderr_bytes);
        return Err(CallerViolation::Truncated {
            reported,
            received: stdout + stderr,
        });
    }
    let progress = if let Frame::Started(started) = frame {
        Progress::Started(*started)
    } else if let Frame::Earlier(earlier) = frame {
        Progress::Earlier(*earlier)
    } else if let Frame::Stdout(bytes) = frame {
        Progress::Stdout(bytes.clone())
    } else if let Frame::Stderr(bytes) = frame {
        Progress::Stderr(bytes.clone())
    } else {
        Progress::Over
    };
    Ok(progress)
}

fn known(history: &[Frame]) -> KnownOfLost {
    let legal = legal_part(history);
    let (stdout_bytes, stderr_bytes) = counted(legal);
    let started = matches!(legal.first(), Some(Frame::Started(_) | Frame::Earlier(_)));
    let ended = match legal {
        [before @ .., Frame::Ended(ended)] if !is_truncated(before, ended) => Some(ended.result),
        _ => None,
    };
    let ended = ended.filter(|how| matches!(how, Wire::AgentStopped | Wire::LinkLost));
    KnownOfLost {
        sent: true,
        started,
        ended,
        stdout_bytes,
        stderr_bytes,
    }
}

fn outcome(history: &[Frame]) -> Option<Outcome> {
    let lost = Outcome::Lost(known(history));
    if !is_legal(history) {
        return Some(lost);
    }
    match history {
        [Frame::Refused(refusal)] => Some(Outcome::Refused(Refusal::clone(refusal))),
        [before @ .., Frame::Ended(ended)] => Some(match ended.result {
            _ if is_truncated(before, ended) => lost,
            Wire::Finished(exit) => Outcome::Finished(exit),
            Wire::Reached(limit) => Outcome::TimedOut(limit),
            Wire::Cancelled => Outcome::Cancelled,
            Wire::AgentStopped | Wire::LinkLost => lost,
        }),
        [..] => None,
    }
}
