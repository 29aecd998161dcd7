//! When, for whom and by whom a request or an id may be used.

use super::*;

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
