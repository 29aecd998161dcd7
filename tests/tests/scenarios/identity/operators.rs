//! A second operator, who has an identity and no CA.

use std::{ffi::OsStr, process::Command};

use scenarios::{Binaries, Lab, Place, Process};

use super::{AGENT, assert_says, message};

/// `controller` of an operator who has nothing but an identity file, and an empty folder.
fn controller_of_alice(lab: &mut Lab, folder: &std::path::Path, words: &[&str]) -> Command {
    let identity = folder.join("alice.identity");
    if !identity.exists() {
        let issued = lab.mesh().issue_controller("alice");
        fs_err::rename(issued, &identity).unwrap();
    }
    let mut command = Place::here().clean_command(&Binaries::get().controller, folder);
    command
        .env("MESOSYNC_HOME", folder.join("home"))
        .arg("--identity")
        .arg(identity)
        .args(["--address", &format!("{AGENT}={}", lab.agent(0).address())])
        .args(["--mdns", "false"])
        .args(words.iter().map(OsStr::new));
    command
}

#[test]
fn a_second_operator_works_without_the_ca_at_hand() {
    let mut lab = Lab::loopback();
    let folder = tempfile::tempdir().unwrap();

    let words = ["run", "-t", AGENT, "--", "echo", "hello"];
    let ran = Process::run(controller_of_alice(&mut lab, folder.path(), &words));
    let listed = Process::run(controller_of_alice(&mut lab, folder.path(), &["agents"]));

    assert_eq!(ran.expect_success().stdout, b"hello\n");
    assert_says(&listed.expect_success().stdout_text(), &[AGENT]);
    assert!(!folder.path().join("home/pki").exists());
}

#[test]
fn a_second_operator_cannot_issue() {
    let mut lab = Lab::loopback();
    let folder = tempfile::tempdir().unwrap();
    let words = ["pki", "issue", "agent", "mine", "--out", "mine.identity"];

    let refused = Process::run(controller_of_alice(&mut lab, folder.path(), &words));

    assert_ne!(refused.code(), Some(0));
    assert_says(&refused.stderr_text(), &["pki"]);
}

#[test]
fn addresses_in_the_environment_do_not_disturb_issuing() {
    let lab = Lab::new();
    for (name, addresses) in [("one", "srv-a=192.0.2.7:4433"), ("two", "")] {
        let out = lab.mesh().folder().join(name);
        let words = ["pki", "issue", "agent", name, "--out"].map(OsStr::new);
        let mut command = lab.mesh().controller(words);
        command.arg(out).env("MESOSYNC_ADDRESSES", addresses);

        let _ = Process::run(command).expect_success();
    }
}

#[test]
fn an_operator_without_an_identity_is_told_how_to_get_one() {
    let lab = Lab::new();
    let folder = tempfile::tempdir().unwrap();
    let mut command = lab.controller(["run", "-t", AGENT, "--", "true"]);
    command.env("MESOSYNC_HOME", folder.path());

    let said = message(Process::run(command).expect_code(255));

    assert_says(
        &said,
        &["no identity yet", "controller pki init", "--identity"],
    );
}
