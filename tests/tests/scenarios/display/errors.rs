//! What a hostile peer says when it closes a link, and what a log makes of hostile words.

use std::{net::SocketAddr, sync::Arc, thread, time::Duration};

use pki::{Identity, Revocation, StaleCrl};
use proto::{frame::ALPN, id::Role};
use quinn::crypto::rustls::QuicServerConfig;
use scenarios::{Lab, PATIENCE, Process, Screen, Terminal, eventually};
use time::OffsetDateTime;

use super::assert_harmless;

/// Words that would forge a message and clear the screen.
const WORDS: &str = "\u{1b}[2J\u{202e}\ncontroller: srv-linux-01: finished";

/// An agent with an honest certificate that says [`WORDS`] to everybody who dials, and hangs up.
struct Liar {
    address: SocketAddr,
    stop: tokio::sync::oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Liar {
    fn start(lab: &Lab, name: &str) -> Self {
        let file = lab.mesh().issue_agent(name);
        let identity = Identity::load(&file, OffsetDateTime::now_utc()).unwrap();
        let revocation = Revocation::none_known(StaleCrl::Refuse);
        let tls = pki::server_config(&identity, &[Role::Controller], revocation, &[ALPN]).unwrap();
        let tls = QuicServerConfig::try_from(tls).unwrap();
        let config = quinn::ServerConfig::with_crypto(Arc::new(tls));
        let (told, address) = std::sync::mpsc::sync_channel(1);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let endpoint = quinn::Endpoint::server(config, ([127, 0, 0, 1], 0).into()).unwrap();
                told.send(endpoint.local_addr().unwrap()).unwrap();
                tokio::select! {
                    () = hang_up(&endpoint) => {}
                    _ = stopped => {}
                }
            });
        });
        let address = address.recv_timeout(PATIENCE).unwrap();
        Self {
            address,
            stop,
            thread,
        }
    }

    fn stop(self) {
        // It may have ended by itself.
        let _ = self.stop.send(());
        self.thread.join().unwrap();
    }
}

async fn hang_up(endpoint: &quinn::Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        if let Ok(connection) = incoming.await {
            connection.close(77_u32.into(), WORDS.as_bytes());
            drop(tokio::time::timeout(Duration::from_secs(1), connection.closed()).await);
        }
    }
}

#[test]
fn words_of_a_peer_that_hangs_up_neither_steer_the_terminal_nor_forge_a_message() {
    let lab = Lab::new();
    let liar = Liar::start(&lab, "srv-linux-01");
    for words in [
        // A run that its link takes with it: any other is looked for again.
        &["run", "-t", "srv-linux-01", "--tether", "--", "true"][..],
        &["capabilities", "-t", "srv-linux-01"],
        &["agents"],
    ] {
        let command = lab.controller_knowing([("srv-linux-01", liar.address)], words);

        let terminal = Terminal::run(command, Screen::Both);

        let text = terminal.text();
        assert_harmless(&text);
        assert!(!terminal.status.success(), "{text}");
        assert!(
            text.contains("controller: srv-linux-01: finished"),
            "{text}"
        );
        assert!(
            text.lines()
                .all(|line| line != "controller: srv-linux-01: finished"),
            "{text}"
        );
    }
    liar.stop();
}

#[test]
fn log_of_an_agent_stays_one_line_for_each_record_whatever_a_run_carries() {
    let mut lab = Lab::loopback();
    let hostile = "evil\n2026-01-01T00:00:00Z ERROR forged\u{1b}[2J";
    let mut command = lab.controller(["run", "-t", "srv-linux-01", "-e"]);
    command
        .arg(format!("{hostile}=x"))
        .args(["--", hostile, hostile]);
    command.env("USER", hostile);

    let finished = Process::run(command);

    assert_ne!(finished.code(), Some(0));
    assert_harmless(&finished.stderr_text());
    lab.agent(0).process().signal(rustix::process::Signal::TERM);
    eventually(PATIENCE, || !lab.agent(0).process().is_running());
    let log = lab.agent(0).log();
    assert_harmless(&log);
    assert!(
        log.lines()
            .all(|line| !line.contains(" forged") || line.contains("run")),
        "{log}"
    );
    assert!(
        log.lines()
            .all(|line| !line.starts_with("2026-01-01T00:00:00Z")),
        "{log}"
    );
}

#[test]
fn refused_handshake_is_one_line_in_the_log_of_the_agent() {
    let mut lab = Lab::loopback();
    let foreign = scenarios::Mesh::init("foreign");
    let mut command = foreign.controller(["run", "-t", "srv-linux-01", "--", "true"]);
    lab.tell_addresses(&mut command);

    let refused = Process::run(command).expect_code(255);

    assert_harmless(&refused.stderr_text());
    let line = lab
        .agent(0)
        .process()
        .wait_for_line("a link was refused", PATIENCE);
    assert_harmless(&line);
    assert!(line.contains("WARN"), "{line}");
}
