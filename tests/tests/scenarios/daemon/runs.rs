//! What a command does through the daemon is what it does without one.

use std::{collections::BTreeSet, iter, net::UdpSocket};

use rustix::process::Signal;
use scenarios::{
    Finished, Lab, PATIENCE, Process, Stdin, Stdout, eventually,
    procfs::{processes_of_run, resident_bytes},
    proxy::{Proxy, Way},
};
use serde_json::Value;

use super::{Daemon, assert_says, run_here, run_in_progress, script, status};
use crate::props::TARGET;

/// Every way in which a command ends.
const ENDS: [&[&str]; 13] = [
    &[
        "run",
        "-t",
        TARGET,
        "--",
        "sh",
        "-c",
        "echo out; echo err >&2; exit 7",
    ],
    &["run", "-t", TARGET, "--", "sh", "-c", "kill -9 $$"],
    &[
        "run",
        "-t",
        TARGET,
        "--",
        "sh",
        "-c",
        "printf 'a\\0b\\377\\n'",
    ],
    &[
        "run",
        "-t",
        TARGET,
        "--timeout",
        "300ms",
        "--",
        "sleep",
        "1000",
    ],
    &[
        "run",
        "-t",
        TARGET,
        "--max-output",
        "10",
        "--",
        "sh",
        "-c",
        "echo 0123456789abcdef; sleep 1000",
    ],
    &["run", "-t", TARGET, "--", "no-such-program"],
    &[
        "run",
        "-t",
        TARGET,
        "--cwd",
        "/no/such/folder",
        "--",
        "true",
    ],
    &["run", "-t", TARGET, "-e", "LD_PRELOAD=x", "--", "true"],
    &["run", "-t", TARGET, "--shell", "echo $0; false"],
    &["run", "-t", TARGET],
    &["run", "-t", "nobody-here", "--", "true"],
    &["capabilities", "-t", "nobody-here"],
    &["run", "-t", TARGET, "--shell=klingon", "true"],
];

#[test]
fn commands_end_the_same_with_the_daemon_and_without_it() {
    let lab = Lab::loopback();
    let _daemon = Daemon::start(&lab);

    for words in ENDS {
        let by_daemon = lab.run(words);
        let here = run_here(&lab, words);

        assert_eq!(by_daemon.code(), here.code(), "{words:?}: {by_daemon:?}");
        assert_eq!(by_daemon.stdout, here.stdout, "{words:?}");
        assert_eq!(by_daemon.stderr_text(), here.stderr_text(), "{words:?}");
    }
}

#[test]
fn json_is_the_same_with_the_daemon_and_without_it() {
    let lab = Lab::loopback();
    let _daemon = Daemon::start(&lab);

    for words in &ENDS[..9] {
        for form in ["--json", "--ndjson"] {
            let mut words = words.to_vec();
            words.insert(1, form);

            let by_daemon = lasting(&lab.run(&words));
            let here = lasting(&run_here(&lab, &words));

            assert_eq!(by_daemon, here, "{words:?}");
        }
    }
}

/// Returns the objects that were printed, without what differs between any two runs.
fn lasting(finished: &Finished) -> Vec<Value> {
    let objects = serde_json::Deserializer::from_slice(&finished.stdout).into_iter::<Value>();
    let objects = objects.map(|object| {
        let mut object = object.unwrap();
        let fields = object.as_object_mut().unwrap();
        for differs in ["run", "duration_ms", "pid", "at_ms"] {
            fields.remove(differs);
        }
        object
    });
    let mut objects: Vec<Value> = objects.collect();
    // Two pipes have no order between them.
    objects.sort_by_key(|object| object["event"].to_string());
    assert!(!objects.is_empty(), "{finished:?}");
    objects
}

