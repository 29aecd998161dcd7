//! A controller's folder and its configuration.

use std::process::Command;

use scenarios::{Binaries, Lab, Mesh, Place, Process};

use super::{assert_says, failure};

const RUN: [&str; 5] = ["run", "-t", "srv-linux-01", "--", "true"];

fn with_configuration(lab: &Lab, text: &str) -> Command {
    fs_err::write(lab.mesh().home().join("controller.toml"), text).unwrap();
    lab.controller(RUN)
}

#[test]
fn unknown_key_of_the_configuration_names_the_nearest_known_one() {
    let lab = Lab::new();
    let file = lab.mesh().home().join("controller.toml");
    let message = format!(
        "controller: {}: unknown key \"conect-timeout\"; did you mean \"connect-timeout\"? The keys \
         are identity, connect-timeout, timeout, idle-timeout, grace, orphan-limit, addresses, mdns, warm-links, warm-idle\n",
        file.display()
    );

    assert_says(
        with_configuration(&lab, "conect-timeout = \"1s\"\n"),
        64,
        &message,
    );
}

#[test]
fn configuration_that_is_no_toml_or_holds_a_wrong_value_names_the_line() {
    let lab = Lab::new();
    for (text, place, why) in [
        ("timeout = \n", "line 1", ""),
        (
            "mdns = true\n\ntimeout = \"soon\"\n",
            "line 3",
            "\"soon\" is no length of time",
        ),
        ("timeout = \"0s\"\n", "line 1", "longer than zero"),
        ("mdns = \"no\"\n", "line 1", "expected a boolean"),
        (
            "[addresses]\nSrv = [\"192.0.2.7:1\"]\n",
            "line 2",
            "is not a name",
        ),
        ("[addresses]\nsrv = [\"192.0.2.7\"]\n", "line 2", "address"),
        (
            "timeout = \"1s\"\ntimeout = \"2s\"\n",
            "line 2",
            "duplicate key",
        ),
    ] {
        let said = failure(with_configuration(&lab, text), 64);

        assert!(
            said.contains(&format!("controller.toml, {place}: ")),
            "{text:?}: {said}"
        );
        assert!(said.contains(why), "{text:?}: {said}");
    }
}

#[test]
fn controller_without_an_identity_is_sent_to_pki_init() {
    let folder = tempfile::tempdir().unwrap();
    let message = "controller: this controller has no identity yet\n  make a mesh with `controller \
                   pki init`, or name an identity file with --identity\n";

    for verb in [&RUN[..], &["agents"], &["capabilities", "-t", "x"]] {
        let mut command = Place::here().clean_command(&Binaries::get().controller, folder.path());
        command.args(verb);
        assert_says(command, 255, message);
    }
}

#[test]
fn identity_that_is_named_and_not_there_is_named_in_the_message() {
    let lab = Lab::new();
    let message = "controller: the identity /no/where does not exist\n  where the mesh was made, \
                   `controller pki issue controller NAME --out FILE` makes one\n";
    let words = [&["--identity", "/no/where"], &RUN[..]].concat();

    assert_says(lab.controller(words), 255, message);
}

#[test]
fn identity_of_an_agent_is_refused_at_the_controller_with_what_it_needs() {
    let lab = Lab::new();
    let file = lab.mesh().issue_agent("srv");
    let message = format!(
        "controller: {} is the identity of agent/srv, and not a controller's\n  where the mesh was \
         made, `controller pki issue controller NAME --out FILE` makes one\n",
        file.display()
    );
    let words = [&["--identity", file.to_str().unwrap()], &RUN[..]].concat();

    assert_says(lab.controller(words), 255, &message);
}

#[test]
fn home_that_is_a_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs_err::write(&file, "").unwrap();
    let at_home = |words: &[&str]| {
        let mut command = Place::here().clean_command(&Binaries::get().controller, folder.path());
        command.env("MESOSYNC_HOME", &file).args(words);
        command
    };

    let said = failure(at_home(&["pki", "init"]), 1);
    assert!(
        said.contains(&format!("make the directory {}/pki", file.display())),
        "{said}"
    );
    let said = failure(at_home(&RUN), 64);
    assert!(
        said.contains(&format!("{}/controller.toml", file.display())),
        "{said}"
    );
}

/// Gives the rest of the words a folder that nobody can write, whoever they are.
#[cfg(target_os = "linux")]
fn read_only(folder: &std::path::Path, command: &Command) -> Command {
    let script =
        "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && shift && exec \"$@\"";
    let mut unshare = Command::new("unshare");
    unshare.args([
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        script,
        "sh",
    ]);
    unshare
        .arg(folder)
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear();
    for (key, value) in command.get_envs() {
        unshare.env(key, value.unwrap());
    }
    unshare
}

#[cfg(target_os = "linux")]
#[test]
fn home_that_cannot_be_written_takes_no_mesh_and_still_runs_commands() {
    let folder = tempfile::tempdir().unwrap();
    let mut init = Place::here().clean_command(&Binaries::get().controller, folder.path());
    init.args(["pki", "init", "--home"]).arg(folder.path());
    let said = failure(read_only(folder.path(), &init), 1);
    assert!(said.contains("Read-only file system"), "{said}");
    assert!(said.contains(folder.path().to_str().unwrap()), "{said}");

    let lab = Lab::loopback();
    let run = lab.controller(["run", "-t", "srv-linux-01", "--", "echo", "hi"]);
    let ran = Process::run(read_only(&lab.mesh().home(), &run)).expect_success();
    assert_eq!(ran.stdout_text(), "hi\n");
    assert!(
        ran.stderr_text().contains("could not be remembered"),
        "{ran:?}"
    );
    assert_eq!(ran.stderr_text().lines().count(), 1, "{ran:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn user_without_a_home_is_told_how_to_name_one() {
    let message = "controller: this user has no home folder; name one with --home DIR or \
                   MESOSYNC_HOME\n";
    // A user id that no account has: there is no folder to fall back to.
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-user=54321", "--"]);
    command
        .arg(&Binaries::get().controller)
        .args(RUN)
        .env_remove("HOME");
    command.env_remove("MESOSYNC_HOME");

    assert_says(command, 64, message);
}

#[test]
fn home_may_be_anywhere_when_it_is_named_and_home_is_unset() {
    let mesh = Mesh::init("lab");
    let mut command = mesh.controller(["pki", "fingerprint"]);
    command.env_remove("HOME");

    let finished = Process::run(command).expect_success();

    assert_eq!(finished.stdout_text().trim().len(), 64);
}
