//! Revocation lists at start: honoured by both binaries, and without a usable one nobody is trusted.

use std::{collections::BTreeMap, path::PathBuf};

use pki::{Authority, Crl, NextCrl, Serial};
use scenarios::{Lab, Mesh, Process};
use time::{Duration, OffsetDateTime};

use super::{AGENT, assert_harmless, assert_says, assert_serves, message};
use crate::started::Started;

/// Signs a list with the real CA of `mesh`, which revokes `serials`.
fn list(mesh: &Mesh, serials: &[Serial], next_update: OffsetDateTime) -> Crl {
    let authority = Authority::load(&mesh.home().join("pki")).unwrap();
    let since = OffsetDateTime::now_utc() - Duration::hours(1);
    let next = NextCrl {
        number: 1,
        this_update: next_update.min(since) - Duration::hours(1),
        next_update,
        revoked: serials
            .iter()
            .map(|serial| (serial.clone(), since))
            .collect::<BTreeMap<_, _>>(),
    };
    authority.sign_crl(&next).unwrap()
}

fn next_week() -> OffsetDateTime {
    OffsetDateTime::now_utc() + Duration::days(7)
}

/// Writes `text` where the agents of `lab` are told to look for the list.
fn save(lab: &Lab, text: &str) -> PathBuf {
    let path = lab.mesh().folder().join("agent.crl.pem");
    fs_err::write(&path, text).unwrap();
    path
}

/// The serial number of the operator of a new mesh, the only controller that it knows.
fn serial_of(mesh: &Mesh, identity: &std::path::Path) -> Serial {
    let shown = mesh.run(["pki", "inspect", "--json", identity.to_str().unwrap()]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.expect_success().stdout).unwrap();
    shown["serial"].as_str().unwrap().parse().unwrap()
}

/// Starts the agent of `lab` anew with the list in `path`.
#[track_caller]
fn agent_with(lab: &mut Lab, path: &std::path::Path) -> Started {
    let mut agent = lab.take_agent(0);
    let mut command = agent.command();
    agent.kill();
    command.arg("--crl").arg(path);
    Started::by(command)
}

/// Runs a command on the agent as the operator, and returns what became of it.
fn run_on(lab: &Lab, agent: &Started, words: &[&str]) -> scenarios::Finished {
    let known = [(AGENT, agent.listen)];
    Process::run(lab.controller_knowing(known, words.iter().chain(&["true"])))
}

const RUN: [&str; 4] = ["run", "-t", AGENT, "--"];

#[test]
fn an_agent_with_a_list_serves_who_is_not_on_it() {
    let mut lab = Lab::loopback();
    let stranger = lab.mesh().issue_controller("stranger");
    let crl = list(lab.mesh(), &[serial_of(lab.mesh(), &stranger)], next_week());
    let path = save(&lab, &crl.to_pem());

    let agent = agent_with(&mut lab, &path);

    let _ = run_on(&lab, &agent, &RUN).expect_success();
}

#[test]
fn an_agent_refuses_a_revoked_controller_which_is_told_so() {
    let mut lab = Lab::loopback();
    let alice = lab.mesh().issue_controller("alice");
    let crl = list(lab.mesh(), &[serial_of(lab.mesh(), &alice)], next_week());
    let path = save(&lab, &crl.to_pem());
    let agent = agent_with(&mut lab, &path);
    let alice = alice.to_str().unwrap();

    let words = ["--identity", alice, "run", "-t", AGENT, "--"];
    let refused = run_on(&lab, &agent, &words).expect_code(255);

    let said = message(refused);
    assert_says(
        &said,
        &[
            AGENT,
            &agent.listen.to_string(),
            "refuses this node's certificate",
            "revoked",
            "nothing was started",
        ],
    );
    let log = agent.log();
    let refusals: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("refused"))
        .collect();
    assert_eq!(refusals.len(), 1, "{log}");
    assert_says(refusals[0], &["the peer's certificate is revoked"]);
    assert_harmless(&log);
    // The operator, who is not on the list, is served by the same agent.
    let _ = run_on(&lab, &agent, &RUN).expect_success();
}

#[test]
fn a_revoked_controller_gets_neither_a_listing_nor_capabilities() {
    let mut lab = Lab::loopback();
    let alice = lab.mesh().issue_controller("alice");
    let crl = list(lab.mesh(), &[serial_of(lab.mesh(), &alice)], next_week());
    let path = save(&lab, &crl.to_pem());
    let agent = agent_with(&mut lab, &path);
    let alice = alice.to_str().unwrap();
    let known = || [(AGENT, agent.listen)];

    let listed = Process::run(lab.controller_knowing(known(), ["--identity", alice, "agents"]));
    let words = ["--identity", alice, "capabilities", "-t", AGENT];
    let described = Process::run(lab.controller_knowing(known(), words));

    assert_eq!(listed.stdout_text(), "");
    assert_says(&listed.stderr_text(), &["revoked"]);
    assert_ne!(listed.code(), Some(0));
    assert_says(&message(described.expect_code(255)), &[AGENT, "revoked"]);
}

