//! A hostile agent's streams: no bytes make a caller panic, believe a truncated output, or lose
//! count of what it heard.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use proto::{
    codec::Decoder,
    frame::Frame,
    run::{Again, CallerRun, OnLinkLoss, Outcome, Progress},
};

fuzz_target!(|bytes: &[u8]| {
    let mut rest = Bytes::copy_from_slice(bytes);
    let mut run = CallerRun::sent(OnLinkLoss::Keep { orphan_ms: 1 });
    let mut heard = Heard::default();
    hear_stream(&mut run, &mut rest, &mut heard);
    // What is no frame ends a stream, and what is behind it is the next.
    while !rest.is_empty() && run.handle_lost() == Progress::Away {
        heard.check_again(run.again());
        hear_stream(&mut run, &mut rest, &mut heard);
    }

    run.give_up();

    assert!(run.outcome().is_some());
    heard.check(&run);
});

fn hear_stream(run: &mut CallerRun, rest: &mut Bytes, heard: &mut Heard) {
    let mut decoder = Decoder::default();
    while let Ok(Some(frame)) = decoder.next(rest) {
        hear_frame(run, frame, heard);
        heard.check(run);
    }
}

fn hear_frame(run: &mut CallerRun, frame: Frame, heard: &mut Heard) {
    let was_over = run.outcome().is_some();
    match run.handle_frame(frame) {
        Ok(progress) => {
            assert!(!was_over, "something happened after the end");
            heard.note(&progress);
        }
        Err(_) => assert!(matches!(run.outcome(), Some(Outcome::Lost(_)))),
    }
}

/// What the agent said, counted by the other end of the interface.
#[derive(Default)]
struct Heard {
    accepted: bool,
    stdout_bytes: u64,
    stderr_bytes: u64,
    left_out: u64,
}

impl Heard {
    fn note(&mut self, progress: &Progress) {
        match progress {
            Progress::Started(_) | Progress::Earlier(_) => self.accepted = true,
            Progress::Attached { attached, left_out } => {
                self.accepted = true;
                assert!(
                    attached.stdout_from >= self.stdout_bytes,
                    "output is repeated"
                );
                assert!(
                    attached.stderr_from >= self.stderr_bytes,
                    "output is repeated"
                );
                self.stdout_bytes = attached.stdout_from;
                self.stderr_bytes = attached.stderr_from;
                self.left_out = self.left_out.saturating_add(*left_out);
            }
            Progress::Stdout(bytes) => add(&mut self.stdout_bytes, bytes),
            Progress::Stderr(bytes) => add(&mut self.stderr_bytes, bytes),
            Progress::Away => panic!("a frame is no loss"),
            Progress::Over => {}
        }
    }

    fn check_again(&self, again: Again) {
        let expected = if self.accepted {
            Again::Attach {
                stdout_from: self.stdout_bytes,
                stderr_from: self.stderr_bytes,
            }
        } else {
            Again::Request
        };
        assert_eq!(again, expected);
    }

    fn check(&self, run: &CallerRun) {
        assert_eq!(run.left_out(), self.left_out);
        match run.outcome() {
            Some(Outcome::Lost(known)) => {
                assert!(known.sent);
                assert_eq!(known.started, self.accepted);
                assert_eq!(known.stdout_bytes, self.stdout_bytes);
                assert_eq!(known.stderr_bytes, self.stderr_bytes);
            }
            Some(Outcome::Finished(_)) => {
                let ended = run.ended().expect("who finished has ended");
                let complete = ended.stdout_bytes == self.stdout_bytes
                    && ended.stderr_bytes == self.stderr_bytes;
                assert!(complete, "a truncated output passed");
            }
            Some(Outcome::Refused(_)) => assert!(!self.accepted),
            Some(Outcome::TimedOut(_) | Outcome::Cancelled) => assert!(self.accepted),
            Some(Outcome::NotStarted) => panic!("nobody promised that"),
            None => {}
        }
    }
}

/// Counts what a peer may have put beyond all numbers.
fn add(counted: &mut u64, bytes: &[u8]) {
    *counted = counted.saturating_add(bytes.len() as u64);
}
