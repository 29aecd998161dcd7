//! Identity: who is let in, by certificates of every wrong kind, at both ends of a link.
//!
//! The ends that hold the wrong certificates are bare QUIC endpoints of the test (`peer`); the other
//! end is always a real binary. Certificates that the CA would never sign are signed with its real
//! key (`credentials`).
//!
//! **Invariant:** after each refusal the agent serves on, and has logged one harmless line for it
//! ([`refused_by_agent`]).

mod callee;
mod caller;
pub(crate) mod credentials;
mod files;
mod operators;
pub(crate) mod peer;
mod protocol;
mod revocation;
mod tls12;

use std::net::SocketAddr;

use scenarios::{Finished, Lab, PATIENCE, Process, eventually_some};

use self::{
    credentials::Credentials,
    peer::{ALPN, Caller},
};

/// The agent of [`Lab::loopback`].
pub(crate) const AGENT: &str = "srv-linux-01";

/// Dials the agent of `lab` as the holder of `credentials`, and returns what the agent logged.
///
/// # Panics
/// When it is let in, when the agent does not log one harmless line, or does not serve on.
#[track_caller]
pub(crate) fn refused_by_agent(lab: &mut Lab, credentials: &Credentials) -> String {
    let address = lab.agent(0).address();
    refused_there(lab, || {
        let caller = Caller::new(Some(credentials), ALPN);
        caller.dial(address, "anything").unwrap_err().to_string()
    })
}

/// Lets `attack` be refused by the agent of `lab`, and returns what the agent logged.
#[track_caller]
pub(crate) fn refused_there(lab: &mut Lab, attack: impl FnOnce() -> String) -> String {
    let before = lab.agent(0).log();

    let told = attack();

    let logged = eventually_some(PATIENCE, || {
        let log = lab.agent(0).log();
        let new = log.strip_prefix(before.as_str()).unwrap();
        new.ends_with('\n').then(|| new.to_owned())
    });
    assert_eq!(logged.lines().count(), 1, "{logged}");
    assert_harmless(&logged);
    assert!(logged.contains("a link was refused"), "{logged}");
    assert_serves(lab);
    let refusals = |log: &str| log.matches("a link was refused").count();
    assert_eq!(
        refusals(&lab.agent(0).log()),
        refusals(&before) + 1,
        "{told}"
    );
    logged
}

/// Asserts that the agent of `lab` still serves its controller.
#[track_caller]
pub(crate) fn assert_serves(lab: &Lab) {
    let served = lab.run(["run", "-t", AGENT, "--", "echo", "served"]);
    assert_eq!(served.expect_success().stdout, b"served\n");
}

/// Runs a command at `address`, where somebody else than `srv-linux-01` answers, and returns what
/// the operator reads.
///
/// # Panics
/// When the exit code is not that of an unreachable agent, or the message is not one message with
/// a next step.
#[track_caller]
pub(crate) fn refused_by_controller(lab: &Lab, address: SocketAddr) -> String {
    let words = ["run", "-t", AGENT, "--", "echo", "secret"];
    let refused = Process::run(lab.controller_knowing([(AGENT, address)], words));
    message(refused.expect_code(255))
}

/// Returns what the operator reads, if it is one message: what failed on which target, and
/// indented below it what to do next.
#[track_caller]
pub(crate) fn message(refused: Finished) -> String {
    let text = refused.stderr_text();
    assert_eq!(refused.stdout_text(), "", "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert!(matches!(lines.len(), 1 | 2), "{text}");
    assert!(lines[0].starts_with("controller: "), "{text}");
    assert!(
        lines.iter().skip(1).all(|line| line.starts_with("  ")),
        "{text}"
    );
    assert_harmless(&text);
    text
}

/// Asserts that `text` holds nothing that steers a terminal but its line ends.
#[track_caller]
pub(crate) fn assert_harmless(text: &str) {
    let steers = |c: char| c != '\n' && proto::text::is_hidden(c);
    assert!(!text.contains(steers), "{text:?}");
}

/// Asserts that `text` says each of `parts`.
#[track_caller]
pub(crate) fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
}
