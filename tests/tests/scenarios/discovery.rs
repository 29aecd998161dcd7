//! Discovery among hostile hosts: announcements that lie, repeat, flood or are no announcements.
//!
//! An attacker is this test's own program, started once more inside a host of the LAN (`attacker`).
//! Whatever it does, a run goes to the right agent or fails with a message, and nothing else is
//! trusted.

mod attacker;
mod mdns;

use std::process::Command;

use scenarios::{Finished, Host, Lab, Mesh, PATIENCE, Process, eventually_some, procfs};

use self::attacker::Attack;
use crate::identity::{assert_harmless, assert_says, message};

const AGENT: &str = "srv-linux-01";

const ECHO: [&str; 5] = ["run", "-t", AGENT, "--", "hostname"];

/// What an agent's memory may grow by under a flood: the worst that `node` allows a look-up thread.
const FLOOD_MEMORY: u64 = 96 << 20;

/// A LAN with the operator, the agent `srv-linux-01`, and a third host for the attacker.
fn lab_with_attacker() -> Lab {
    let mut lab = Lab::new_with_lan_of(3);
    let host = lab.lan().host(2);
    lab.start_agent_on(host, AGENT);
    lab
}

fn attackers_host(lab: &Lab) -> Host {
    lab.lan().host(3)
}

/// Starts an attack and waits until it has begun.
#[track_caller]
fn attack(lab: &Lab, attack: &Attack) -> Process {
    let host = attackers_host(lab);
    let attacker = Process::start(attack.command(lab.lan().place(host), host.address()));
    let _ = attacker.wait_for_line("attack begins", PATIENCE);
    attacker
}

fn patient(mut command: Command) -> Command {
    command.env("MESOSYNC_CONNECT_TIMEOUT", "25s");
    command
}

/// Runs a command on `srv-linux-01` and asserts that the real one ran it.
#[track_caller]
fn assert_reaches_the_agent(lab: &mut Lab) {
    let ran = Process::run(patient(lab.controller(ECHO)));

    let ran = ran.expect_success();
    assert_eq!(ran.stderr_text(), "");
    let log = lab.agent(0).log();
    assert!(log.contains("run ended"), "{log}");
}

/// Asserts that `refused` says which agent was not found and why, harmlessly.
#[track_caller]
fn assert_fails_cleanly(refused: Finished) -> String {
    let said = message(refused.expect_code(255));
    assert_says(&said, &["srv-linux-01 is not reachable: "]);
    said
}

#[test]
fn an_announcement_of_anothers_name_leads_nobody_astray() {
    let mut lab = lab_with_attacker();
    // The worst neighbour: an agent of the mesh that was broken into, and knows the mesh's
    // fingerprint. It announces the wanted name and answers with its own certificate.
    let stolen = lab.mesh().issue_agent("srv-linux-02");
    let attacker = attack(
        &lab,
        &Attack::Impersonate {
            identity: stolen,
            name: AGENT.into(),
        },
    );

    assert_reaches_the_agent(&mut lab);
    lab.agent(0).kill();
    let _ = fs_err::remove_file(lab.mesh().home().join("addresses.json"));
    let said = assert_fails_cleanly(lab.run(ECHO));

    assert_says(
        &said,
        &[
            "10.77.0.3:",
            "is not to be trusted: the peer is agent/srv-linux-02, not agent/srv-linux-01 (mDNS)",
        ],
    );
    assert_eq!(heard_of(&attacker), 0, "bytes of a request");
}

