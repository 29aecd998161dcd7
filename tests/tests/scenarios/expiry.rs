//! Identities whose time is over, or has not come, at start and while an agent serves.
//!
//! Peers with crafted dates are in `identity`. Here the real command line issues for seconds, and
//! the test waits until they are over.

use std::{ffi::OsStr, path::PathBuf};

use scenarios::{Finished, Lab, PATIENCE, Place, Process, eventually, eventually_some};
use time::{Duration, OffsetDateTime};

use crate::{
    identity::{AGENT, assert_says, assert_serves, credentials::Forger, message},
    started::{self, Started},
};

/// Issues an identity that lasts for `validity`.
fn issue(lab: &Lab, role: &str, name: &str, validity: &str) -> PathBuf {
    let path = lab.mesh().folder().join(format!("{role}-{name}.short"));
    let words = ["pki", "issue", role, name, "--validity", validity, "--out"].map(OsStr::new);
    let _ = lab
        .run(words.into_iter().chain([path.as_os_str()]))
        .expect_success();
    path
}

fn run_as(lab: &Lab, identity: &std::path::Path) -> Finished {
    let words = ["run", "-t", AGENT, "--", "true"].map(OsStr::new);
    let flag = [OsStr::new("--identity"), identity.as_os_str()];
    lab.run(flag.into_iter().chain(words))
}

/// Waits until what was issued for a second has ended; dates in certificates are whole seconds.
fn wait_for_the_end() {
    let ended = OffsetDateTime::now_utc() + Duration::seconds(2);
    eventually(PATIENCE, || OffsetDateTime::now_utc() > ended);
}

/// Starts an agent that must not come up, and returns what its user reads.
#[track_caller]
fn refused_start(identity: &std::path::Path) -> Finished {
    let mut command = started::agent(&Place::here(), identity, "127.0.0.1:0");
    command.arg("--no-mdns");
    Process::run(command).expect_code(1)
}

#[test]
fn a_controller_whose_identity_ended_is_told_when_and_what_to_do() {
    let lab = Lab::loopback();
    let alice = issue(&lab, "controller", "alice", "1s");
    wait_for_the_end();

    let refused = run_as(&lab, &alice).expect_code(255);

    assert_says(
        &message(refused),
        &[
            "the identity of controller/alice",
            "ended on",
            "controller pki issue controller alice",
        ],
    );
    assert_serves(&lab);
}

#[test]
fn an_agent_whose_identity_ended_does_not_start() {
    let lab = Lab::new();
    let short = issue(&lab, "agent", AGENT, "1s");
    wait_for_the_end();

    let said = refused_start(&short).stderr_text();

    assert_eq!(said.lines().count(), 1, "{said}");
    assert_says(
        &said,
        &[
            "the identity of agent/srv-linux-01",
            "ended on",
            "controller pki issue agent srv-linux-01",
        ],
    );
}

#[test]
fn an_identity_that_begins_tomorrow_starts_neither_binary() {
    let lab = Lab::new();
    let tomorrow = OffsetDateTime::now_utc() + Duration::days(1);
    let forger = Forger::with_key_of(lab.mesh());
    let early = |node| {
        let forged = forger.sign(node, |params| params.not_before = tomorrow);
        forged.save(lab.mesh(), node)
    };

    let agent = refused_start(&early("agent/srv-linux-01")).stderr_text();
    let controller = message(run_as(&lab, &early("controller/alice")).expect_code(255));

    for said in [agent, controller] {
        assert_says(&said, &["begins on", "set the clock"]);
    }
}

#[test]
fn an_agent_whose_certificate_ends_while_it_serves_is_refused_from_then_on() {
    let lab = Lab::new();
    // Long enough to come up on a loaded machine.
    let short = issue(&lab, "agent", AGENT, "4s");
    let mut command = started::agent(&Place::here(), &short, "127.0.0.1:0");
    command.arg("--no-mdns");
    let agent = Started::by(command);

    let refused = eventually_some(PATIENCE, || {
        let words = ["run", "-t", AGENT, "--", "true"];
        let ran = Process::run(lab.controller_knowing([(AGENT, agent.listen)], words));
        (ran.code() == Some(255)).then_some(ran)
    });

    assert_says(
        &message(refused),
        &[AGENT, "the peer's certificate ended on", "issue a new one"],
    );
}
