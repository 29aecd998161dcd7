//! Callees that a controller must not trust: nothing of a command reaches them.

use rcgen::ExtendedKeyUsagePurpose;
use scenarios::{Lab, Mesh, Process};
use time::{Duration, OffsetDateTime};

use super::{
    AGENT, assert_harmless, assert_says,
    credentials::{Credentials, Forger, uri},
    message,
    peer::{ALPN, Callee, Manner},
    refused_by_controller,
};

/// Who is looked for in these tests.
const WANTED: &str = "agent/srv-linux-01";

/// Lets a holder of `credentials` answer for the wanted agent, and returns what the operator reads.
#[track_caller]
fn answer_as(lab: &Lab, credentials: &Credentials) -> String {
    let callee = Callee::start(credentials, ALPN);

    let said = refused_by_controller(lab, callee.address());

    assert!(callee.heard().is_empty(), "{:?}", callee.heard());
    let address = callee.address().to_string();
    assert_says(
        &said,
        &[
            "srv-linux-01 is not reachable: ",
            &address,
            "is not to be trusted: ",
            "\n  ",
        ],
    );
    said
}

#[test]
fn a_holder_of_the_wanted_agents_certificate_is_trusted() {
    let lab = Lab::new();
    let right = Forger::with_key_of(lab.mesh()).sign(WANTED, |_| {});
    let callee = Callee::with_manner(
        &right.credentials,
        ALPN,
        Manner::ClosesSaying(b"bye".to_vec()),
    );

    // What is refused below is refused for what was changed, and for nothing else.
    let words = ["run", "-t", AGENT, "--tether", "--", "echo", "secret"];
    let trusted = Process::run(lab.controller_knowing([(AGENT, callee.address())], words));

    assert!(
        !trusted.stderr_text().contains("trusted"),
        "{}",
        trusted.stderr_text()
    );
}

#[test]
fn the_wrong_agent_at_the_right_address_is_refused_by_name() {
    let mut lab = Lab::new();
    lab.start_agent("srv-a");
    lab.start_agent("srv-b");
    let address_of_a = lab.agent(0).address();
    let words = ["run", "-t", "srv-b", "--", "echo", "secret"];

    let refused = Process::run(lab.controller_knowing([("srv-b", address_of_a)], words));

    let said = message(refused.expect_code(255));
    assert_says(
        &said,
        &[
            "srv-b is not reachable",
            "the peer is agent/srv-a, not agent/srv-b",
        ],
    );
    for name in ["srv-a", "srv-b"] {
        let served = lab.run(["run", "-t", name, "--", "echo", name]);
        assert_eq!(served.expect_success().stdout_text(), format!("{name}\n"));
    }
}

#[test]
fn a_rendezvous_cannot_pose_as_an_agent() {
    let lab = Lab::new();
    let hub = Credentials::issued(lab.mesh(), "rendezvous", AGENT);

    let said = answer_as(&lab, &hub);

    assert_says(
        &said,
        &["the peer is rendezvous/srv-linux-01, but only the role agent is taken here"],
    );
}

#[test]
fn a_controller_cannot_pose_as_an_agent() {
    let lab = Lab::new();
    let colleague = Credentials::issued(lab.mesh(), "controller", AGENT);

    let said = answer_as(&lab, &colleague);

    assert_says(&said, &["the peer's certificate is not for being dialled"]);
}

#[test]
fn an_agent_of_a_mesh_of_the_same_name_is_refused() {
    let lab = Lab::new();
    let twin = Mesh::init("lab");
    let agent = Credentials::issued(&twin, "agent", AGENT);

    let said = answer_as(&lab, &agent);

    assert_says(&said, &["the peer belongs to another mesh"]);
}

#[test]
fn a_self_signed_agent_is_refused() {
    let lab = Lab::new();
    let own = Forger::with_key_of(lab.mesh()).self_signed(WANTED);

    let said = answer_as(&lab, &own.credentials);

    assert_says(&said, &["the peer"]);
}

#[test]
fn an_agent_that_may_not_serve_is_refused() {
    let lab = Lab::new();
    let client_only = Forger::with_key_of(lab.mesh()).sign(WANTED, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });

    let said = answer_as(&lab, &client_only.credentials);

    assert_says(
        &said,
        &["the peer's certificate is not for being dialled (server authentication)"],
    );
}

#[test]
fn an_agent_with_two_roles_is_refused() {
    let lab = Lab::new();
    let both = Forger::with_key_of(lab.mesh()).sign(WANTED, |params| {
        let second = uri("spiffe://lab/rendezvous/srv-linux-01");
        params.subject_alt_names.push(second);
    });

    let said = answer_as(&lab, &both.credentials);

    assert_says(&said, &["bears 2 URIs"]);
}

