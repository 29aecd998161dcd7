//! Requests that could not be carried out.

use super::*;

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