#[test]
fn an_agent_with_a_stale_list_refuses_everybody() {
    let mut lab = Lab::loopback();
    let yesterday = OffsetDateTime::now_utc() - Duration::days(1);
    let path = save(&lab, &list(lab.mesh(), &[], yesterday).to_pem());
    let agent = agent_with(&mut lab, &path);

    let refused = run_on(&lab, &agent, &RUN).expect_code(255);

    assert_says(
        &message(refused),
        &[
            "the revocation list was to be replaced on",
            "fetch a new list",
        ],
    );
    assert_says(&agent.log(), &["the revocation list was to be replaced on"]);
}

#[test]
fn an_agent_does_not_start_without_a_list_that_it_was_told_to_use() {
    let mut lab = Lab::loopback();
    let mut agent = lab.take_agent(0);
    let command = |path: &std::path::Path| {
        let mut command = agent.command();
        command.arg("--crl").arg(path);
        command
    };
    let whole = list(lab.mesh(), &[], next_week()).to_pem();
    let foreign = list(&Mesh::init("lab"), &[], next_week()).to_pem();
    let cases = [
        (String::new(), "not an X.509 revocation list"),
        ("\x1b[2Jgarbage".to_owned(), "not an X.509 revocation list"),
        (whole[..whole.len() / 2].to_owned(), "not an X.509"),
        (truncated_inside(&whole), "not an X.509"),
        (foreign, "not signed by this mesh's CA"),
    ];

    for (text, reason) in cases {
        let path = save(&lab, &text);
        let refused = Process::run(command(&path)).expect_code(1);
        let said = refused.stderr_text();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert_says(&said, &["agent.crl.pem", "no peer is trusted", reason]);
        assert_harmless(&said);
    }
    let nowhere = lab.mesh().folder().join("nowhere.pem");
    let refused = Process::run(command(&nowhere)).expect_code(1);
    assert_says(
        &refused.stderr_text(),
        &["nowhere.pem", "no peer is trusted"],
    );
    agent.kill();
}

/// A well-formed PEM text whose list lacks its last line.
fn truncated_inside(pem: &str) -> String {
    let mut lines: Vec<&str> = pem.lines().collect();
    lines.remove(lines.len() - 2);
    lines.join("\n")
}

#[test]
fn a_controller_refuses_a_revoked_agent() {
    let mut lab = Lab::loopback();
    let identity = lab.agent(0).identity().to_owned();
    let serial = serial_of(lab.mesh(), &identity);
    let good = lab.start_agent("srv-linux-02").name().to_owned();
    publish(&lab, &list(lab.mesh(), &[serial], next_week()).to_pem());

    let refused = lab.run(["run", "-t", AGENT, "--", "true"]).expect_code(255);

    assert_says(
        &message(refused),
        &[
            "srv-linux-01 is not reachable",
            "the peer's certificate is revoked",
        ],
    );
    let _ = lab.run(["run", "-t", &good, "--", "true"]).expect_success();
    let listed = lab.run(["agents"]).expect_success().stdout_text();
    assert!(
        !listed.contains(AGENT) && listed.contains(&good),
        "{listed}"
    );
}

#[test]
fn a_controller_with_an_unusable_list_trusts_nobody() {
    let lab = Lab::loopback();
    let yesterday = OffsetDateTime::now_utc() - Duration::days(1);
    let whole = list(lab.mesh(), &[], next_week()).to_pem();
    let cases = [
        (String::new(), "not an X.509 revocation list"),
        (truncated_inside(&whole), "not an X.509"),
        (
            list(&Mesh::init("lab"), &[], next_week()).to_pem(),
            "not signed by this mesh's CA",
        ),
        (
            list(lab.mesh(), &[], yesterday).to_pem(),
            "the revocation list was to be replaced on",
        ),
    ];

    for (text, reason) in cases {
        publish(&lab, &text);
        let refused = lab.run(["run", "-t", AGENT, "--", "true"]).expect_code(255);
        assert_says(&message(refused), &[reason]);
    }
    publish(&lab, &whole);
    assert_serves(&lab);
}

/// Puts `text` where the operator's controller looks for the list.
fn publish(lab: &Lab, text: &str) {
    fs_err::write(lab.mesh().home().join("pki/crl.pem"), text).unwrap();
}
