use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustls::{
    AlertDescription, ClientConnection, Error, HandshakeKind, NamedGroup, ProtocolVersion,
    ServerConnection, client::ClientSessionMemoryCache, pki_types::UnixTime,
    server::ServerSessionMemoryCache, time_provider::TimeProvider,
};
use time::OffsetDateTime;

use super::*;
use crate::{
    Addresses, Authority, Existing, Expect, NextCrl, Term, Usage, VerifyError, date,
    forge::{DAY, NOW, authority, identity, node, nothing_revoked},
    peer_id,
};

const ALPN: &[&[u8]] = &[b"mesosync/1"];

/// A clock that stands still.
#[derive(Debug)]
struct Clock(OffsetDateTime);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(date::to_unix(self.0))
    }
}

fn dialler(identity: &Identity) -> ClientConfig {
    let mut config = client_config(identity, nothing_revoked(), ALPN).unwrap();
    config.time_provider = Arc::new(Clock(NOW));
    config
}

fn acceptor(identity: &Identity, accepts: &[Role]) -> ServerConfig {
    let mut config = server_config(identity, accepts, nothing_revoked(), ALPN).unwrap();
    config.time_provider = Arc::new(Clock(NOW));
    config
}

/// Both ends of a connection in memory, and what became of each.
struct Meeting {
    client: ClientConnection,
    server: ServerConnection,
    client_end: Result<(), Error>,
    server_end: Result<(), Error>,
}

fn meet(client: &ClientConfig, server: &ServerConfig, expect: &Expect) -> Meeting {
    meet_as(client, server, &expect.server_name())
}

fn meet_as(client: &ClientConfig, server: &ServerConfig, name: &str) -> Meeting {
    let name = name.to_owned().try_into().unwrap();
    let mut meeting = Meeting {
        client: ClientConnection::new(Arc::new(client.clone()), name).unwrap(),
        server: ServerConnection::new(Arc::new(server.clone())).unwrap(),
        client_end: Ok(()),
        server_end: Ok(()),
    };
    while meeting.client.wants_write() || meeting.server.wants_write() {
        let to_server = written(&mut meeting.client);
        let heard = hear(&mut meeting.server, &to_server);
        meeting.server_end = meeting.server_end.and(heard);
        let to_client = written(&mut meeting.server);
        let heard = hear(&mut meeting.client, &to_client);
        meeting.client_end = meeting.client_end.and(heard);
    }
    meeting
}

fn written<D, C: std::ops::DerefMut<Target = rustls::ConnectionCommon<D>>>(end: &mut C) -> Vec<u8> {
    let mut bytes = Vec::new();
    while end.wants_write() {
        end.write_tls(&mut bytes).unwrap();
    }
    bytes
}

fn hear<D, C>(end: &mut C, mut bytes: &[u8]) -> Result<(), Error>
where
    C: std::ops::DerefMut<Target = rustls::ConnectionCommon<D>>,
    D: rustls::SideData,
{
    while !bytes.is_empty() {
        end.read_tls(&mut bytes).unwrap();
        end.process_new_packets()?;
    }
    Ok(())
}

impl Meeting {
    fn refused_by_client(&self) -> VerifyError {
        let error = self.client_end.as_ref().unwrap_err();
        VerifyError::from_tls(error).unwrap_or_else(|| panic!("{error}"))
    }

    fn refused_by_server(&self) -> VerifyError {
        let error = self.server_end.as_ref().unwrap_err();
        VerifyError::from_tls(error).unwrap_or_else(|| panic!("{error}"))
    }
}

/// A mesh of three, and the configurations of a controller and an agent in it.
struct Mesh {
    authority: Authority,
    agent: Identity,
    controller: Identity,
    rendezvous: Identity,
}

impl Mesh {
    fn new() -> Self {
        let authority = authority();
        Self {
            agent: identity(&authority, "agent/a"),
            controller: identity(&authority, "controller/c"),
            rendezvous: identity(&authority, "rendezvous/r"),
            authority,
        }
    }
}

fn agent_a() -> Expect {
    Expect::Node(node("agent/a"))
}

#[test]
fn a_controller_and_an_agent_of_one_mesh_know_each_other_after_the_handshake() {
    let mesh = Mesh::new();

    let meeting = meet(
        &dialler(&mesh.controller),
        &acceptor(&mesh.agent, &[Role::Controller]),
        &agent_a(),
    );

    assert_eq!(
        (&meeting.client_end, &meeting.server_end),
        (&Ok(()), &Ok(()))
    );
    let seen_by_client = meeting.client.peer_certificates().unwrap();
    let seen_by_server = meeting.server.peer_certificates().unwrap();
    assert_eq!(peer_id(seen_by_client), Ok(node("agent/a")));
    assert_eq!(peer_id(seen_by_server), Ok(node("controller/c")));
    assert_eq!(meeting.server.alpn_protocol(), Some(ALPN[0]));
}

