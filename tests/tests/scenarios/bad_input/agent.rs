//! `funnelcloud agent`, where it cannot start.

use std::{net::UdpSocket, path::Path, process::Command};

use scenarios::{Binaries, Lab, Place};

use super::{assert_misused, failure};

fn funnelcloud(lab: &Lab, words: &[&str]) -> Command {
    let folder = lab.mesh().folder();
    let mut command = Place::here().clean_command(&Binaries::get().funnelcloud, folder);
    command.args(words);
    command
}

fn agent(lab: &Lab, identity: &Path, listen: &str, home: &Path) -> Command {
    let mut command = funnelcloud(lab, &["agent", "--no-mdns", "--listen", listen]);
    command
        .arg("--identity")
        .arg(identity)
        .arg("--home")
        .arg(home);
    command
}

const WHENCE: &str = "\n  the identity comes from `controller pki issue agent NAME --out FILE`, run \
                      where the mesh was made\n";

#[test]
fn agent_without_an_identity_is_told_to_have_one() {
    let lab = Lab::new();

    assert_misused(funnelcloud(&lab, &["agent"]), "--identity <FILE>");
    let said = failure(funnelcloud(&lab, &["agent", "--identity", "/no/where"]), 1);
    assert!(
        said.contains("`/no/where`: No such file or directory"),
        "{said}"
    );
    assert!(said.ends_with(WHENCE), "{said}");
}

#[test]
fn agent_is_told_when_its_identity_is_a_directory_or_a_controllers() {
    let lab = Lab::new();
    let folder = lab.mesh().folder();
    let home = folder.join("home");

    let said = failure(agent(&lab, folder, "127.0.0.1:0", &home), 1);
    let expected = format!(
        "funnelcloud: {} is a directory, not a file{WHENCE}",
        folder.display()
    );
    assert_eq!(said, expected);
    let alice = lab.mesh().issue_controller("alice");
    let said = failure(agent(&lab, &alice, "127.0.0.1:0", &home), 1);
    assert_eq!(
        said,
        "funnelcloud: the identity is controller/alice's; an agent needs one that was issued by \
         `controller pki issue agent NAME`\n"
    );
}

#[test]
fn port_in_use_is_answered_with_what_may_use_it() {
    let lab = Lab::new();
    let identity = lab.mesh().issue_agent("srv");
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();

    let said = failure(
        agent(&lab, &identity, &address, &lab.mesh().folder().join("home")),
        1,
    );

    assert!(
        said.starts_with(&format!("funnelcloud: listen on UDP {address}: ")),
        "{said}"
    );
    assert!(
        said.ends_with(
            "\n  another program uses this port, perhaps another agent: stop it, or choose a port \
             with --listen\n"
        ),
        "{said}"
    );
}

#[test]
fn address_of_another_host_or_of_no_form_is_answered() {
    let lab = Lab::new();
    let identity = lab.mesh().issue_agent("srv");
    let home = lab.mesh().folder().join("home");

    let said = failure(agent(&lab, &identity, "192.0.2.1:0", &home), 1);
    assert!(said.contains("listen on UDP 192.0.2.1:0: "), "{said}");
    assert!(
        said.ends_with("\n  this host has no such address: use --listen 0.0.0.0:PORT\n"),
        "{said}"
    );
    let form = "expected an address and a port, such as 0.0.0.0:4433";
    assert_misused(agent(&lab, &identity, "4433", &home), form);
    assert_misused(agent(&lab, &identity, "localhost:4433", &home), form);
}

#[test]
fn home_that_is_a_file_or_cannot_be_made_is_answered_with_the_option() {
    let lab = Lab::new();
    let identity = lab.mesh().issue_agent("srv");
    let file = lab.mesh().folder().join("file");
    fs_err::write(&file, "").unwrap();

    for home in [file.as_path(), Path::new("/dev/null/home")] {
        let said = failure(agent(&lab, &identity, "127.0.0.1:0", home), 1);

        assert!(
            said.contains(&format!("make the agent's home {}: ", home.display())),
            "{said}"
        );
        assert!(
            said.ends_with("\n  choose a folder that this user may write with --home DIR\n"),
            "{said}"
        );
    }
}

#[test]
fn second_agent_with_the_same_home_does_not_start_and_harms_the_first_in_nothing() {
    let mut lab = Lab::loopback();
    let (identity, home) = (
        lab.agent(0).identity().to_owned(),
        lab.agent(0).home().to_owned(),
    );

    let said = failure(agent(&lab, &identity, "127.0.0.1:0", &home), 1);

    assert!(
        said.contains(
            "another agent runs with this home; stop it, or give this one a --home of its own"
        ),
        "{said}"
    );
    let ran = lab
        .run(["run", "-t", "srv-linux-01", "--", "echo", "hi"])
        .expect_success();
    assert_eq!(ran.stdout_text(), "hi\n");
}

#[test]
fn agent_binary_without_a_verb_shows_its_help() {
    let lab = Lab::new();

    assert_misused(funnelcloud(&lab, &[]), "Usage: funnelcloud <COMMAND>");
    assert_misused(
        funnelcloud(&lab, &["agnet"]),
        "a similar subcommand exists: 'agent'",
    );
}
