//! A run id starts at most one process, ever; and what is no request starts none.
#![cfg(target_os = "linux")]

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

#[test]
fn repeated_request_on_the_same_link_starts_nothing_and_hears_the_first_result() {
    let mut stage = Stage::new();
    let (peer, request) = (stage.peer(), stage.request());

    let first = peer.run(&request);
    let second = peer.run(&request);

    assert_eq!(exit_of(&first), Exit::Code(3));
    assert_eq!(exit(&earlier(&second).1), Exit::Code(3));
    assert_eq!(stage.counter.starts(), 1);
}

#[test]
fn repeated_request_on_another_link_starts_nothing() {
    let mut stage = Stage::new();
    let request = stage.request();

    let _ = stage.peer().run(&request);
    let second = stage.peer().run(&request);

    assert_eq!(exit(&earlier(&second).1), Exit::Code(3));
    assert_eq!(stage.counter.starts(), 1);
}

#[test]
fn repeated_request_after_a_restart_of_the_agent_starts_nothing() {
    let mut stage = Stage::new();
    let request = stage.request();
    let _ = stage.peer().run(&request);

    stage.lab.agent(0).restart();
    let second = stage.peer().run(&request);

    assert_eq!(exit(&earlier(&second).1), Exit::Code(3));
    assert_eq!(stage.counter.starts(), 1);
}

#[test]
fn the_same_run_id_twice_on_the_command_line_gives_the_first_output_and_exit_code() {
    let lab = Lab::loopback();
    let counter = Counter::new(&lab);
    let id = fresh_id().to_string();
    let script = counter.script("echo output; echo error >&2; exit 7");
    let ask = || run(&lab, vec!["--run-id", &id], vec!["sh", "-c", &script]);

    let first = ask().expect_code(7);
    let second = ask().expect_code(7);

    assert_eq!(first.stdout, b"output\n");
    assert_eq!(first.stderr, b"error\n");
    assert_eq!(second.stdout, b"output\n");
    assert!(second.stderr.ends_with(b"error\n"), "{second:?}");
    assert!(
        second.stderr_text().contains("nothing is started"),
        "{second:?}"
    );
    assert_eq!(counter.starts(), 1);
}

#[test]
fn repeated_request_while_the_first_is_in_progress_hears_the_same_end() {
    let mut stage = Stage::new();
    let gate = Gate::new(stage.lab.mesh().folder());
    let request = stage.request_for(&format!("{}; exit 5", gate.wait()));
    let (here, there) = (stage.peer(), stage.peer());
    let frame = Frame::Run(Box::new(request));
    let mut first = here.ask(&frame);
    assert!(matches!(first.next().unwrap(), Some(Frame::Started(_))));

    // Whoever repeats the request watches beside the caller, on whatever link.
    let mut repeated = [here.ask(&frame), there.ask(&frame)];
    for wire in &mut repeated {
        assert!(matches!(wire.next().unwrap(), Some(Frame::Earlier(_))));
    }
    let _open = gate.open();

    let Some(Frame::Ended(ended)) = first.rest().unwrap().pop() else {
        panic!("the first has no end")
    };
    assert_eq!(exit(&ended), Exit::Code(5));
    for mut wire in repeated {
        let answer = wire.rest().unwrap();
        let [Frame::Attached(_), Frame::Ended(again)] = answer.as_slice() else {
            panic!("no end: {answer:?}")
        };
        assert_eq!(*again, ended);
    }
    assert_eq!(stage.counter.starts(), 1);
}

#[test]
fn many_copies_of_a_request_at_once_start_one_process() {
    let mut stage = Stage::new();
    let frame = Frame::Run(Box::new(stage.request()));
    let peers = [stage.peer(), stage.peer(), stage.peer()];

    let mut wires: Vec<_> = (0..60).map(|copy| peers[copy % 3].ask(&frame)).collect();
    let answers: Vec<_> = wires.iter_mut().map(|wire| wire.rest().unwrap()).collect();

    let started = |answer: &&Vec<Frame>| matches!(answer[0], Frame::Started(_));
    assert_eq!(answers.iter().filter(started).count(), 1);
    for answer in &answers {
        let Some(Frame::Ended(ended)) = answer.last() else {
            panic!("no end: {answer:?}")
        };
        assert_eq!(exit(ended), Exit::Code(3));
    }
    assert_eq!(stage.counter.starts(), 1);
}

