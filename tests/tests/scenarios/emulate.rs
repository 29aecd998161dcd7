//! Many agents in one process, by which scale is tested: each is an agent of its own, and the command
//! that costs nothing exists nowhere else.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process::Command,
};

use scenarios::{Emulation, Lab, PATIENCE, Process, eventually, procfs};

/// How many are emulated.
const COUNT: usize = 50;

fn controller(lab: &Lab, words: &[&str]) -> Command {
    // Without an address: those of the emulated agents are remembered.
    lab.controller_knowing([], words)
}

fn emulate(lab: &Lab, count: usize, port: u16) -> Command {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Emulation::command(lab.mesh(), count, listen)
}

fn failure(command: Command, code: i32) -> String {
    Process::run(command).expect_code(code).stderr_text()
}

#[test]
fn emulated_agents_answer_each_with_its_own_name() {
    let lab = Lab::new();
    let emulation = Emulation::start(lab.mesh(), COUNT);

    let listed = Process::run(controller(&lab, &["agents", "--json"])).expect_success();

    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let agents = listed["agents"].as_array().unwrap();
    let names: Vec<_> = agents
        .iter()
        .filter_map(|agent| agent["name"].as_str())
        .collect();
    assert_eq!(names, emulation.names());
    let addresses: BTreeSet<_> = agents
        .iter()
        .map(|agent| agent["address"].as_str())
        .collect();
    assert_eq!(addresses.len(), COUNT);
}

#[test]
fn hosts_that_are_gone_hide_nobody_who_is_there() {
    let lab = Lab::new();
    let emulation = Emulation::start(lab.mesh(), 3);
    let file = Emulation::addresses(lab.mesh());
    let mut book: serde_json::Value =
        serde_json::from_slice(&fs_err::read(&file).unwrap()).unwrap();
    for number in 1..=200 {
        // Asked first, and more of them than are dialled at once.
        let (name, addr) = (format!("dead-{number}"), format!("127.0.2.{number}:9"));
        book["addresses"][name] = serde_json::json!([addr]);
    }
    fs_err::write(&file, book.to_string()).unwrap();

    let listed = Process::run(controller(&lab, &["agents", "--json"])).expect_success();

    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let agents = listed["agents"].as_array().unwrap();
    let names: Vec<_> = agents
        .iter()
        .filter_map(|agent| agent["name"].as_str())
        .collect();
    assert_eq!(names, emulation.names());
}

#[test]
fn emulated_agent_runs_what_it_is_sent_and_is_nobody_else() {
    let lab = Lab::new();
    let emulation = Emulation::start(lab.mesh(), 3);
    let file = lab.mesh().folder().join("written");
    let written = file.to_str().unwrap();
    let run = [
        "run",
        "-t",
        "emu-2",
        "--",
        "sh",
        "-c",
        "echo $PPID > \"$0\"; exit 7",
    ];

    let _ = Process::run(controller(&lab, &[&run[..], &[written]].concat())).expect_code(7);

    // A process, and a child of the emulating one.
    let parent = fs_err::read_to_string(&file).unwrap();
    let mut emulation = emulation;
    assert_eq!(parent.trim(), emulation.process().id().to_string());
    let book = fs_err::read_to_string(Emulation::addresses(lab.mesh())).unwrap();
    let book: serde_json::Value = serde_json::from_str(&book).unwrap();
    let address = |name: &str| {
        book["addresses"][name][0]
            .as_str()
            .unwrap()
            .parse()
            .unwrap()
    };
    let wrong = lab.controller_knowing(
        [("emu-9", address("emu-2"))],
        [
            "run",
            "-t",
            "emu-9",
            "--connect-timeout",
            "1s",
            "--",
            "true",
        ],
    );
    let said = failure(wrong, 255);
    assert!(said.contains("emu-9 is not reachable"), "{said}");
}

