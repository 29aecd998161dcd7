//! Versions and sessions: an older protocol is told so at both ends, and no session is resumed.

use scenarios::{Lab, Process};

use super::{
    AGENT, assert_says, assert_serves,
    credentials::{Credentials, Forger},
    message,
    peer::{ALPN, Callee, Caller},
    refused_there,
};

/// The protocol of an imagined release before this one.
const OLDER: &[u8] = b"mesosync/0";

#[test]
fn a_controller_of_an_older_protocol_is_refused_and_both_ends_say_so() {
    let mut lab = Lab::loopback();
    let controller = Credentials::issued(lab.mesh(), "controller", "alice");
    let address = lab.agent(0).address();
    let mut told = String::new();

    let logged = refused_there(&mut lab, || {
        let caller = Caller::new(Some(&controller), OLDER);
        told = caller.dial(address, AGENT).unwrap_err().to_string();
        told.clone()
    });

    assert_says(
        &logged,
        &["the peer speaks another version of the protocol; update the older end"],
    );
    assert_says(&told, &["error 120"]);
}

#[test]
fn an_agent_of_an_older_protocol_is_refused_with_the_remedy() {
    let lab = Lab::new();
    let older = Credentials::issued(lab.mesh(), "agent", AGENT);
    let callee = Callee::start(&older, OLDER);
    let words = ["run", "-t", AGENT, "--", "echo", "secret"];

    let refused = Process::run(lab.controller_knowing([(AGENT, callee.address())], words));

    let said = message(refused.expect_code(255));
    assert_says(
        &said,
        &[
            "srv-linux-01 is not reachable: ",
            "speaks another version of the protocol; update the older end",
        ],
    );
    assert!(callee.heard().is_empty());
}

#[test]
fn another_protocol_altogether_is_refused() {
    let mut lab = Lab::loopback();
    let controller = Credentials::issued(lab.mesh(), "controller", "alice");
    let address = lab.agent(0).address();

    let logged = refused_there(&mut lab, || {
        let caller = Caller::new(Some(&controller), b"h3");
        caller.dial(address, AGENT).unwrap_err().to_string()
    });

    assert_says(&logged, &["another version of the protocol"]);
}

#[test]
fn a_caller_of_an_unknown_version_of_quic_is_told_so() {
    let mut lab = Lab::loopback();
    let controller = Credentials::issued(lab.mesh(), "controller", "alice");
    // The last draft of QUIC: an agent speaks the published version only.
    let caller = Caller::new(Some(&controller), ALPN).with_quic_version(0xff00_001d);

    let refused = caller.dial(lab.agent(0).address(), AGENT).unwrap_err();

    assert!(
        matches!(refused, quinn::ConnectionError::VersionMismatch),
        "{refused}"
    );
    assert_serves(&lab);
}

#[test]
fn a_second_link_is_a_full_handshake_again() {
    let mut lab = Lab::loopback();
    let controller = Forger::with_key_of(lab.mesh()).sign("controller/boss", |_| {});
    let address = lab.agent(0).address();
    let caller = Caller::new(Some(&controller.credentials), ALPN);

    // A caller that keeps every ticket it gets, and would use it.
    for times in 1..=3 {
        caller.dial(address, AGENT).unwrap();

        assert_eq!(caller.times_shown(), times, "its certificate is asked for");
        assert_eq!(caller.times_judged(), times, "the agent shows its own");
    }
    assert!(!caller.offers_early_data(address, AGENT));
}

#[test]
fn a_caller_that_resumes_elsewhere_shows_that_the_test_could_fail() {
    let lab = Lab::new();
    let controller = Credentials::issued(lab.mesh(), "controller", "alice");
    let lax = Callee::start(&Credentials::issued(lab.mesh(), "agent", AGENT), ALPN);
    let caller = Caller::new(Some(&controller), ALPN);

    caller.visit(lax.address(), AGENT);
    caller.visit(lax.address(), AGENT);

    assert_eq!(caller.times_judged(), 1, "the second session was resumed");
}