#[test]
fn agents_and_capabilities_are_the_same_with_the_daemon_and_without_it() {
    let lab = Lab::loopback();
    let _daemon = Daemon::start(&lab);
    let listing = |finished: Finished| -> Value {
        let mut listing: Value = serde_json::from_slice(&finished.expect_success().stdout).unwrap();
        listing["agents"][0]["rtt_us"].take();
        listing
    };
    let os = |finished: Finished| -> Value {
        let document: Value = serde_json::from_slice(&finished.expect_success().stdout).unwrap();
        document["os"].clone()
    };
    let describe = ["capabilities", "-t", TARGET, "--json"];

    let agents = ["agents", "--json"];
    assert_eq!(listing(lab.run(agents)), listing(run_here(&lab, &agents)));
    assert_eq!(os(lab.run(describe)), os(run_here(&lab, &describe)));
    assert!(os(lab.run(describe)).is_object());
}

#[test]
fn many_callers_of_one_agent_share_one_link() {
    let lab = Lab::loopback();
    let proxy = Proxy::start(lab.address_of(0), 1);
    let knowing = |words: &[&str]| lab.controller_knowing([(TARGET, proxy.address())], words);
    let _daemon = Daemon::by(knowing(&["serve"]));

    // Five at once before there is a link, and five one after the other on the link.
    let at_once: Vec<Process> = (0..5)
        .map(|_| Process::start(knowing(&script("echo $PPID"))))
        .collect();
    for process in at_once {
        let _ = process.wait_exit(PATIENCE).expect_success();
    }
    for _ in 0..5 {
        let _ = Process::run(knowing(&script("true"))).expect_success();
    }

    let record = proxy.record();
    let initials = record
        .on_way(Way::ToServer)
        .filter(|packet| is_initial(&packet.bytes));
    let clients: BTreeSet<_> = record
        .on_way(Way::ToServer)
        .map(|packet| packet.client)
        .collect();
    assert_eq!(clients.len(), 1, "one socket, the daemon's");
    let ids: BTreeSet<Vec<u8>> = initials.map(|packet| source_id(&packet.bytes)).collect();
    assert_eq!(ids.len(), 1, "one handshake");
    assert_eq!(status(&lab)["links"].as_array().unwrap().len(), 1);
}

#[test]
fn many_callers_of_a_dead_agent_share_one_look_up() {
    let lab = Lab::new();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    silent.set_nonblocking(true).unwrap();
    let address = silent.local_addr().unwrap();
    let knowing = |words: &[&str]| lab.controller_knowing([(TARGET, address)], words);
    let _daemon = Daemon::by(knowing(&["serve"]));
    let words = [
        "run",
        "-t",
        TARGET,
        "--connect-timeout",
        "1500ms",
        "--",
        "true",
    ];

    let at_once: Vec<Process> = (0..5).map(|_| Process::start(knowing(&words))).collect();
    for process in at_once {
        let refused = process.wait_exit(PATIENCE).expect_code(255);
        assert_says(&refused, &["not reachable", &address.to_string()]);
    }

    let mut datagram = [0; 2048];
    let received = iter::from_fn(|| {
        let len = silent.recv(&mut datagram).ok()?;
        Some(datagram[..len].to_vec())
    });
    let initials = received.filter(|datagram| is_initial(datagram));
    let ids: BTreeSet<Vec<u8>> = initials.map(|datagram| source_id(&datagram)).collect();
    // One look-up dials, and once more when two seconds brought nothing.
    let handshakes = ids.len();
    assert!((1..=2).contains(&handshakes), "{handshakes} handshakes");
}

