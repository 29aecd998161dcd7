//! A run id starts at most one process, ever; and what is no request starts none.
#![cfg(target_os = "linux")]

mod cancelled;
mod garbage;
mod packets;
mod repeated;
mod unstarted;
mod window;

use std::{path::PathBuf, process::Command};

use node::clock::now_ms;
use proto::{
    codec::encode,
    frame::{Cancel, Frame},
    id::RunId,
    run::{
        Attached, Earlier, Ended, Environment, Exit, Refusal, RunRequest, StartFailure, StdinMode,
        Tree, Unstarted, What, Wire as Result, Word,
    },
    text::Text,
};
use quinn::ConnectionError;
use scenarios::{
    Lab, Mesh, PATIENCE, Process, eventually,
    peer::{Peer, fresh_id},
    proxy::{Proxy, Way},
};

use crate::props::{Counter, Gate, Mark, TARGET, on_a_disk_of, request, run, run_command};

/// The code with which an agent closes the link of a peer that breaks the protocol.
const PROTOCOL_VIOLATION: u32 = 2;

/// A lab with the operator alice, who speaks by hand, and a counter of starts.
struct Stage {
    lab: Lab,
    alice: PathBuf,
    counter: Counter,
}

impl Stage {
    fn new() -> Self {
        let lab = Lab::loopback();
        let alice = lab.mesh().issue_controller("alice");
        let counter = Counter::new(&lab);
        Self {
            lab,
            alice,
            counter,
        }
    }

    #[track_caller]
    fn peer(&mut self) -> Peer {
        Peer::honest(self.lab.agent(0).address(), &self.alice)
    }

    /// Returns a request that counts its start and ends with code 3.
    fn request(&self) -> RunRequest {
        self.request_for("exit 3")
    }

    fn request_for(&self, rest: &str) -> RunRequest {
        request(&self.lab, &["sh", "-c", &self.counter.script(rest)])
    }

    /// Makes sure that the agent serves as before, and has started `starts` programs so far.
    #[track_caller]
    fn assert_alive_with(&mut self, starts: usize) {
        assert_eq!(self.counter.starts(), starts);
        let answer = self.peer().run(&self.request());
        assert_eq!(exit_of(&answer), Exit::Code(3));
        assert_eq!(self.counter.starts(), starts + 1);
    }
}

/// Returns the program's own end.
#[track_caller]
fn exit_of(answer: &[Frame]) -> Exit {
    match answer {
        [Frame::Started(_), .., Frame::Ended(ended)] => exit(ended),
        other => panic!("not started and ended: {other:?}"),
    }
}

#[track_caller]
fn exit(ended: &Ended) -> Exit {
    match ended.result {
        Result::Finished(exit) => exit,
        Result::Reached(_) | Result::Cancelled | Result::AgentStopped | Result::LinkLost => {
            panic!("not finished: {ended:?}")
        }
    }
}

/// Returns how the first run with this id ended, which printed nothing.
#[track_caller]
fn earlier(answer: &[Frame]) -> (Earlier, Ended) {
    match answer {
        [
            Frame::Earlier(earlier),
            Frame::Attached(attached),
            Frame::Ended(ended),
        ] => {
            let nothing = Attached {
                stdout_from: 0,
                stderr_from: 0,
                stdout_to: 0,
                stderr_to: 0,
                stdin_from: None,
            };
            assert_eq!(*attached, nothing);
            (*earlier, ended.clone())
        }
        other => panic!("not the result of an earlier run: {other:?}"),
    }
}

#[track_caller]
fn refusal(answer: &[Frame]) -> Refusal {
    match answer {
        [Frame::Refused(refusal)] => refusal.clone(),
        other => panic!("not refused: {other:?}"),
    }
}