#[test]
fn a_neighbour_without_a_certificate_of_the_mesh_is_not_trusted() {
    let mut lab = lab_with_attacker();
    let other = Mesh::init("lab");
    let foreign = other.issue_agent(AGENT);
    let fingerprint = lab.run(["pki", "fingerprint"]).expect_success();
    let attacker = attack(
        &lab,
        &Attack::ImpersonateMesh {
            identity: foreign,
            name: AGENT.into(),
            fingerprint: fingerprint.stdout_text().trim().to_owned(),
        },
    );

    assert_reaches_the_agent(&mut lab);
    lab.agent(0).kill();
    let _ = fs_err::remove_file(lab.mesh().home().join("addresses.json"));
    let said = assert_fails_cleanly(lab.run(ECHO));
    let listed = lab.run(["agents"]);

    assert_says(
        &said,
        &["is not to be trusted: the peer belongs to another mesh"],
    );
    assert_eq!(listed.stdout_text(), "");
    assert_eq!(heard_of(&attacker), 0, "bytes of a request");
}

/// How many bytes the attacker says that callers entrusted to it.
fn heard_of(attacker: &Process) -> usize {
    let said = String::from_utf8_lossy(&attacker.stdout()).into_owned();
    let heard = said.lines().filter_map(|line| line.strip_prefix("heard "));
    heard.map(|bytes| bytes.parse::<usize>().unwrap()).sum()
}

#[test]
fn repeated_announcements_with_other_addresses_lead_nobody_astray() {
    let mut lab = lab_with_attacker();
    let attacker = attack(&lab, &Attack::Repeat);

    assert_reaches_the_agent(&mut lab);
    let _ = attacker.wait_for_line("repeated", PATIENCE);
    for _ in 0..3 {
        let _ = fs_err::remove_file(lab.mesh().home().join("addresses.json"));
        assert_reaches_the_agent(&mut lab);
    }
    let listed = Process::run(patient(lab.controller(["agents"]))).expect_success();

    assert_eq!(
        listed.stdout_text().lines().count(),
        2,
        "{}",
        listed.stdout_text()
    );
}

#[test]
fn foreign_libp2p_nodes_on_the_lan_are_ignored() {
    let mut lab = lab_with_attacker();
    let _attacker = attack(&lab, &Attack::Foreign);

    assert_reaches_the_agent(&mut lab);
    let listed = Process::run(patient(lab.controller(["agents"]))).expect_success();

    assert_eq!(
        listed.stdout_text().lines().count(),
        2,
        "{}",
        listed.stdout_text()
    );
    assert_eq!(listed.stderr_text(), "");
}

#[test]
fn oversized_and_garbled_packets_are_ignored() {
    let mut lab = lab_with_attacker();
    let _attacker = attack(&lab, &Attack::Garbage);

    for _ in 0..3 {
        let _ = fs_err::remove_file(lab.mesh().home().join("addresses.json"));
        assert_reaches_the_agent(&mut lab);
    }

    assert_harmless(&lab.agent(0).log());
}

#[test]
fn a_flood_hides_an_agent_at_most_while_it_lasts() {
    let mut lab = lab_with_attacker();
    let pid = lab.agent(0).pid();
    let before = procfs::resident_bytes(pid);
    let attacker = attack(&lab, &Attack::Flood);
    let _ = attacker.wait_for_line("flooded", PATIENCE);

    // Whoever knows the address is served in the middle of it.
    let known = format!("{AGENT}={}", lab.agent(0).address());
    let words = ["--address", &known].into_iter().chain(ECHO);
    let served = Process::run(patient(lab.controller(words)));
    let _ = fs_err::remove_file(lab.mesh().home().join("addresses.json"));
    // Who does not is served, or is told.
    let asked = lab.run(ECHO);
    let grown = procfs::peak_resident_bytes(pid) - before;
    drop(attacker);

    let _ = served.expect_success();
    if asked.code() != Some(0) {
        assert_fails_cleanly(asked);
    }
    assert!(grown < FLOOD_MEMORY, "{grown} bytes");
    assert_harmless(&lab.agent(0).log());
    let _ = fs_err::remove_file(lab.mesh().home().join("addresses.json"));
    let _ = eventually_some(PATIENCE, || {
        let ran = lab.run(ECHO);
        (ran.code() == Some(0)).then_some(ran)
    });
}