#[test]
fn command_that_costs_nothing_succeeds_once_for_each_run_id_and_starts_no_process() {
    let lab = Lab::new();
    let _emulation = Emulation::start(lab.mesh(), 2);
    let id = "0123456789abcdef0123456789abcdef";
    let run = |target: &str| {
        let words = ["run", "-t", target, "--run-id", id, "--", "mesosync-noop"];
        Process::run(controller(&lab, &words)).expect_success()
    };

    let first = run("emu-1");
    let again = run("emu-1");
    let other = run("emu-2");

    assert_eq!(
        [&first, &again, &other].map(|ended| ended.stdout.len()),
        [0; 3]
    );
    let ledger = lab.mesh().folder().join("homes-of-emulated/emu-1/ledger");
    let kept = fs_err::read(ledger).unwrap();
    let id: Vec<u8> = (0..16)
        .map(|at| u8::from_str_radix(&id[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    // Accepted and ended, and the second request was neither.
    assert_eq!(kept.windows(16).filter(|bytes| *bytes == id).count(), 2);
}

#[test]
fn command_that_costs_nothing_is_unknown_to_an_ordinary_agent() {
    let lab = Lab::loopback();

    let ended = lab.run(["run", "-t", "srv-linux-01", "--", "mesosync-noop"]);

    let said = ended.expect_code(127).stderr_text();
    assert!(said.contains("mesosync-noop: command not found"), "{said}");
}

#[test]
fn command_that_costs_nothing_with_an_argument_is_a_program_like_any_other() {
    let lab = Lab::new();
    let _emulation = Emulation::start(lab.mesh(), 1);

    let said = failure(
        controller(&lab, &["run", "-t", "emu-1", "--", "mesosync-noop", "1"]),
        127,
    );

    assert!(said.contains("mesosync-noop: command not found"), "{said}");
}

#[test]
fn stopping_ends_all_of_them_and_what_they_run() {
    let lab = Lab::new();
    let emulation = Emulation::start(lab.mesh(), COUNT);
    let id = "00000000000000000000000000000e0e";
    let run = ["run", "-t", "emu-17", "--run-id", id, "--", "sleep", "1000"];
    let running = Process::start(controller(&lab, &run));
    eventually(PATIENCE, || procfs::processes_of_run(id).len() == 1);

    let ended = emulation.stop().expect_success();

    let said = ended.stderr_text();
    assert!(
        said.ends_with("funnelcloud: stopped; 1 runs were ended for it\n"),
        "{said}"
    );
    assert_eq!(procfs::processes_of_run(id), [0; 0]);
    let _ = running.wait_exit(PATIENCE).expect_code(255);
    let listing = controller(&lab, &["agents", "--connect-timeout", "500ms"]);
    let _ = Process::run(listing).expect_code(3);
}

#[test]
fn emulation_is_told_what_it_lacks() {
    let lab = Lab::new();
    let mesh = lab.mesh();
    let folder = Emulation::identities(mesh);
    let shown = folder.display();

    let said = failure(emulate(&lab, 2, 0), 1);
    assert!(
        said.contains(&format!(
            "--emulate takes its agents from a folder; read --identity {shown}"
        )),
        "{said}"
    );
    let said = failure(emulate(&lab, 0, 0), 64);
    assert!(said.contains("--emulate"), "{said}");

    let _ = lab
        .run([
            "pki",
            "issue",
            "agent",
            "only",
            "--out-dir",
            folder.to_str().unwrap(),
        ])
        .expect_success();
    let said = failure(emulate(&lab, 2, 0), 1);
    let expected = format!(
        "funnelcloud: {shown} holds 1 identities (*.identity), and 2 agents are to be emulated; issue more with `controller pki issue agent"
    );
    assert!(said.starts_with(&expected), "{said}");

    fs_err::write(folder.join("broken.identity"), "").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs_err::set_permissions(folder.join("broken.identity"), mode).unwrap();
    let said = failure(emulate(&lab, 2, 0), 1);
    assert!(said.contains("broken.identity"), "{said}");
    assert!(!Emulation::addresses(mesh).exists());
}

#[test]
fn emulation_with_an_identity_of_another_role_or_mesh_is_refused() {
    let (lab, strangers) = (Lab::new(), Lab::new());
    let folder = Emulation::identities(lab.mesh());
    let into = folder.to_str().unwrap();
    let _ = lab
        .run(["pki", "issue", "agent", "a", "--out-dir", into])
        .expect_success();

    let _ = lab
        .run(["pki", "issue", "controller", "b", "--out-dir", into])
        .expect_success();
    let said = failure(emulate(&lab, 2, 0), 1);
    assert!(
        said.contains("start agent b: the identity is controller/b's"),
        "{said}"
    );

    fs_err::remove_file(folder.join("b.identity")).unwrap();
    let _ = strangers
        .run(["pki", "issue", "agent", "c", "--out-dir", into])
        .expect_success();
    let said = failure(emulate(&lab, 2, 0), 1);
    assert!(
        said.contains("c is of another mesh than the agents before it"),
        "{said}"
    );
}

#[test]
fn emulation_whose_port_is_taken_names_the_agent_and_serves_none() {
    let lab = Lab::new();
    let folder = Emulation::identities(lab.mesh());
    let _ = lab
        .run([
            "pki",
            "issue",
            "agent",
            "a[1-2]",
            "--out-dir",
            folder.to_str().unwrap(),
        ])
        .expect_success();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();

    let said = failure(emulate(&lab, 2, port), 1);

    let expected = format!("funnelcloud: start agent a1: listen on UDP 127.0.0.1:{port}: ");
    assert!(said.starts_with(&expected), "{said}");
    assert!(said.contains("another program uses this port"), "{said}");
    let said = failure(emulate(&lab, 2, u16::MAX), 1);
    let expected = "2 agents from port 65535 on are more than there are ports";
    assert!(said.contains(expected), "{said}");
    assert!(!Emulation::addresses(lab.mesh()).exists());
}

#[test]
fn range_of_names_is_issued_into_a_folder_and_listed() {
    let lab = Lab::new();
    let folder = lab.mesh().folder().join("many");
    let into = folder.to_str().unwrap();
    let words = [
        "pki",
        "issue",
        "agent",
        "web-[08-11]",
        "db",
        "--out-dir",
        into,
    ];

    let said = lab.run(words).expect_success().stdout_text();

    assert!(
        said.starts_with("5 identities, agent/web-08 to agent/db, until "),
        "{said}"
    );
    let listed = lab.run(["pki", "list"]).expect_success().stdout_text();
    for name in ["web-08", "web-09", "web-10", "web-11", "db"] {
        assert!(listed.contains(&format!("agent/{name} ")), "{listed}");
        let file = folder.join(format!("{name}.identity"));
        let _ = lab
            .run(["pki", "inspect", file.to_str().unwrap()])
            .expect_success();
    }
}

#[test]
fn names_that_cannot_all_be_issued_issue_none() {
    let lab = Lab::new();
    let folder = lab.mesh().folder().join("many");
    let into = folder.to_str().unwrap();
    let _ = lab
        .run(["pki", "issue", "agent", "web-2", "--out-dir", into])
        .expect_success();
    let before = lab.run(["pki", "list"]).expect_success().stdout_text();
    let refused = |words: &[&str], code: i32, reason: &str| {
        let said = failure(
            lab.controller([&["pki", "issue", "agent"], words].concat()),
            code,
        );
        assert!(said.contains(reason), "{said}");
    };

    refused(
        &["web-[1-3]", "--out-dir", into],
        1,
        "web-2.identity exists already",
    );
    refused(&["a[1-2]", "a2", "--out-dir", into], 1, "a2 is named twice");
    refused(
        &["a[1-2]", "--out", "x"],
        1,
        "2 names are more than fit into x",
    );
    refused(
        &["a[1-100001]", "--out-dir", into],
        64,
        "100001 names are more than the 100000",
    );
    refused(&["a[2-1]", "--out-dir", into], 64, "ends before it begins");
    refused(
        &["a[1", "--out-dir", into],
        64,
        "expected one range of numbers in brackets",
    );
    refused(&["a"], 64, "--out");
    refused(
        &["a", "--out", "x", "--out-dir", into],
        64,
        "cannot be used with",
    );
    refused(&["--out-dir", into], 64, "NAME");

    let after = lab.run(["pki", "list"]).expect_success().stdout_text();
    assert_eq!(after, before);
    assert_eq!(fs_err::read_dir(&folder).unwrap().count(), 1);
}
