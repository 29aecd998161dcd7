//! What a controller believes of an agent: the machine against a model that looks at the whole
//! history each time.

mod history; // the model

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use proto::{
    frame::{Frame, FrameKind},
    run::{
        Again, Attached, CallerRun, CallerViolation, Earlier, Ended, Exit, KnownOfLost, OnLinkLoss,
        Outcome, Progress, Refusal, Started, Tree, Wire,
    },
};

use self::history::{Begin, Event, History};
use crate::any_frame;

const STARTED: Frame = Frame::Started(Started { pid: 7, at_ms: 0 });
const EARLIER: Frame = Frame::Earlier(Earlier { accepted_at_ms: 0 });
const KEEP: OnLinkLoss = OnLinkLoss::Keep { orphan_ms: 600_000 };

proptest! {
    // What happens is one of many things, and a case costs microseconds.
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn all_that_happens_is_taken_as_its_whole_history_demands(
        begin in begin(),
        habit in any_frame::on_link_loss(),
        steps in vec(step(), 0..20),
    ) {
        let (mut run, mut history) = (begin.run(habit), History::new(begin, habit));

        for step in steps {
            let event = step.event(run.known());
            let expected = history.add(event.clone());

            let got = event.befalls(&mut run);

            prop_assert_eq!(got, expected, "after {:#?}", history);
            prop_assert_eq!(run.outcome().cloned(), history.outcome(), "after {:#?}", history);
            prop_assert_eq!(run.known(), history.known(), "after {:#?}", history);
            prop_assert_eq!(run.left_out(), history.left_out());
            prop_assert_eq!(run.is_away(), history.is_away(), "after {:#?}", history);
            prop_assert_eq!(run.ended(), history.ended());
        }
    }

    #[test]
    fn a_lost_agent_leaves_an_outcome_and_what_is_known(
        begin in begin(),
        habit in any_frame::on_link_loss(),
        steps in vec(step(), 0..10),
    ) {
        let mut run = begin.run(habit);
        for step in steps {
            let _ = step.event(run.known()).befalls(&mut run);
        }
        let expected = run.outcome().cloned().unwrap_or(Outcome::Lost(run.known()));

        prop_assert!(run.handle_lost() == Progress::Over || run.is_away());
        run.give_up();

        prop_assert_eq!(run.outcome(), Some(&expected));
        run.handle_not_started();
        run.again();
        run.give_up();
        prop_assert_eq!(run.handle_lost(), Progress::Over);
        prop_assert_eq!(run.outcome(), Some(&expected), "the end is the end");
        let late = run.handle_frame(STARTED);
        prop_assert_eq!(late, out_of_turn(FrameKind::Started));
    }

    #[test]
    fn truncated_output_is_never_reported_as_finished(
        start in prop_oneof![Just(vec![STARTED]), Just(vec![EARLIER, attached(0, 0)])],
        streams in vec((vec(output(), 0..5), 0..9_u64, 0..9_u64), 1..5),
        result in any_frame::wire().prop_filter("it counts", |wire| wire.outcome().is_some()),
        (stdout, stderr) in prop_oneof![Just((0, 0)), wrong_by()],
    ) {
        let mut run = CallerRun::sent(KEEP);
        for frame in start {
            prop_assert!(run.handle_frame(frame).is_ok());
        }
        let (mut arrived, mut left_out) = (0, 0);
        for (output, stdout_gap, stderr_gap) in streams {
            arrived += output.iter().map(len).sum::<u64>();
            for frame in output {
                prop_assert!(run.handle_frame(frame).is_ok());
            }
            run.handle_lost();
            let Again::Attach { stdout_from, stderr_from } = run.again() else {
                return Err(TestCaseError::fail("a run that was started is asked for again"));
            };
            left_out += stdout_gap + stderr_gap;
            let place = attached(stdout_from + stdout_gap, stderr_from + stderr_gap);
            prop_assert!(run.handle_frame(place).is_ok());
        }
        let known = run.known();
        let ended = Ended {
            result,
            stdout_bytes: known.stdout_bytes.wrapping_add_signed(stdout),
            stderr_bytes: known.stderr_bytes.wrapping_add_signed(stderr),
            ..ended(Wire::Cancelled)
        };

        let got = run.handle_frame(Frame::Ended(ended.clone()));

        prop_assert_eq!(run.left_out(), left_out);
        if (stdout, stderr) == (0, 0) {
            prop_assert_eq!(got, Ok(Progress::Over));
            prop_assert_eq!(run.outcome().cloned(), result.outcome());
            prop_assert_eq!(ended.stdout_bytes + ended.stderr_bytes, arrived + left_out);
        } else {
            prop_assert!(matches!(got, Err(CallerViolation::Truncated { .. })), "{:?}", got);
            prop_assert_eq!(run.outcome(), Some(&Outcome::Lost(known)));
            prop_assert_eq!(run.ended(), None);
        }
    }
}