#[test]
fn the_link_that_was_used_least_lately_makes_room() {
    const OTHER: &str = "srv-linux-02";
    let mut lab = Lab::loopback();
    lab.start_agent(OTHER);
    let _daemon = Daemon::by(lab.controller(["serve", "--warm-links", "1"]));

    for target in [TARGET, OTHER, TARGET, OTHER] {
        let _ = lab
            .run(["run", "-t", target, "--", "true"])
            .expect_success();
    }

    let status = status(&lab);
    let links = status["links"].as_array().unwrap();
    let names: Vec<&str> = links
        .iter()
        .map(|link| link["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, [OTHER]);
}

/// Tells whether a datagram begins with an Initial packet of QUIC version 1 (RFC 9000 §17.2.2).
fn is_initial(datagram: &[u8]) -> bool {
    datagram.len() > 6 && datagram[0] & 0xf0 == 0xc0 && datagram[1..5] == [0, 0, 0, 1]
}

/// Returns the source connection id of an Initial packet, which is one for each handshake.
fn source_id(datagram: &[u8]) -> Vec<u8> {
    let at = 6 + usize::from(datagram[5]);
    datagram[at + 1..at + 1 + usize::from(datagram[at])].to_vec()
}

#[test]
fn ctrl_c_is_acknowledged_through_the_daemon_when_nothing_is_left() {
    let lab = Lab::loopback();
    let _daemon = Daemon::start(&lab);
    let mut controller =
        Process::start(lab.controller(script("trap '' TERM; echo ready; sleep 1000 & wait; wait")));
    let _ = controller.wait_for_line("ready", PATIENCE);
    let run = run_in_progress(&lab);
    assert_ne!(processes_of_run(&run), [0; 0]);

    controller.signal(Signal::INT);
    let finished = controller.wait_exit(PATIENCE).expect_code(130);

    assert_says(
        &finished,
        &["cancelling", &format!("{TARGET}: cancelled\n")],
    );
    assert_eq!(processes_of_run(&run), [0; 0]);
    eventually(PATIENCE, || {
        status(&lab)["runs"] == Value::Array(Vec::new())
    });
}

#[test]
fn standard_input_arrives_through_the_daemon_whole_and_ends() {
    let lab = Lab::loopback();
    let _daemon = Daemon::start(&lab);
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    let command = lab.controller(["run", "-t", TARGET, "--stdin", "--", "cat"]);

    let echoed = Process::start_with(command, Stdin::Bytes(bytes.clone()), Stdout::Captured);
    let echoed = echoed.wait_exit(PATIENCE).expect_success();

    assert!(
        echoed.stdout == bytes,
        "{} bytes came back",
        echoed.stdout_len
    );
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody_and_loses_nothing() {
    const BYTES: usize = 64 << 20;
    let lab = Lab::loopback();
    let daemon = Daemon::start(&lab);
    let much = format!("head -c {BYTES} /dev/zero");
    let mut slow: Vec<Process> = (0..3)
        .map(|_| {
            let command = lab.controller(script(&much));
            Process::start_with(command, Stdin::Empty, Stdout::Unread)
        })
        .collect();
    eventually(PATIENCE, || {
        status(&lab)["runs"].as_array().unwrap().len() == 3
    });

    for _ in 0..20 {
        let quick = lab.run(script("echo quick")).expect_success();
        assert_eq!(quick.stdout_text(), "quick\n");
    }
    let used = resident_bytes(daemon.process.id());
    assert!(used < 150 << 20, "the daemon holds {used} bytes");
    slow.iter_mut().for_each(Process::read_on);
    for process in slow {
        let finished = process.wait_exit(PATIENCE * 2).expect_success();
        assert_eq!(finished.stdout_len, BYTES as u64);
    }
    assert_eq!(status(&lab)["links"].as_array().unwrap().len(), 1);
}

#[test]
fn a_client_that_is_killed_leaves_no_process_behind_if_it_tethered_it() {
    let lab = Lab::loopback();
    let _daemon = Daemon::start(&lab);
    let script = "echo ready; sleep 1000";
    let words = ["run", "-t", TARGET, "--tether", "--", "sh", "-c", script];
    let mut controller = Process::start(lab.controller(words));
    let _ = controller.wait_for_line("ready", PATIENCE);
    let run = run_in_progress(&lab);

    controller.kill();

    eventually(PATIENCE, || processes_of_run(&run).is_empty());
}

#[test]
fn an_agent_that_was_killed_and_restarted_is_found_again() {
    let mut lab = Lab::loopback();
    let _daemon = Daemon::start(&lab);
    let _ = lab.run(script("true")).expect_success();

    // The link looks alive, for nobody said farewell.
    lab.agent(0).restart();
    let again = lab.run(script("echo again")).expect_success();

    assert_eq!(again.stdout_text(), "again\n");
}