#[test]
fn a_handshake_is_tls_1_3_with_a_post_quantum_key_exchange() {
    let mesh = Mesh::new();

    let meeting = meet(
        &dialler(&mesh.controller),
        &acceptor(&mesh.agent, &[Role::Controller]),
        &agent_a(),
    );

    let group = meeting.client.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), NamedGroup::X25519MLKEM768);
    assert_eq!(
        meeting.client.protocol_version(),
        Some(ProtocolVersion::TLSv1_3)
    );
}

#[test]
fn any_node_of_a_role_can_be_asked_for() {
    let mesh = Mesh::new();
    let server = acceptor(&mesh.rendezvous, &[Role::Agent, Role::Controller]);

    for client in [&mesh.agent, &mesh.controller] {
        let meeting = meet(&dialler(client), &server, &Expect::AnyOf(Role::Rendezvous));
        assert_eq!(
            (&meeting.client_end, &meeting.server_end),
            (&Ok(()), &Ok(()))
        );
    }
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let mesh = Mesh::new();
    let verifier = ServerVerifier::new(mesh.controller.trust(), nothing_revoked());
    let mut client = tls13(ClientConfig::builder_with_provider)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    client.alpn_protocols = owned(ALPN);
    client.time_provider = Arc::new(Clock(NOW));

    let meeting = meet(
        &client,
        &acceptor(&mesh.agent, &[Role::Controller]),
        &agent_a(),
    );

    assert_eq!(meeting.server_end, Err(Error::NoCertificatesPresented));
}

#[test]
fn an_agent_is_refused_where_only_controllers_are_taken() {
    let mesh = Mesh::new();
    let other = identity(&mesh.authority, "agent/b");

    let meeting = meet(
        &dialler(&other),
        &acceptor(&mesh.agent, &[Role::Controller]),
        &agent_a(),
    );

    assert_eq!(
        meeting.refused_by_server(),
        VerifyError::WrongRole {
            accepted: vec![Role::Controller],
            presented: node("agent/b"),
        }
    );
    assert_eq!(
        meeting.client_end,
        Err(Error::AlertReceived(AlertDescription::CertificateUnknown))
    );
}

#[test]
fn a_rendezvous_can_pose_neither_as_an_agent_nor_as_a_controller() {
    let mesh = Mesh::new();

    let as_agent = meet(
        &dialler(&mesh.controller),
        &acceptor(&mesh.rendezvous, &[Role::Controller]),
        &agent_a(),
    );
    let as_controller = meet(
        &dialler(&mesh.rendezvous),
        &acceptor(&mesh.agent, &[Role::Controller]),
        &agent_a(),
    );

    let presented = node("rendezvous/r");
    assert_eq!(
        as_agent.refused_by_client(),
        VerifyError::WrongRole {
            accepted: vec![Role::Agent],
            presented: presented.clone(),
        }
    );
    assert_eq!(
        as_controller.refused_by_server(),
        VerifyError::WrongRole {
            accepted: vec![Role::Controller],
            presented,
        }
    );
}

#[test]
fn an_agent_of_another_name_is_refused() {
    let mesh = Mesh::new();
    let other = identity(&mesh.authority, "agent/b");

    let meeting = meet(
        &dialler(&mesh.controller),
        &acceptor(&other, &[Role::Controller]),
        &agent_a(),
    );

    assert_eq!(
        meeting.refused_by_client(),
        VerifyError::WrongName {
            expected: node("agent/a"),
            presented: node("agent/b"),
        }
    );
    assert_eq!(
        meeting.server_end,
        Err(Error::AlertReceived(AlertDescription::BadCertificate))
    );
}

#[test]
fn a_controller_cannot_be_dialled() {
    let mesh = Mesh::new();

    let meeting = meet(
        &dialler(&mesh.agent),
        &acceptor(&mesh.controller, &[Role::Agent]),
        &Expect::AnyOf(Role::Controller),
    );

    assert_eq!(
        meeting.refused_by_client(),
        VerifyError::WrongUsage(Usage::Server)
    );
}