#[test]
fn a_missing_end_is_lost_with_all_that_was_heard() {
    let mut run = CallerRun::sent(OnLinkLoss::End);
    run.handle_frame(STARTED).unwrap();
    run.handle_frame(stdout(b"abc")).unwrap();
    run.handle_frame(Frame::Stderr(Bytes::from_static(b"de")))
        .unwrap();

    run.handle_lost();

    let known = KnownOfLost {
        stdout_bytes: 3,
        stderr_bytes: 2,
        ..nothing_known(true)
    };
    assert_eq!(run.outcome(), Some(&Outcome::Lost(known)));
}

#[test]
fn a_second_end_is_out_of_turn() {
    let mut run = CallerRun::sent(KEEP);
    run.handle_frame(STARTED).unwrap();
    let end = Frame::Ended(ended(Wire::Finished(Exit::Code(0))));
    run.handle_frame(end.clone()).unwrap();

    assert_eq!(run.handle_frame(end), out_of_turn(FrameKind::Ended));
    assert!(matches!(run.outcome(), Some(Outcome::Lost(_))));
}

#[test]
fn an_earlier_run_finishes_with_what_is_no_longer_kept_told() {
    let mut run = CallerRun::sent(KEEP);
    run.handle_frame(EARLIER).unwrap();
    let ended = Ended {
        stdout_bytes: 10,
        ..ended(Wire::Finished(Exit::Code(3)))
    };

    let Ok(Progress::Attached { left_out, .. }) = run.handle_frame(attached(8, 0)) else {
        panic!("the run goes on here");
    };
    run.handle_frame(stdout(b"ab")).unwrap();
    run.handle_frame(Frame::Ended(ended.clone())).unwrap();

    assert_eq!((left_out, run.left_out()), (8, 8));
    assert_eq!(run.outcome(), Some(&Outcome::Finished(Exit::Code(3))));
    assert_eq!(run.ended(), Some(&ended));
}

#[test]
fn a_run_goes_on_at_the_byte_that_its_caller_has() {
    let mut run = CallerRun::sent(KEEP);
    run.handle_frame(STARTED).unwrap();
    run.handle_frame(stdout(b"abc")).unwrap();

    assert_eq!(run.handle_lost(), Progress::Away);
    let again = run.again();

    let (stdout_from, stderr_from) = (3, 0);
    assert_eq!(
        again,
        Again::Attach {
            stdout_from,
            stderr_from
        }
    );
    let repeats = Err(CallerViolation::Repeats {
        from: 2,
        received: 3,
    });
    assert_eq!(run.handle_frame(attached(2, 0)), repeats);
}

#[test]
fn who_only_attaches_never_asks_for_a_start() {
    let mut run = CallerRun::attaching(KEEP);

    run.handle_lost();

    let (stdout_from, stderr_from) = (0, 0);
    let attach = Again::Attach {
        stdout_from,
        stderr_from,
    };
    assert_eq!(run.again(), attach);
    assert_eq!(
        run.handle_frame(STARTED),
        out_of_turn(FrameKind::Started),
        "it did not ask for that"
    );
}

#[test]
fn the_refusal_of_a_retry_is_no_proof_that_the_first_request_started_nothing() {
    let retried = |refusal| {
        let mut run = CallerRun::sent(KEEP);
        run.handle_lost();
        assert_eq!(run.again(), Again::Request);
        run.handle_frame(Frame::Refused(refusal)).unwrap();
        run.outcome().cloned()
    };

    let lost = Outcome::Lost(nothing_known(false));
    assert_eq!(retried(Refusal::Stopping), Some(lost));
    let given_up = Outcome::Refused(Refusal::GivenUp);
    assert_eq!(retried(Refusal::GivenUp), Some(given_up));
}

#[test]
fn the_promise_that_nothing_was_started_is_not_believed_of_a_run_that_was() {
    let mut run = CallerRun::sent(KEEP);
    run.handle_frame(STARTED).unwrap();
    run.handle_lost();

    run.handle_not_started();

    assert_eq!(run.outcome(), None);
}