#[test]
fn killed_at_any_moment_the_agent_never_starts_a_request_twice() {
    let mut stage = Stage::new();
    for moment in 0..8_u32 {
        let starts = stage.counter.starts();
        let request = stage.request_for("exit 3");
        let frame = Frame::Run(Box::new(request.clone()));
        let peer = stage.peer();
        let wire = peer.ask(&frame);
        // Another moment each time; where it falls does not matter for what must hold.
        for turn in 0..moment * 200_000 {
            std::hint::black_box(turn);
        }

        stage.lab.agent(0).kill();
        stage.lab.agent(0).restart();
        drop(wire);
        peer.vanish();
        let retry = stage.peer().run(&request);

        let new_starts = stage.counter.starts() - starts;
        match retry.as_slice() {
            // The agent had not seen it.
            [Frame::Started(_), ..] => assert_eq!(new_starts, 1),
            // It had started it, or was about to.
            _ => match earlier(&retry).1.result {
                Result::AgentStopped => assert!(new_starts <= 1),
                Result::Finished(exit) => assert_eq!((new_starts, exit), (1, Exit::Code(3))),
                other @ (Result::Reached(_) | Result::Cancelled | Result::LinkLost) => {
                    panic!("{other:?}")
                }
            },
        }
    }
}

#[test]
fn request_is_taken_within_its_window_only() {
    let mut stage = Stage::new();
    let peer = stage.peer();
    let answer_to = |stage: &Stage, issued_at_ms: u64, valid_for_ms: u32| {
        peer.run(&RunRequest {
            issued_at_ms,
            valid_for_ms,
            ..stage.request()
        })
    };

    // Half a minute of room on either side, whatever this machine is busy with.
    let taken = [
        (now_ms() - 270_000, 300_000),
        (now_ms() - 570_000, 600_000),
        (now_ms() + 10_000, 60_000),
    ];
    for (issued, valid) in taken {
        assert_eq!(exit_of(&answer_to(&stage, issued, valid)), Exit::Code(3));
    }
    let late = [
        (now_ms() - 61_000, 60_000),
        (now_ms() - 2_000, 1_000),
        (now_ms() - 1_000, 0),
        (now_ms() - 601_000, u32::MAX),
        (0, u32::MAX),
    ];
    for (issued, valid) in late {
        let refused = refusal(&answer_to(&stage, issued, valid));
        assert!(
            matches!(refused, Refusal::TooOld { .. } | Refusal::OlderThanMemory),
            "{refused:?}"
        );
    }
    for issued in [now_ms() + 90_000, u64::MAX] {
        let refused = refusal(&answer_to(&stage, issued, 60_000));
        assert!(
            matches!(refused, Refusal::FromTheFuture { .. }),
            "{refused:?}"
        );
    }
    stage.assert_alive_with(taken.len());
}

#[test]
fn refusal_of_an_old_request_names_the_difference_of_the_clocks() {
    let mut stage = Stage::new();
    let old = RunRequest {
        issued_at_ms: now_ms() - 100_000,
        ..stage.request()
    };

    let Refusal::TooOld {
        age_ms,
        valid_for_ms,
    } = refusal(&stage.peer().run(&old))
    else {
        panic!("not too old")
    };

    assert!((100_000..160_000).contains(&age_ms), "{age_ms}");
    assert_eq!(valid_for_ms, 60_000);
}

#[test]
fn request_for_one_agent_is_of_no_use_at_another() {
    let mut stage = Stage::new();
    let request = stage.request();
    let other = stage.lab.start_agent("srv-linux-02").address();
    let _ = stage.peer().run(&request);

    let answer = Peer::honest(other, &stage.alice).run(&request);

    let expected = Refusal::Audience {
        agent: Text::cut(TARGET),
    };
    assert_eq!(refusal(&answer), expected);
    assert_eq!(stage.counter.starts(), 1);
}