#[test]
fn nodes_of_another_mesh_are_refused_at_both_ends() {
    let (ours, theirs) = (Mesh::new(), Mesh::new());

    let dialled = meet(
        &dialler(&ours.controller),
        &acceptor(&theirs.agent, &[Role::Controller]),
        &agent_a(),
    );
    assert_eq!(dialled.refused_by_client(), VerifyError::ForeignAuthority);
    assert_eq!(
        dialled.server_end,
        Err(Error::AlertReceived(AlertDescription::UnknownCA))
    );

    // A client that would take any server shows that the server does not take any client.
    let mut careless = dialler(&theirs.controller);
    let verifier = ServerVerifier::new(ours.controller.trust(), nothing_revoked());
    careless
        .dangerous()
        .set_certificate_verifier(Arc::new(verifier));
    let dialling = meet(
        &careless,
        &acceptor(&ours.agent, &[Role::Controller]),
        &agent_a(),
    );
    assert_eq!(dialling.refused_by_server(), VerifyError::ForeignAuthority);
}

#[test]
fn an_expired_node_is_refused_and_told_so() {
    let mesh = Mesh::new();
    let late = NOW + 91 * DAY;
    let mut client = dialler(&mesh.controller);
    client.time_provider = Arc::new(Clock(late));

    let meeting = meet(
        &client,
        &acceptor(&mesh.agent, &[Role::Controller]),
        &agent_a(),
    );

    let not_after = NOW + 90 * DAY;
    assert_eq!(
        meeting.refused_by_client(),
        VerifyError::Expired {
            not_after,
            now: late
        }
    );
    assert_eq!(
        meeting.server_end,
        Err(Error::AlertReceived(AlertDescription::CertificateExpired))
    );
}

#[test]
fn a_host_whose_clock_is_behind_learns_so() {
    let mesh = Mesh::new();
    let behind = NOW - DAY / 2;
    let mut server = acceptor(&mesh.agent, &[Role::Controller]);
    server.time_provider = Arc::new(Clock(behind));

    let meeting = meet(&dialler(&mesh.controller), &server, &agent_a());

    assert_eq!(
        meeting.refused_by_server(),
        VerifyError::NotValidYet {
            not_before: mesh.controller.not_before(),
            now: behind,
        }
    );
}

#[test]
fn a_new_revocation_list_takes_effect_on_configurations_in_use() {
    let mesh = Mesh::new();
    let revocation = nothing_revoked();
    let mut server =
        server_config(&mesh.agent, &[Role::Controller], revocation.clone(), ALPN).unwrap();
    server.time_provider = Arc::new(Clock(NOW));
    let client = dialler(&mesh.controller);
    assert_eq!(meet(&client, &server, &agent_a()).server_end, Ok(()));

    let revoked = NextCrl {
        number: 1,
        this_update: NOW,
        next_update: NOW + DAY,
        revoked: [(mesh.controller.serial().clone(), NOW)].into(),
    };
    revocation
        .replace(mesh.authority.sign_crl(&revoked).unwrap())
        .unwrap();

    let meeting = meet(&client, &server, &agent_a());
    assert_eq!(meeting.refused_by_server(), VerifyError::Revoked);
    assert_eq!(
        meeting.client_end,
        Err(Error::AlertReceived(AlertDescription::CertificateRevoked))
    );
}

#[test]
fn another_protocol_version_is_refused() {
    let mesh = Mesh::new();
    let mut client = dialler(&mesh.controller);
    client.alpn_protocols = vec![b"mesosync/2".to_vec()];

    let meeting = meet(
        &client,
        &acceptor(&mesh.agent, &[Role::Controller]),
        &agent_a(),
    );

    assert_eq!(meeting.server_end, Err(Error::NoApplicationProtocol));
}

#[test]
fn a_dial_without_an_expectation_is_refused() {
    let mesh = Mesh::new();
    let server = acceptor(&mesh.agent, &[Role::Controller]);

    for name in ["localhost", "192.0.2.7", "a.agent.example"] {
        let meeting = meet_as(&dialler(&mesh.controller), &server, name);
        assert_eq!(meeting.refused_by_client(), VerifyError::ServerName);
    }
}

#[test]
fn the_name_that_is_dialled_is_not_on_the_wire() {
    let mesh = Mesh::new();
    let name = agent_a().server_name();
    let config = Arc::new(dialler(&mesh.controller));
    let mut client = ClientConnection::new(config, name.clone().try_into().unwrap()).unwrap();

    let hello = written(&mut client);

    let holds = |text: &[u8]| hello.windows(text.len()).any(|part| part == text);
    assert!(holds(ALPN[0]), "not a ClientHello");
    assert!(!holds(name.as_bytes()) && !holds(b"internal"));
}

