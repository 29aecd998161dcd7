//! Callers that an agent must not let in.

use rcgen::ExtendedKeyUsagePurpose;
use scenarios::{Lab, Mesh};
use time::{Duration, OffsetDateTime};

use super::{
    AGENT, assert_says,
    credentials::{Credentials, Forger, dns, uri},
    peer::{ALPN, Caller},
    refused_by_agent, refused_there,
};

/// The node that a stolen CA key would be used to forge first.
const BOSS: &str = "controller/boss";

#[test]
fn a_controller_of_the_mesh_is_let_in() {
    let mut lab = Lab::loopback();
    let controller = Credentials::issued(lab.mesh(), "controller", "alice");
    let forged = Forger::with_key_of(lab.mesh()).sign(BOSS, |_| {});
    let address = lab.agent(0).address();

    // What is refused below is refused for what was changed, and for nothing else.
    for credentials in [controller, forged.credentials] {
        let caller = Caller::new(Some(&credentials), ALPN);
        caller.dial(address, "anything").unwrap();
    }
}

#[test]
fn an_agent_does_not_obey_another_agent() {
    let mut lab = Lab::loopback();
    let other = Credentials::issued(lab.mesh(), "agent", "srv-linux-02");

    let logged = refused_by_agent(&mut lab, &other);

    assert_says(
        &logged,
        &["the peer is agent/srv-linux-02, but only the role controller is taken here"],
    );
}

#[test]
fn an_agent_does_not_obey_its_own_certificate() {
    let mut lab = Lab::loopback();
    let own = Credentials::of_identity(lab.agent(0).identity());

    let logged = refused_by_agent(&mut lab, &own);

    assert_says(&logged, &["only the role controller is taken here"]);
}

#[test]
fn a_rendezvous_cannot_pose_as_a_controller() {
    let mut lab = Lab::loopback();
    let hub = Credentials::issued(lab.mesh(), "rendezvous", "hub");

    let logged = refused_by_agent(&mut lab, &hub);

    assert_says(
        &logged,
        &["the peer is rendezvous/hub, but only the role controller is taken here"],
    );
}

#[test]
fn a_controller_of_a_mesh_of_the_same_name_is_refused() {
    let mut lab = Lab::loopback();
    let twin = Mesh::init("lab");
    let controller = Credentials::issued(&twin, "controller", "boss");

    let logged = refused_by_agent(&mut lab, &controller);

    assert_says(&logged, &["the peer belongs to another mesh"]);
}

#[test]
fn a_foreign_certificate_under_the_pinned_ca_certificate_is_refused() {
    let mut lab = Lab::loopback();
    let mut foreign = Forger::impostor().sign(BOSS, |_| {}).credentials;
    foreign.chain[1] = Credentials::of_identity(lab.agent(0).identity()).chain[1].clone();

    let logged = refused_by_agent(&mut lab, &foreign);

    assert_says(&logged, &["a link was refused", "the peer"]);
}

#[test]
fn a_self_signed_certificate_is_refused() {
    let mut lab = Lab::loopback();
    let own = Forger::with_key_of(lab.mesh()).self_signed(BOSS);

    let logged = refused_by_agent(&mut lab, &own.credentials);

    assert_says(&logged, &["the peer"]);
}

#[test]
fn a_certificate_that_may_not_dial_is_refused() {
    let mut lab = Lab::loopback();
    let server_only = Forger::with_key_of(lab.mesh()).sign(BOSS, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });

    let logged = refused_by_agent(&mut lab, &server_only.credentials);

    assert_says(
        &logged,
        &["the peer's certificate is not for dialling (client authentication)"],
    );
}

#[test]
fn a_certificate_with_two_roles_is_refused() {
    let mut lab = Lab::loopback();
    let both = Forger::with_key_of(lab.mesh()).sign(BOSS, |params| {
        params
            .subject_alt_names
            .push(uri("spiffe://lab/agent/boss"));
    });

    let logged = refused_by_agent(&mut lab, &both.credentials);

    assert_says(&logged, &["bears 2 URIs", "not one URI and one DNS name"]);
}

#[test]
fn a_certificate_without_a_role_is_refused() {
    let mut lab = Lab::loopback();
    let none = Forger::with_key_of(lab.mesh()).sign(BOSS, |params| {
        params.subject_alt_names = vec![dns("boss.controller.mesosync.internal")];
    });

    let logged = refused_by_agent(&mut lab, &none.credentials);

    assert_says(&logged, &["bears 0 URIs"]);
}

#[test]
fn a_certificate_that_names_another_mesh_is_refused() {
    let mut lab = Lab::loopback();
    let other = Forger::with_key_of(lab.mesh()).sign(BOSS, |params| {
        params.subject_alt_names[0] = uri("spiffe://other/controller/boss");
    });

    let logged = refused_by_agent(&mut lab, &other.credentials);

    assert_says(&logged, &["of mesh other, not of lab"]);
}

#[test]
fn a_certificate_whose_name_steers_terminals_is_logged_harmlessly() {
    let mut lab = Lab::loopback();
    let hostile = Forger::with_key_of(lab.mesh()).sign(BOSS, |params| {
        params.subject_alt_names[0] = uri("spiffe://lab/controller/\x1b[2J\nERROR forged");
    });

    let logged = refused_by_agent(&mut lab, &hostile.credentials);

    assert_says(&logged, &["names no mesh, role and node"]);
}

#[test]
fn an_expired_controller_is_refused_with_both_dates() {
    let mut lab = Lab::loopback();
    let ended = OffsetDateTime::now_utc() - Duration::minutes(2);
    let expired = Forger::with_key_of(lab.mesh()).sign(BOSS, |params| params.not_after = ended);

    let logged = refused_by_agent(&mut lab, &expired.credentials);

    assert_says(
        &logged,
        &["the peer's certificate ended on", "and the clock here says"],
    );
}

#[test]
fn a_controller_that_is_not_valid_yet_is_refused_with_both_dates() {
    let mut lab = Lab::loopback();
    let tomorrow = OffsetDateTime::now_utc() + Duration::days(1);
    let early = Forger::with_key_of(lab.mesh()).sign(BOSS, |params| params.not_before = tomorrow);

    let logged = refused_by_agent(&mut lab, &early.credentials);

    assert_says(
        &logged,
        &["the peer's certificate begins on", "compare the clocks"],
    );
}

#[test]
fn a_caller_without_a_certificate_is_refused() {
    let mut lab = Lab::loopback();
    let address = lab.agent(0).address();

    let logged = refused_there(&mut lab, || {
        let caller = Caller::new(None, ALPN);
        caller.dial(address, AGENT).unwrap_err().to_string()
    });

    assert_says(&logged, &["the peer presented no certificate"]);
}

#[test]
fn a_chain_that_is_too_long_is_refused() {
    let mut lab = Lab::loopback();
    let mut long = Credentials::issued(lab.mesh(), "controller", "alice");
    long.chain = vec![long.chain[0].clone(); 9];

    let logged = refused_by_agent(&mut lab, &long);

    assert_says(&logged, &["9 certificates, more than 4"]);
}

#[test]
fn a_stolen_certificate_without_its_key_is_refused() {
    let mut lab = Lab::loopback();
    let mut stolen = Credentials::issued(lab.mesh(), "controller", "alice");
    stolen.key = Forger::impostor().sign(BOSS, |_| {}).credentials.key;

    let logged = refused_by_agent(&mut lab, &stolen);

    assert_says(
        &logged,
        &["the peer does not hold the key of its certificate"],
    );
}
