//! TLS 1.2 in QUIC, which QUIC itself forbids (RFC 9001 §4.2): no library offers it, so one packet
//! is made by hand, with the greeting of a TLS 1.2 client in it.

use std::net::UdpSocket;

use rustls::{
    Side,
    crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
    quic::{Keys, Version},
};
use scenarios::Lab;

use super::{assert_says, refused_there};

/// The smallest datagram that a server answers (RFC 9000 §14.1).
const DATAGRAM: usize = 1200;

/// The identifier that the attacker chose for the agent, from which the keys are made.
const CONNECTION_ID: [u8; 8] = *b"tls12try";

#[test]
fn a_tls_1_2_greeting_is_refused() {
    let mut lab = Lab::loopback();
    let address = lab.agent(0).address();

    let logged = refused_there(&mut lab, || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(scenarios::PATIENCE)).unwrap();
        socket.send_to(&initial(&greeting()), address).unwrap();
        let mut answer = [0; 2048];
        let (length, _) = socket.recv_from(&mut answer).unwrap();
        format!("{length} bytes of answer")
    });

    assert_says(&logged, &["the peer does not speak TLS 1.3"]);
}

/// The first message of a client that speaks TLS 1.2 and nothing newer (RFC 5246 §7.4.1.2): all
/// that QUIC asks for is there but the extension that offers TLS 1.3.
fn greeting() -> Vec<u8> {
    let extensions = [
        extension(10, &[0, 2, 0, 23]),            // groups: P-256
        extension(13, &[0, 2, 4, 3]),             // signatures: ECDSA with P-256
        extension(16, b"\x00\x0b\x0amesosync/1"), // the protocol of honest nodes
        extension(57, b"\x0f\x08attacker"),       // QUIC: the identifier of the sender
    ]
    .concat();
    let mut body = vec![3, 3]; // TLS 1.2
    body.extend([7; 32]); // random
    body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]); // no session; ECDHE-ECDSA-AES128-GCM; no compression
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);

    let mut message = vec![1, 0]; // ClientHello
    message.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    message.extend(body);
    message
}

fn extension(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    [&[0, kind, 0, length], content].concat()
}

/// A client's Initial packet (RFC 9000 §17.2.2) that carries `crypto`, protected as RFC 9001 §5 says.
fn initial(crypto: &[u8]) -> Vec<u8> {
    let suite = TLS13_AES_128_GCM_SHA256
        .tls13()
        .unwrap()
        .quic_suite()
        .unwrap();
    let keys: Keys = suite.keys(&CONNECTION_ID, Side::Client, Version::V1);
    let tag = keys.local.packet.tag_len();

    // Long header, Initial, four bytes of packet number; version 1; both identifiers; no token.
    let mut packet = vec![0xc3, 0, 0, 0, 1, 8];
    packet.extend(CONNECTION_ID);
    packet.extend([8]);
    packet.extend(*b"attacker");
    packet.extend([0]);
    let payload = DATAGRAM - packet.len() - 2 - 4 - tag;
    packet.extend(varint(payload + 4 + tag));
    let number = packet.len();
    packet.extend([0, 0, 0, 0]);
    let header = packet.len();

    // One CRYPTO frame at offset 0, then padding.
    let mut frames = vec![0x06, 0];
    frames.extend(varint(crypto.len()));
    frames.extend(crypto);
    frames.resize(payload, 0);
    let sealed = keys
        .local
        .packet
        .encrypt_in_place(0, &packet, &mut frames)
        .unwrap();
    packet.extend(&frames);
    packet.extend(sealed.as_ref());

    let sample = packet[number + 4..][..keys.local.header.sample_len()].to_vec();
    let (first, rest) = packet.split_at_mut(1);
    let number = &mut rest[number - 1..header - 1];
    keys.local
        .header
        .encrypt_in_place(&sample, &mut first[0], number)
        .unwrap();
    packet
}

/// A length in the two-byte form of RFC 9000 §16.
fn varint(length: usize) -> [u8; 2] {
    (u16::try_from(length).unwrap() | 0x4000).to_be_bytes()
}