#[test]
fn request_for_an_agent_of_the_same_name_in_another_mesh_is_refused() {
    let mut stage = Stage::new();
    let mut request = stage.request();
    request.audience.mesh = Mesh::init("lab").fingerprint();

    let answer = stage.peer().run(&request);

    assert!(matches!(refusal(&answer), Refusal::Audience { .. }));
    stage.assert_alive_with(0);
}

#[test]
fn changed_body_under_a_used_id_is_refused() {
    let mut stage = Stage::new();
    let peer = stage.peer();
    let first = stage.request();
    let _ = peer.run(&first);
    let other_command = RunRequest {
        id: first.id,
        ..stage.request_for("exit 4")
    };
    let other_folder = RunRequest {
        cwd: Some(Word::from("/")),
        ..first.clone()
    };
    let other_variable = RunRequest {
        environment: Environment(vec![("A".into(), "b".into())]),
        ..first
    };

    for changed in [other_command, other_folder, other_variable] {
        assert_eq!(refusal(&peer.run(&changed)), Refusal::DifferentRequest);
    }
    stage.assert_alive_with(1);
}

#[test]
fn changed_body_under_the_id_of_a_run_in_progress_is_refused() {
    let mut stage = Stage::new();
    let gate = Gate::new(stage.lab.mesh().folder());
    let first = stage.request_for(&gate.wait());
    let peer = stage.peer();
    let mut wire = peer.ask(&Frame::Run(Box::new(first.clone())));
    assert!(matches!(wire.next().unwrap(), Some(Frame::Started(_))));
    let changed = RunRequest {
        id: first.id,
        ..stage.request_for("exit 4")
    };

    assert_eq!(refusal(&peer.run(&changed)), Refusal::DifferentRequest);

    let _open = gate.open();
    assert!(matches!(wire.rest().unwrap().pop(), Some(Frame::Ended(_))));
    assert_eq!(stage.counter.starts(), 1);
}

#[test]
fn id_of_another_controllers_run_is_refused() {
    let mut stage = Stage::new();
    let bob = stage.lab.mesh().issue_controller("bob");
    let gate = Gate::new(stage.lab.mesh().folder());
    let request = stage.request_for(&gate.wait());
    let (alice, bob) = (
        stage.peer(),
        Peer::honest(stage.lab.agent(0).address(), &bob),
    );
    let mut wire = alice.ask(&Frame::Run(Box::new(request.clone())));
    assert!(matches!(wire.next().unwrap(), Some(Frame::Started(_))));

    assert_eq!(
        refusal(&bob.run(&request)),
        Refusal::OtherController,
        "while it runs"
    );
    let _open = gate.open();
    let _ = wire.rest().unwrap();
    assert_eq!(
        refusal(&bob.run(&request)),
        Refusal::OtherController,
        "after its end"
    );

    assert_eq!(stage.counter.starts(), 1);
}

#[test]
fn recorded_packets_start_nothing_when_they_are_replayed() {
    let mut lab = Lab::loopback();
    let counter = Counter::new(&lab);
    let proxy = Proxy::start(lab.agent(0).address(), 7);
    let mut command = lab.controller_knowing([(TARGET, proxy.address())], ["run", "-t", TARGET]);
    let canary = "a-canary-that-nobody-may-read";
    command.args(["--", "sh", "-c", &counter.script(&format!("echo {canary}"))]);
    let _ = Process::run(command).expect_success();
    let record = proxy.record();

    replay_all(&proxy);
    let served = run(&lab, vec![], vec!["echo", "alive"]).expect_success();
    lab.agent(0).restart();
    replay_all(&proxy);

    assert_eq!(served.stdout, b"alive\n");
    let _ = run(&lab, vec![], vec!["true"]).expect_success();
    assert_eq!(counter.starts(), 1);
    assert!(!record.contains(canary.as_bytes()));
}

/// Sends all that went to the server once more: as from the same client, and as from a stranger.
fn replay_all(proxy: &Proxy) {
    let record = proxy.record();
    let sent: Vec<_> = record.on_way(Way::ToServer).collect();
    assert!(sent.len() >= 5, "{} packets are no run", sent.len());
    for packet in &sent {
        proxy.replay(packet);
    }
    for packet in &sent {
        proxy.inject_from_stranger(packet.bytes.clone());
    }
}

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

