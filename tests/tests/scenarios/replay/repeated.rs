//! The same request once more: on the same link, on another, after a restart, many times at once.

use super::*;

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
