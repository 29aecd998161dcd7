//! A hostile agent's stream: no bytes make a caller panic, believe a truncated output, or lose
//! count of what it heard.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use proto::{
    codec::Decoder,
    run::{CallerRun, Outcome, Progress},
};

fuzz_target!(|bytes: &[u8]| {
    let mut rest = Bytes::copy_from_slice(bytes);
    let (mut decoder, mut run) = (Decoder::default(), CallerRun::sent());
    let mut heard = Heard::default();
    while let Ok(Some(frame)) = decoder.next(&mut rest) {
        let was_over = run.outcome().is_some();
        match run.handle_frame(frame) {
            Ok(progress) => {
                assert!(!was_over, "something happened after the end");
                heard.note(&progress);
            }
            Err(_) => assert!(matches!(run.outcome(), Some(Outcome::Lost(_)))),
        }
        heard.check(&run);
    }

    run.handle_lost();

    assert!(run.outcome().is_some());
    heard.check(&run);
});

/// What the agent said, counted by the other end of the interface.
#[derive(Default)]
struct Heard {
    started: bool,
    earlier: bool,
    stdout_bytes: u64,
    stderr_bytes: u64,
}

impl Heard {
    fn note(&mut self, progress: &Progress) {
        match progress {
            Progress::Started(_) => self.started = true,
            Progress::Earlier(_) => self.earlier = true,
            Progress::Stdout(bytes) => self.stdout_bytes += bytes.len() as u64,
            Progress::Stderr(bytes) => self.stderr_bytes += bytes.len() as u64,
            Progress::Over => {}
        }
    }

    fn check(&self, run: &CallerRun) {
        match run.outcome() {
            Some(Outcome::Lost(known)) => {
                assert!(known.sent);
                assert_eq!(known.started, self.started || self.earlier);
                assert_eq!(known.stdout_bytes, self.stdout_bytes);
                assert_eq!(known.stderr_bytes, self.stderr_bytes);
            }
            Some(Outcome::Finished(_)) => {
                let ended = run.ended().expect("who finished has ended");
                let nothing_repeated =
                    self.earlier && self.stdout_bytes == 0 && self.stderr_bytes == 0;
                let complete = ended.stdout_bytes == self.stdout_bytes
                    && ended.stderr_bytes == self.stderr_bytes;
                assert!(complete || nothing_repeated, "a truncated output passed");
            }
            Some(Outcome::Refused(_)) => assert!(!self.started && !self.earlier),
            Some(Outcome::TimedOut(_) | Outcome::Cancelled) => {
                assert!(self.started || self.earlier);
            }
            None => {}
        }
    }
}