#[test]
fn a_second_handshake_is_a_full_one_again() {
    let mesh = Mesh::new();
    let client = dialler(&mesh.controller);
    let server = acceptor(&mesh.agent, &[Role::Controller]);
    let mut eager_client = client.clone();
    eager_client.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(8)));
    let mut eager_server = server.clone();
    eager_server.session_storage = ServerSessionMemoryCache::new(8);
    eager_server.send_tls13_tickets = 2;

    // Both eager: the test itself can tell a resumed session from a full one.
    meet(&eager_client, &eager_server, &agent_a());
    let resumed = meet(&eager_client, &eager_server, &agent_a());
    assert_eq!(
        resumed.client.handshake_kind(),
        Some(HandshakeKind::Resumed)
    );

    eager_client.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(8)));
    for (client, server) in [(&eager_client, &server), (&client, &eager_server)] {
        for _ in 0..2 {
            let meeting = meet(client, server, &agent_a());
            assert_eq!(meeting.client.handshake_kind(), Some(HandshakeKind::Full));
            assert_eq!(meeting.server.handshake_kind(), Some(HandshakeKind::Full));
        }
    }
}

#[test]
fn no_ticket_is_sent_and_no_early_data_taken() {
    let mesh = Mesh::new();
    let client = dialler(&mesh.controller);
    let server = acceptor(&mesh.agent, &[Role::Controller]);

    let mut meeting = meet(&client, &server, &agent_a());

    assert_eq!(meeting.client.tls13_tickets_received(), 0);
    assert!(meeting.client.early_data().is_none());
    assert!(meeting.server.early_data().is_none());
    assert_eq!(
        (server.send_tls13_tickets, server.max_early_data_size),
        (0, 0)
    );
    assert!(!client.enable_early_data && !server.ticketer.enabled());
}

/// Accepts the one connection that is on its way, or fails the test after a while.
fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match listener.accept() {
            Ok((tcp, _)) => {
                tcp.set_nonblocking(false).unwrap();
                return tcp;
            }
            Err(error) => assert!(
                Instant::now() < deadline,
                "openssl did not connect: {error}"
            ),
        }
        std::thread::yield_now();
    }
}

/// Serves one TCP connection on the loopback interface to the real `openssl s_client`, and returns
/// how the server saw it end, and what `openssl` printed.
fn serve_openssl(words: &[&str]) -> (Result<Vec<u8>, String>, String) {
    let home = tempfile::tempdir().unwrap();
    let now = OffsetDateTime::now_utc();
    let authority = Authority::create(&"home".parse().unwrap(), now).unwrap();
    let issue = |text| {
        authority
            .issue_identity(node(text), Addresses::new(), Term::starting(now))
            .unwrap()
    };
    let file = home.path().join("c.identity");
    issue("controller/c").save(&file, Existing::Refuse).unwrap();
    fs_err::write(home.path().join("ca.pem"), authority.certificate_pem()).unwrap();
    let config = server_config(
        &issue("agent/a"),
        &[Role::Controller],
        nothing_revoked(),
        ALPN,
    )
    .unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut openssl = Command::new("openssl")
        .args(["s_client", "-connect", &address, "-CAfile", "ca.pem"])
        .args(["-alpn", "mesosync/1", "-ign_eof"])
        .args(words)
        .current_dir(home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(b"hello").unwrap();

    let mut tcp = accept(&listener);
    tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut tls = ServerConnection::new(Arc::new(config)).unwrap();
    let mut heard = [0; 5];
    let result = rustls::Stream::new(&mut tls, &mut tcp)
        .read_exact(&mut heard)
        .map(|()| heard.to_vec())
        .map_err(|error| error.to_string());
    tls.send_close_notify();
    let _ = tls.write_tls(&mut tcp);
    drop(tcp);
    let printed = openssl.wait_with_output().unwrap();
    let printed = [printed.stdout, printed.stderr].concat();
    (result, String::from_utf8_lossy(&printed).into_owned())
}

#[test]
fn openssl_with_an_identity_file_is_served() {
    let identity = [
        "-cert",
        "c.identity",
        "-key",
        "c.identity",
        "-cert_chain",
        "ca.pem",
    ];

    let (heard, printed) = serve_openssl(&identity);

    assert_eq!(heard, Ok(b"hello".to_vec()), "{printed}");
    assert!(printed.contains("Verify return code: 0 (ok)"), "{printed}");
}

#[test]
fn a_tls_1_2_client_is_refused() {
    let words = ["-tls1_2", "-cert", "c.identity", "-key", "c.identity"];

    let (heard, printed) = serve_openssl(&words);

    assert!(heard.is_err());
    assert!(printed.contains("alert protocol version"), "{printed}");
}
