//! For whom the daemon is, and whom the command line takes for a daemon.

use std::{
    io::Write as _,
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::Path,
    process::Command,
};

use pki::{Authority, NextCrl, Serial};
use rustix::process::geteuid;
use scenarios::{Binaries, Lab, PATIENCE, Place, Process, eventually, eventually_some};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

use super::{Daemon, assert_says, script, status};
use crate::{
    props::TARGET,
    started::{self, Started},
};

/// A user who is nobody's.
const STRANGER: u32 = 65534;

#[test]
fn the_socket_is_for_its_owner_alone() {
    let lab = Lab::new();
    let daemon = Daemon::start(&lab);

    let mode = fs_err::metadata(&daemon.socket)
        .unwrap()
        .permissions()
        .mode();

    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn another_identity_or_folder_is_not_served_as_the_daemon_s() {
    let mut lab = Lab::loopback();
    let daemon = Daemon::start(&lab);
    let other = lab.mesh().issue_controller("other");
    let identity = other.to_str().unwrap();

    let mut words = vec!["--identity", identity];
    words.extend(script("true"));
    let _ = lab.run(words).expect_success();

    assert!(
        lab.agent(0).log().contains("peer=other"),
        "{}",
        lab.agent(0).log()
    );
    assert_eq!(status(&lab)["links"].as_array().unwrap().len(), 0);
    let elsewhere = TempDir::new().unwrap();
    let socket = daemon.socket.to_str().unwrap();
    let mut words = vec![
        "--socket",
        socket,
        "--home",
        elsewhere.path().to_str().unwrap(),
    ];
    words.extend(script("true"));
    assert_says(&lab.run(words).expect_code(255), &["no identity yet"]);
}

#[test]
fn the_daemon_is_gone_around_when_it_is_not_wanted() {
    let lab = Lab::loopback();
    let _daemon = Daemon::start(&lab);

    let _ = lab
        .run([&["--no-daemon"][..], &script("true")].concat())
        .expect_success();
    let mut never = lab.controller(script("true"));
    never.env("MESOSYNC_DAEMON", "never");
    let _ = Process::run(never).expect_success();
    let mut wrong = lab.controller(script("true"));
    wrong.env("MESOSYNC_DAEMON", "perhaps");
    let wrong = Process::run(wrong).expect_code(64);

    assert_eq!(status(&lab)["links"].as_array().unwrap().len(), 0);
    assert_says(&wrong, &["perhaps", "auto or never"]);
}

#[test]
fn clients_that_make_no_sense_harm_nobody() {
    let lab = Lab::loopback();
    let daemon = Daemon::start(&lab);
    let garbage: [&[u8]; 5] = [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        &[0, 0xff, 0xff, 0xff, 0xff],
        &[0, 0, 0, 0, 3, 0, 1, 2],
        &[1, 0, 0, 0, 1, 7],
    ];

    // Those that stay, and do not finish what they say, and those that go.
    let staying = UnixStream::connect(&daemon.socket).unwrap();
    (&staying).write_all(&[0, 0, 0, 1]).unwrap();
    for bytes in garbage {
        let mut client = UnixStream::connect(&daemon.socket).unwrap();
        client.write_all(bytes).unwrap();
    }

    let _ = lab.run(script("true")).expect_success();
    assert_eq!(status(&lab)["links"][0]["name"], TARGET);
}

/// A stranger of this machine, with programs that he may start.
struct Stranger {
    folder: TempDir,
}

impl Stranger {
    /// Returns nobody where this test has not the right to be somebody else.
    fn arrive() -> Option<Self> {
        if !geteuid().is_root() {
            return None;
        }
        let folder = tempfile::Builder::new()
            .prefix("stranger-")
            .tempdir()
            .unwrap();
        let this = Self { folder };
        fs_err::copy(&Binaries::get().controller, this.program()).unwrap();
        this.give(this.folder.path());
        Some(this)
    }

    fn program(&self) -> std::path::PathBuf {
        self.folder.path().join("controller")
    }

    fn give(&self, path: &Path) {
        std::os::unix::fs::chown(path, Some(STRANGER), Some(STRANGER)).unwrap();
    }

    /// Returns `controller` as the stranger starts it, in a home of his own.
    fn controller(&self, words: &[&str]) -> Command {
        let mut command = Place::here().clean_command("setpriv", self.folder.path());
        let user = STRANGER.to_string();
        command
            .args(["--reuid", &user, "--regid", &user, "--clear-groups", "--"])
            .arg(self.program())
            .args(words)
            .env("MESOSYNC_HOME", self.folder.path())
            .env("MESOSYNC_MDNS", "false");
        command
    }
}

#[test]
fn the_socket_of_another_user_is_refused() {
    let Some(stranger) = Stranger::arrive() else {
        return; // only root can be two users
    };
    let lab = Lab::loopback();
    let ours = Daemon::start(&lab);
    let _ =
        Process::run(stranger.controller(&["pki", "init", "--name", "theirs"])).expect_success();
    let theirs = Process::start(stranger.controller(&["serve"]));
    let _ = theirs.wait_for_line("serving on ", PATIENCE);

    let mut words = vec!["--socket", ours.socket.to_str().unwrap()];
    words.extend(script("true"));
    let refused = Process::run(stranger.controller(&words)).expect_code(255);
    assert_says(&refused, &["daemon", "not for this user", "--no-daemon"]);

    let socket = stranger.folder.path().join("daemon.sock");
    let mut words = vec!["--socket", socket.to_str().unwrap()];
    words.extend(script("true"));
    let refused = lab.run(words).expect_code(255);
    assert_says(
        &refused,
        &["user 65534", "not to be trusted", "--no-daemon"],
    );
    eventually(PATIENCE, || status(&lab)["runs"] == serde_json::json!([]));
}

#[test]
fn a_folder_that_others_write_to_is_no_place_for_a_daemon() {
    let lab = Lab::new();
    let shared = TempDir::new().unwrap();
    fs_err::set_permissions(shared.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let socket = shared.path().join("daemon.sock");

    let refused = lab
        .run(["serve", "--socket", socket.to_str().unwrap()])
        .expect_code(1);

    assert_says(
        &refused,
        &["not only this user's to write", "--socket FILE"],
    );
}

#[test]
fn an_agent_that_is_revoked_is_refused_though_its_link_is_warm() {
    let mut lab = Lab::loopback();
    let _daemon = Daemon::start(&lab);
    let _ = lab.run(script("true")).expect_success();
    let identity = lab.agent(0).identity().to_owned();

    revoke(&lab, &identity);
    let refused = lab.run(script("true")).expect_code(255);

    assert_says(&refused, &["revoked"]);
    assert_eq!(status(&lab)["links"].as_array().unwrap().len(), 0);
}

/// Puts a list into the operator's folder that revokes the certificate in `identity`.
fn revoke(lab: &Lab, identity: &Path) {
    let shown = lab.run(["pki", "inspect", "--json", identity.to_str().unwrap()]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.expect_success().stdout).unwrap();
    let serial: Serial = shown["serial"].as_str().unwrap().parse().unwrap();
    publish(lab, 1, Duration::days(7), &[serial]);
}

/// Puts a list into the operator's folder, to be believed for so long.
fn publish(lab: &Lab, number: u64, lasting: Duration, revoked: &[Serial]) {
    let folder = lab.mesh().home().join("pki");
    let now = OffsetDateTime::now_utc();
    let revoked = revoked.iter().cloned();
    let next = NextCrl {
        number,
        this_update: now - Duration::hours(1),
        next_update: now + lasting,
        revoked: revoked
            .map(|serial| (serial, now - Duration::minutes(1)))
            .collect(),
    };
    let crl = Authority::load(&folder).unwrap().sign_crl(&next).unwrap();
    fs_err::write(folder.join("crl.pem"), crl.to_pem()).unwrap();
}

#[test]
fn a_revocation_list_that_cannot_be_read_lets_nobody_in_though_links_are_warm() {
    let lab = Lab::loopback();
    let _daemon = Daemon::start(&lab);
    let _ = lab.run(script("true")).expect_success();
    let path = lab.mesh().home().join("pki").join("crl.pem");

    fs_err::write(&path, "nonsense").unwrap();
    for _ in 0..2 {
        let refused = lab.run(script("true")).expect_code(255);
        assert_says(&refused, &["the revocation list", "crl.pem is of no use"]);
    }

    publish(&lab, 1, Duration::days(7), &[]);
    let _ = lab.run(script("true")).expect_success();
    assert_eq!(status(&lab)["links"][0]["name"], TARGET);
}

#[test]
fn a_revocation_list_that_vanishes_stays_in_force() {
    let mut lab = Lab::loopback();
    let identity = lab.agent(0).identity().to_owned();
    revoke(&lab, &identity);
    let _daemon = Daemon::start(&lab);
    fs_err::remove_file(lab.mesh().home().join("pki").join("crl.pem")).unwrap();

    let refused = lab.run(script("true")).expect_code(255);

    assert_says(&refused, &["revoked"]);
}

/// Uses a warm link until it is no longer good, and returns what is said then.
#[track_caller]
fn refused_in_the_end(lab: &Lab, options: &[&str]) -> scenarios::Finished {
    let words = [options, &script("true")].concat();
    let _ = lab.run(&words).expect_success();
    assert_eq!(status(lab)["links"][0]["name"], TARGET);

    let refused = eventually_some(PATIENCE, || {
        let ran = lab.run(&words);
        (ran.code() != Some(0)).then_some(ran)
    });

    assert_eq!(status(lab)["links"].as_array().unwrap().len(), 0);
    refused.expect_code(255)
}

/// Long enough to come up and be used on a loaded machine.
const SHORT: &str = "8s";

#[test]
fn a_revocation_list_that_is_overdue_lets_nobody_in_though_links_are_warm() {
    let lab = Lab::loopback();
    publish(&lab, 1, Duration::seconds(8), &[]);
    let _daemon = Daemon::start(&lab);

    let refused = refused_in_the_end(&lab, &[]);

    assert_says(&refused, &["the revocation list was to be replaced on"]);
}

#[test]
fn an_agent_whose_certificate_ends_is_refused_though_its_link_is_warm() {
    let lab = Lab::new();
    let identity = issue(&lab, "agent", TARGET);
    let mut command = started::agent(&Place::here(), &identity, "127.0.0.1:0");
    command.arg("--no-mdns");
    let agent = Started::by(command);
    let _daemon = Daemon::start(&lab);
    let address = format!("{TARGET}={}", agent.listen);

    let refused = refused_in_the_end(&lab, &["--address", &address]);

    assert_says(&refused, &["the peer's certificate ended on"]);
}

#[test]
fn a_controller_whose_identity_ends_is_refused_though_its_links_are_warm() {
    let lab = Lab::loopback();
    let identity = issue(&lab, "controller", "alice");
    let identity = ["--identity", identity.to_str().unwrap()];
    let _daemon = Daemon::by(lab.controller([&identity[..], &["serve"]].concat()));

    let refused = refused_in_the_end(&lab, &identity);

    assert_says(&refused, &["the identity of controller/alice", "ended on"]);
}

/// Issues an identity that ends soon.
fn issue(lab: &Lab, role: &str, name: &str) -> std::path::PathBuf {
    let path = lab.mesh().folder().join(format!("{name}.short"));
    let out = path.to_str().unwrap();
    let words = ["pki", "issue", role, name, "--validity", SHORT];
    let _ = lab
        .run([&words[..], &["--out", out]].concat())
        .expect_success();
    path
}