#[test]
fn output_beyond_all_numbers_is_counted_to_the_last() {
    let mut run = CallerRun::attaching(KEEP);
    run.handle_frame(attached(u64::MAX, u64::MAX)).unwrap();

    run.handle_frame(stdout(b"abc")).unwrap();

    assert_eq!(run.known().stdout_bytes, u64::MAX);
    assert_eq!(run.left_out(), u64::MAX);
}

/// What happens next; counts are relative to what is known by then.
#[derive(Debug, Clone)]
enum Step {
    Plain(Event),
    End { result: Wire, off: (i64, i64) },
    Attached { gap: (i64, i64) },
}

impl Step {
    fn event(self, known: KnownOfLost) -> Event {
        let both = |(stdout, stderr)| {
            let stdout = known.stdout_bytes.saturating_add_signed(stdout);
            (stdout, known.stderr_bytes.saturating_add_signed(stderr))
        };
        match self {
            Self::Plain(event) => event,
            Self::End { result, off } => {
                let (stdout_bytes, stderr_bytes) = both(off);
                Event::Hears(Frame::Ended(Ended {
                    stdout_bytes,
                    stderr_bytes,
                    ..ended(result)
                }))
            }
            Self::Attached { gap } => {
                let (stdout, stderr) = both(gap);
                Event::Hears(attached(stdout, stderr))
            }
        }
    }
}

fn begin() -> impl Strategy<Value = Begin> {
    let away = (any::<bool>(), 0..99_u64, 0..99_u64, 0..9_u64).prop_map(
        |(started, stdout_bytes, stderr_bytes, left_out)| {
            let (stdout_bytes, stderr_bytes) = if started {
                (stdout_bytes, stderr_bytes)
            } else {
                (0, 0)
            };
            let known = KnownOfLost {
                stdout_bytes,
                stderr_bytes,
                ..nothing_known(started)
            };
            Begin::Away { known, left_out }
        },
    );
    prop_oneof![3 => Just(Begin::Sent), 1 => Just(Begin::Attaching), 1 => away]
}

fn step() -> impl Strategy<Value = Step> {
    let hears = |frame| Step::Plain(Event::Hears(frame));
    let off = prop_oneof![3 => Just((0, 0)), 1 => wrong_by()];
    let end = (any_frame::wire(), off).prop_map(|(result, off)| Step::End { result, off });
    let gap = prop_oneof![3 => Just((0, 0)), 3 => (0..9_i64, 0..9_i64), 1 => wrong_by()];
    let attached = gap.prop_map(|gap| Step::Attached { gap });
    let refused = any_frame::refusal().prop_map(Frame::Refused);
    let rare = prop_oneof![Just(Event::HearsNotStarted), Just(Event::GivesUp)];
    prop_oneof![
        4 => prop_oneof![4 => Just(STARTED), 2 => Just(EARLIER), 1 => refused].prop_map(hears),
        6 => output().prop_map(hears),
        4 => attached,
        2 => end,
        3 => Just(Step::Plain(Event::LosesTheStream)),
        4 => Just(Step::Plain(Event::AsksAgain)),
        1 => rare.prop_map(Step::Plain),
        1 => any_frame::frame().prop_map(hears),
    ]
}

/// How far off the counts of an end are; also where their sum is right.
fn wrong_by() -> impl Strategy<Value = (i64, i64)> {
    let swapped = (1..9_i64).prop_map(|off| (off, -off));
    let any = (-99..99_i64, -99..99_i64).prop_filter("other counts", |off| *off != (0, 0));
    prop_oneof![swapped, any]
}

fn output() -> impl Strategy<Value = Frame> {
    let bytes = || vec(any::<u8>(), 0..9).prop_map(Bytes::from);
    prop_oneof![
        bytes().prop_map(Frame::Stdout),
        bytes().prop_map(Frame::Stderr)
    ]
}

const fn stdout(bytes: &'static [u8]) -> Frame {
    Frame::Stdout(Bytes::from_static(bytes))
}

const fn attached(stdout_from: u64, stderr_from: u64) -> Frame {
    Frame::Attached(Attached {
        stdout_from,
        stderr_from,
        stdout_to: u64::MAX,
        stderr_to: u64::MAX,
        stdin_from: None,
    })
}

fn len(frame: &Frame) -> u64 {
    if let Frame::Stdout(bytes) | Frame::Stderr(bytes) = frame {
        bytes.len() as u64
    } else {
        0
    }
}

const fn nothing_known(started: bool) -> KnownOfLost {
    KnownOfLost {
        sent: true,
        started,
        ended: None,
        stdout_bytes: 0,
        stderr_bytes: 0,
    }
}

const fn ended(result: Wire) -> Ended {
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