#[test]
fn cancel_of_an_unknown_run_gives_its_id_up_for_ever_and_the_link_lives() {
    let mut stage = Stage::new();
    let peer = stage.peer();
    let late = stage.request();

    assert_eq!(refusal(&cancel(&peer, late.id)), Refusal::GivenUp);
    assert_eq!(refusal(&cancel(&peer, late.id)), Refusal::GivenUp);

    assert_eq!(refusal(&peer.run(&late)), Refusal::GivenUp);
    stage.lab.agent(0).restart();
    assert_eq!(refusal(&stage.peer().run(&late)), Refusal::GivenUp);
    stage.assert_alive_with(0);
}

#[test]
fn cancel_of_a_run_that_has_ended_tells_how_it_ended() {
    let mut stage = Stage::new();
    let peer = stage.peer();
    let ended = stage.request();
    let _ = peer.run(&ended);

    let answer = cancel(&peer, ended.id);

    let [Frame::Ended(told)] = answer.as_slice() else {
        panic!("no end: {answer:?}")
    };
    assert_eq!(exit(told), Exit::Code(3));
    stage.assert_alive_with(1);
}

fn cancel(peer: &Peer, run: RunId) -> Vec<Frame> {
    let mut wire = peer.ask(&Frame::Cancel(Cancel { run, grace_ms: 0 }));
    wire.rest().unwrap()
}

#[test]
fn cancel_from_another_link_is_acknowledged_to_all_who_ask() {
    let mut stage = Stage::new();
    let request = stage.request_for("sleep 1000");
    let mark = Mark::of(request.id);
    let (here, there) = (stage.peer(), stage.peer());
    let mut wire = here.ask(&Frame::Run(Box::new(request)));
    assert!(matches!(wire.next().unwrap(), Some(Frame::Started(_))));

    let cancel = Frame::Cancel(Cancel {
        run: mark.id().parse().unwrap(),
        grace_ms: 100,
    });
    let mut asked = [here.ask(&cancel), there.ask(&cancel)];
    let answers = asked.each_mut().map(|asked| asked.rest().unwrap().pop());

    mark.assert_nothing_left("a cancelled run");
    for answer in answers {
        match answer {
            Some(Frame::Ended(ended)) => {
                assert_eq!((ended.result, ended.tree), (Result::Cancelled, Tree::Gone));
            }
            other => panic!("{other:?}"),
        }
    }
    let Some(Frame::Ended(ended)) = wire.rest().unwrap().pop() else {
        panic!("no end")
    };
    assert_eq!(ended.result, Result::Cancelled);
}

#[test]
fn requests_that_no_system_could_carry_out_are_refused_and_the_link_lives() {
    let mut stage = Stage::new();
    let peer = stage.peer();
    let script = |text: &str| What::Script {
        shell: proto::shell::Shell::Sh,
        text: text.to_owned(),
    };
    let variable = |name: &[u8], value: &[u8]| RunRequest {
        environment: Environment(vec![(Word(name.to_vec()), Word(value.to_vec()))]),
        ..stage.request()
    };
    let long = "x".repeat(128 << 10);
    let malformed = [
        request(&stage.lab, &["echo", "a\0b"]),
        RunRequest {
            what: script("echo a\0b"),
            ..stage.request()
        },
        RunRequest {
            cwd: Some(Word(b"/\0".to_vec())),
            ..stage.request()
        },
    ];
    let environment = [
        variable(b"A=B", b"c"),
        variable(b"", b"c"),
        variable(b"A\nB", b"c"),
        variable(b"A\0B", b"c"),
        variable(b"A", b"\0"),
        variable(b"LD_PRELOAD", b"/tmp/x.so"),
    ];

    for request in malformed {
        let refused = refusal(&peer.run(&request));
        assert!(matches!(refused, Refusal::Request { .. }), "{refused:?}");
    }
    for request in environment {
        let refused = refusal(&peer.run(&request));
        let expected = matches!(refused, Refusal::Start(StartFailure::Environment { .. }));
        assert!(expected, "{refused:?}");
    }
    let refused = refusal(&peer.run(&request(&stage.lab, &["echo", &long])));
    assert!(
        matches!(refused, Refusal::Start(StartFailure::Other { .. })),
        "{refused:?}"
    );
    assert!(peer.closed().is_none());
    stage.assert_alive_with(0);
}

