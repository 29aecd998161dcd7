//! `controller pki`, with names, files and folders that will not do.

use std::{os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use scenarios::{Binaries, Lab, Place, Process};

use super::{assert_misused, assert_says, failure};

fn secret(path: &Path, bytes: &[u8]) {
    fs_err::write(path, bytes).unwrap();
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn inspect(lab: &Lab, file: &Path) -> Command {
    let mut command = lab.controller(["pki", "inspect"]);
    command.arg(file);
    command
}

#[test]
fn mesh_is_made_once_and_stays_as_it_is() {
    let lab = Lab::new();
    let fingerprint = || {
        lab.run(["pki", "fingerprint"])
            .expect_success()
            .stdout_text()
    };
    let before = fingerprint();
    let message = format!(
        "controller: {} exists already: a mesh is made once; a second one needs a folder of its \
         own, --home DIR\n",
        lab.mesh().home().join("pki").display()
    );

    assert_says(lab.controller(["pki", "init"]), 1, &message);

    assert_eq!(fingerprint(), before);
}

#[test]
fn identity_is_never_written_over_another_file() {
    let lab = Lab::new();
    let file = lab.mesh().issue_agent("srv");
    let before = fs_err::read(&file).unwrap();
    let mut command = lab.controller(["pki", "issue", "agent", "srv", "--out"]);
    command.arg(&file);
    let message = format!(
        "controller: {} exists already: move it away, or write another file\n",
        file.display()
    );

    assert_says(command, 1, &message);

    assert_eq!(fs_err::read(&file).unwrap(), before);
    assert_eq!(issued(&lab, "agent/srv"), 1);
}

#[test]
fn identity_that_has_nowhere_to_go_is_not_issued() {
    let lab = Lab::new();
    let words = [
        "pki",
        "issue",
        "agent",
        "srv",
        "--out",
        "/no/where/srv.identity",
    ];
    let message = "controller: there is no folder for /no/where/srv.identity: make it first\n";

    assert_says(lab.controller(words), 1, message);

    assert_eq!(issued(&lab, "agent/srv"), 0);
}

fn issued(lab: &Lab, node: &str) -> usize {
    let listed = lab.run(["pki", "list"]).expect_success().stdout_text();
    listed.lines().filter(|line| line.contains(node)).count()
}

#[test]
fn identity_cannot_be_issued_where_there_is_no_ca() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let message = format!(
        "controller: there is no CA in {}: make one with `controller pki init`\n",
        home.join("pki").display()
    );

    for words in [
        &["issue", "agent", "srv", "--out", "x"][..],
        &["list"],
        &["fingerprint"],
    ] {
        let mut command = Place::here().clean_command(&Binaries::get().controller, folder.path());
        command.env("MESOSYNC_HOME", &home).arg("pki").args(words);
        assert_says(command, 1, &message);
    }
}

#[test]
fn name_that_no_node_can_have_is_not_issued() {
    let lab = Lab::new();
    let rule = "is not a name: use 1 to 63 lower-case letters, digits and inner hyphens";
    let long = "x".repeat(64);

    for name in [
        "Srv",
        "srv.example",
        "bücher",
        "srv_1",
        "a b",
        "a,b",
        "../x",
        "x\u{202e}y",
        &long,
    ] {
        for role in ["agent", "controller", "rendezvous"] {
            let words = ["pki", "issue", role, name, "--out", "never"];
            assert_misused(lab.controller(words), rule);
        }
    }
    assert_misused(lab.controller(["pki", "init", "--name", "My Mesh"]), rule);
    assert!(!Path::new("never").exists());
}

#[test]
fn validity_that_no_certificate_can_have_is_refused() {
    let lab = Lab::new();
    let file = lab.mesh().folder().join("srv.identity");
    let issue = |validity: &str| {
        let mut command = lab.controller(["pki", "issue", "agent", "srv", "--validity", validity]);
        command.arg("--out").arg(&file);
        command
    };

    assert_misused(issue("soon"), "is no length of time");
    assert_misused(issue("0s"), "it must be longer than zero");
    let said = failure(issue("99years"), 1);
    assert!(
        said.contains("ask for a shorter validity, or make a new mesh"),
        "{said}"
    );
    assert!(!file.exists());
}

#[test]
fn file_that_is_no_identity_is_called_that() {
    let lab = Lab::new();
    let folder = lab.mesh().folder();
    let garbage = folder.join("garbage");
    secret(&garbage, b"not = [an identity");
    let binary = folder.join("binary");
    secret(&binary, &[0xff; 100]);

    let said = failure(inspect(&lab, Path::new("/no/where")), 1);
    assert!(
        said.contains("`/no/where`: No such file or directory"),
        "{said}"
    );
    let said = failure(inspect(&lab, folder), 1);
    let directory = format!(
        "controller: {} is a directory, not a file\n",
        folder.display()
    );
    assert_eq!(said, directory);
    let said = failure(inspect(&lab, &garbage), 1);
    assert!(
        said.contains("garbage is not a usable identity: line 1 is not TOML"),
        "{said}"
    );
    let said = failure(inspect(&lab, &binary), 1);
    assert!(said.contains("binary is not a text file"), "{said}");
}

#[test]
fn message_about_a_damaged_identity_shows_nothing_of_its_key() {
    let lab = Lab::new();
    let file = lab.mesh().issue_agent("srv");
    let text = fs_err::read_to_string(&file).unwrap();
    let key = text.split("PRIVATE KEY-----").nth(1).unwrap();
    let secrets: Vec<&str> = key.lines().filter(|line| line.len() > 20).collect();
    assert!(!secrets.is_empty());
    for damaged in [
        text.replacen('=', "", 1),
        text.replace("PRIVATE KEY", "PRIVATE KEYS"),
        text.replacen('"', "", 1),
    ] {
        secret(&file, damaged.as_bytes());

        let said = failure(inspect(&lab, &file), 1);

        assert!(secrets.iter().all(|line| !said.contains(line)), "{said}");
    }
}

#[test]
fn unknown_profile_shell_and_folder_for_pages_are_answered() {
    let lab = Lab::new();

    let message = "controller: no-such: no such profile\n  `controller profiles list` shows them\n";
    assert_says(lab.controller(["profiles", "show", "no-such"]), 64, message);
    assert_misused(
        lab.controller(["completions", "tcsh"]),
        "[possible values: bash",
    );
    let said = failure(lab.controller(["man", "--out-dir", "/dev/null/man1"]), 1);
    assert!(said.contains("/dev/null/man1"), "{said}");
}

#[test]
fn address_for_an_identity_is_answered_with_its_form() {
    let lab = Lab::new();

    for address in [
        "hub",
        "hub=1.2.3.4:1",
        "rendezvous/hub=nowhere",
        "king/hub=1.2.3.4:1",
    ] {
        let words = [
            "pki", "issue", "agent", "srv", "--out", "never", "--known", address,
        ];
        let finished = Process::run(lab.controller(words)).expect_code(64);
        assert!(
            finished.stderr_text().contains("ROLE/NAME=HOST:PORT"),
            "{finished:?}"
        );
    }
}
