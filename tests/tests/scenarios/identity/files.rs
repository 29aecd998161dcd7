//! Identity files that a binary must not use: each gives one message with the next step.

use std::{ffi::OsStr, path::Path};

use scenarios::{Finished, Lab, Place, Process};

use super::{
    assert_harmless, assert_says,
    credentials::{Forger, set_mode, write_private},
    message,
};
use crate::started;

/// Starts an agent with this file, which must not come up, and returns what its user reads.
#[track_caller]
fn agent_refuses(identity: &Path) -> String {
    let mut command = started::agent(&Place::here(), identity, "127.0.0.1:0");
    command.arg("--no-mdns");
    let refused = Process::run(command).expect_code(1);
    let text = refused.stderr_text();
    let messages = text.lines().filter(|line| !line.starts_with("  "));
    assert_eq!(messages.count(), 1, "{text}");
    assert!(text.starts_with("funnelcloud: "), "{text}");
    assert_harmless(&text);
    text
}

/// Runs a command with this file as the operator's, which must fail, and returns what is read.
#[track_caller]
fn controller_refuses(lab: &Lab, identity: &Path) -> String {
    message(run_with(lab, identity).expect_code(255))
}

fn run_with(lab: &Lab, identity: &Path) -> Finished {
    let words = ["run", "-t", "srv-linux-01", "--", "true"].map(OsStr::new);
    let flag = [OsStr::new("--identity"), identity.as_os_str()];
    lab.run(flag.into_iter().chain(words))
}

#[test]
fn an_identity_that_others_may_read_is_refused_with_the_remedy() {
    let lab = Lab::new();
    let (agent, controller) = (
        lab.mesh().issue_agent("srv-linux-01"),
        lab.mesh().issue_controller("alice"),
    );
    for (path, mode) in [(&agent, 0o644), (&controller, 0o640)] {
        set_mode(path, mode);
    }

    for said in [agent_refuses(&agent), controller_refuses(&lab, &controller)] {
        assert_says(&said, &["is open to other users", "chmod 600 "]);
    }
    set_mode(&agent, 0o602);
    assert_says(&agent_refuses(&agent), &["mode 0602"]);
}

#[test]
fn an_identity_that_is_not_there_is_named() {
    let lab = Lab::new();
    let nowhere = lab.mesh().folder().join("nowhere.identity");

    assert_says(
        &agent_refuses(&nowhere),
        &["nowhere.identity", "No such file"],
    );
    assert_says(&controller_refuses(&lab, &nowhere), &["nowhere.identity"]);
}

#[test]
fn an_identity_that_this_user_may_not_read_is_named() {
    let lab = Lab::new();
    let identity = lab.mesh().issue_agent("srv-linux-01");
    // Root may read everything but a folder.
    let folder = lab.mesh().folder().join("folder.identity");
    fs_err::create_dir(&folder).unwrap();
    set_mode(&folder, 0o700);

    assert_says(&agent_refuses(&folder), &["folder.identity"]);
    assert_says(&controller_refuses(&lab, &folder), &["folder.identity"]);
    if !rustix::process::geteuid().is_root() {
        set_mode(&identity, 0o000);
        assert_says(&agent_refuses(&identity), &["Permission denied"]);
    }
}

#[test]
fn an_agent_does_not_start_with_an_identity_of_another_role() {
    let lab = Lab::new();
    let controller = lab.mesh().issue_controller("alice");

    let said = agent_refuses(&controller);

    assert_says(
        &said,
        &[
            "the identity is controller/alice's",
            "controller pki issue agent NAME",
        ],
    );
}

#[test]
fn a_rendezvous_identity_starts_neither_binary() {
    let lab = Lab::new();
    let hub = lab.mesh().folder().join("hub.identity");
    let words = ["pki", "issue", "rendezvous", "hub", "--out"].map(OsStr::new);
    let _ = lab
        .run(words.into_iter().chain([hub.as_os_str()]))
        .expect_success();

    assert_says(&agent_refuses(&hub), &["rendezvous/hub", "pki issue agent"]);
    assert_says(
        &controller_refuses(&lab, &hub),
        &["rendezvous/hub", "pki issue controller NAME"],
    );
}

#[test]
fn a_controller_does_not_run_with_an_agents_identity() {
    let lab = Lab::new();
    let agent = lab.mesh().issue_agent("srv-linux-01");

    let said = controller_refuses(&lab, &agent);

    assert_says(
        &said,
        &["agent/srv-linux-01", "controller pki issue controller NAME"],
    );
}

#[test]
fn an_identity_with_the_key_of_another_certificate_is_refused() {
    let lab = Lab::new();
    let (one, other) = (
        lab.mesh().issue_agent("srv-linux-01"),
        lab.mesh().issue_agent("srv-linux-02"),
    );
    let (one_text, other_text) = (
        fs_err::read_to_string(&one).unwrap(),
        fs_err::read_to_string(&other).unwrap(),
    );
    let head = one_text.split("private-key").next().unwrap();
    let (_, tail) = other_text.split_once("private-key").unwrap();
    let mixed = lab.mesh().folder().join("mixed.identity");
    write_private(&mixed, &format!("{head}private-key{tail}"));

    let said = agent_refuses(&mixed);

    assert_says(
        &said,
        &[
            "mixed.identity",
            "private-key is not the key of the certificate",
        ],
    );
}

#[test]
fn no_message_about_a_damaged_identity_shows_any_of_it() {
    let lab = Lab::new();
    let whole = fs_err::read_to_string(lab.mesh().issue_agent("srv-linux-01")).unwrap();
    let secret = whole.split("BEGIN PRIVATE KEY-----\n").nth(1).unwrap();
    let secret = secret.lines().next().unwrap();
    let damaged = lab.mesh().folder().join("damaged.identity");

    for text in [
        whole[..whole.len() / 2].to_owned(),
        whole.replace("'''", ""),
        whole.replace("private-key", "privat-key"),
        whole.replace("BEGIN PRIVATE", "BEGIN EC PRIVATE"),
        whole.replace(&secret[..8], "AAAAAAAA"),
        "\x1b[2J = \x07".to_owned(),
        String::new(),
    ] {
        write_private(&damaged, &text);

        let said = agent_refuses(&damaged);

        assert_says(&said, &["damaged.identity"]);
        assert!(!said.contains(&secret[16..48]), "{said}");
    }
}

#[test]
fn a_certificate_of_another_ca_in_an_identity_is_refused() {
    let lab = Lab::new();
    let foreign = Forger::impostor().sign("agent/srv-linux-01", |_| {});
    let path = foreign.save(lab.mesh(), "agent/srv-linux-01");

    let said = agent_refuses(&path);

    assert_says(&said, &["the CA's certificate has fingerprint"]);
}