#[test]
fn run_that_could_not_be_started_is_not_tried_again_under_its_id() {
    let mut stage = Stage::new();
    let program = stage.lab.mesh().folder().join("later");
    let request = request(&stage.lab, &[program.to_str().unwrap()]);
    let peer = stage.peer();
    let first = refusal(&peer.run(&request));
    assert!(
        matches!(first, Refusal::Start(StartFailure::NotFound { .. })),
        "{first:?}"
    );

    std::os::unix::fs::symlink("/bin/true", &program).unwrap();

    let earlier = Refusal::NotStartedEarlier(Unstarted::NotFound);
    assert_eq!(refusal(&peer.run(&request)), earlier);
    stage.lab.agent(0).restart();
    assert_eq!(refusal(&stage.peer().run(&request)), earlier);
}

#[test]
fn full_disk_under_the_record_refuses_runs_and_starts_none() {
    let mut lab = Lab::loopback();
    let counter = Counter::new(&lab);
    let agent = lab.take_agent(0);
    let (address, home) = (agent.address(), agent.home().to_owned());
    let command = on_a_disk_of("32k", &agent.command(), &home);
    let _ = agent.stop();
    let small = Process::start(command);
    let said = small.wait_for_line("listening on ", PATIENCE);
    let new_address = said.rsplit(' ').next().unwrap().parse().unwrap();
    assert_ne!(address, new_address);
    let ask = || {
        let mut command = lab.controller_knowing([(TARGET, new_address)], ["run", "-t", TARGET]);
        command.args(["--", "sh", "-c", &counter.script("exit 3")]);
        Process::run(command)
    };

    let full = ask().expect_code(125);
    let starts_when_full = counter.starts();
    let pid = small.id().to_string();
    let mut grow = Command::new("nsenter");
    grow.args([
        "--target",
        &pid,
        "--mount",
        "mount",
        "-o",
        "remount,size=8m",
    ]);
    let _ = Process::run({
        grow.arg(&home);
        grow
    })
    .expect_success();

    let said = full.stderr_text();
    assert!(
        said.contains("cannot record the run, so it does not start it"),
        "{said}"
    );
    assert_eq!(starts_when_full, 0);
    let _ = ask().expect_code(3);
    assert_eq!(counter.starts(), 1);
}

#[test]
fn repeated_request_is_told_from_a_new_one_by_its_id_alone() {
    let mut stage = Stage::new();
    let peer = stage.peer();
    let first = stage.request();
    let again = RunRequest {
        id: fresh_id(),
        ..first.clone()
    };
    let retried_later = RunRequest {
        issued_at_ms: first.issued_at_ms + 5,
        valid_for_ms: 30_000,
        ..first.clone()
    };

    let _ = exit_of(&peer.run(&first));
    let _ = exit_of(&peer.run(&again));
    let _ = earlier(&peer.run(&retried_later));

    assert_eq!(stage.counter.starts(), 2);
    eventually(PATIENCE, || peer.closed().is_none());
}

#[test]
fn one_controllers_command_line_does_not_reach_anothers_run() {
    let lab = Lab::loopback();
    let counter = Counter::new(&lab);
    let bob = lab.mesh().issue_controller("bob");
    let id = fresh_id().to_string();
    let script = counter.script("exit 3");
    let options = vec!["--run-id", &id];
    let mut as_bob = lab.controller(["--identity", bob.to_str().unwrap(), "run", "-t", TARGET]);
    as_bob.args(["--run-id", &id, "--", "sh", "-c", &script]);

    let own = Process::run(run_command(&lab, options, vec!["sh", "-c", &script])).expect_code(3);
    let foreign = Process::run(as_bob).expect_code(255);

    assert_eq!(own.stderr_text(), "");
    assert!(
        foreign
            .stderr_text()
            .contains("belongs to another controller"),
        "{foreign:?}"
    );
    assert_eq!(counter.starts(), 1);
}