#[test]
fn an_agent_whose_name_steers_terminals_is_shown_harmlessly() {
    let lab = Lab::new();
    let hostile = Forger::with_key_of(lab.mesh()).sign(WANTED, |params| {
        params.subject_alt_names[0] = uri("spiffe://lab/agent/\x1b]52;c;aGk=\x07\rsrv-linux-02");
    });

    let said = answer_as(&lab, &hostile.credentials);

    assert_says(&said, &["names no mesh, role and node"]);
}

#[test]
fn an_expired_agent_is_refused_with_both_dates() {
    let lab = Lab::new();
    let ended = OffsetDateTime::now_utc() - Duration::minutes(2);
    let expired = Forger::with_key_of(lab.mesh()).sign(WANTED, |params| params.not_after = ended);

    let said = answer_as(&lab, &expired.credentials);

    assert_says(
        &said,
        &["the peer's certificate ended on", "and the clock here says"],
    );
}

#[test]
fn an_agent_that_is_not_valid_yet_is_refused_with_both_dates() {
    let lab = Lab::new();
    let tomorrow = OffsetDateTime::now_utc() + Duration::days(1);
    let early = Forger::with_key_of(lab.mesh()).sign(WANTED, |params| params.not_before = tomorrow);

    let said = answer_as(&lab, &early.credentials);

    assert_says(
        &said,
        &["the peer's certificate begins on", "compare the clocks"],
    );
}

#[test]
fn a_stolen_certificate_without_its_key_is_no_agent() {
    let lab = Lab::new();
    let mut stolen = Credentials::issued(lab.mesh(), "agent", AGENT);
    stolen.key = Forger::impostor().sign(WANTED, |_| {}).credentials.key;

    let said = answer_as(&lab, &stolen);

    assert_says(
        &said,
        &["the peer does not hold the key of its certificate"],
    );
}

#[test]
fn an_impostor_appears_in_no_listing() {
    let mut lab = Lab::loopback();
    let impostor = Forger::impostor().sign("agent/srv-linux-02", |_| {});
    let callee = Callee::start(&impostor.credentials, ALPN);
    let known = [
        (AGENT, lab.agent(0).address()),
        ("srv-linux-02", callee.address()),
    ];

    let listed = Process::run(lab.controller_knowing(known, ["agents"])).expect_success();

    assert_says(&listed.stdout_text(), &[AGENT]);
    assert!(
        !listed.stdout_text().contains("srv-linux-02"),
        "{}",
        listed.stdout_text()
    );
}

#[test]
fn a_mute_agent_holds_no_listing_up() {
    let mut lab = Lab::loopback();
    let mute = Credentials::issued(lab.mesh(), "agent", "srv-linux-02");
    let callee = Callee::start(&mute, ALPN);
    let known = [
        (AGENT, lab.agent(0).address()),
        ("srv-linux-02", callee.address()),
    ];

    let listed = Process::run(lab.controller_knowing(known, ["agents"])).expect_success();

    let (shown, said) = (listed.stdout_text(), listed.stderr_text());
    assert!(
        shown.contains(AGENT) && !shown.contains("srv-linux-02"),
        "{shown}"
    );
    assert_says(&said, &["srv-linux-02", "does not follow the protocol"]);
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn what_an_agent_says_when_it_closes_the_link_is_shown_harmlessly() {
    let lab = Lab::new();
    let right = Forger::with_key_of(lab.mesh()).sign(WANTED, |_| {});
    let words =
        b"\x1b[2J\x1b]0;owned\x07gone\ncontroller: srv-linux-02: all is well\xc2\x9b".to_vec();
    let callee = Callee::with_manner(&right.credentials, ALPN, Manner::ClosesSaying(words));

    for verb in [
        vec!["run", "-t", AGENT, "--tether", "--", "echo", "hello"],
        vec![
            "run", "-t", AGENT, "--tether", "--json", "--", "echo", "hello",
        ],
        vec![
            "run",
            "-t",
            AGENT,
            "--orphan-limit",
            "1s",
            "--",
            "echo",
            "hello",
        ],
        vec!["capabilities", "-t", AGENT],
        vec!["agents"],
    ] {
        let refused = Process::run(lab.controller_knowing([(AGENT, callee.address())], &verb));

        let said = refused.stderr_text();
        assert_ne!(refused.code(), Some(0), "{verb:?}: {said}");
        assert_harmless(&said);
        let forged = |line: &str| line.starts_with("controller: srv-linux-02");
        assert!(!said.lines().any(forged), "{verb:?}: {said}");
    }
}
