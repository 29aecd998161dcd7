//! The answer that an agent gives itself, so that it stops asking.
//!
//! libp2p-mdns asks in growing intervals until a stranger answers. This is a stranger's answer: a
//! valid entry under a random peer id, expired on arrival, sent to the multicast group with a time
//! to live of 0, so that the kernel hands it to the sockets of this host and to no cable.

use std::{
    io,
    net::{Ipv4Addr, UdpSocket},
};

use libp2p::{PeerId, mdns::IPV4_MDNS_MULTICAST_ADDRESS};

use super::ear::MDNS_PORT;

/// Sends the answer on the interface whose address is `ip`.
pub(super) fn hush(ip: Ipv4Addr) -> io::Result<()> {
    let socket = socket2::Socket::from(UdpSocket::bind((ip, 0))?);
    socket.set_multicast_if_v4(&ip)?;
    socket.set_multicast_ttl_v4(0)?;
    socket.set_multicast_loop_v4(true)?;
    let socket = UdpSocket::from(socket);
    socket.send_to(
        &packet(PeerId::random()),
        (IPV4_MDNS_MULTICAST_ADDRESS, MDNS_PORT),
    )?;
    Ok(())
}

/// A DNS response (RFC 1035 §4.1, RFC 6762 §18): one PTR record and the TXT record it points to.
fn packet(peer: PeerId) -> Vec<u8> {
    const SERVICE: &[u8] = b"\x04_p2p\x04_udp\x05local\0";
    const ENTRY: &[u8] = b"\x04hush\0";
    const ENTRY_LEN: u8 = ENTRY.len() as u8;
    const EXPIRED: &[u8] = &[0; 4];
    let text = format!("dnsaddr=/ip4/127.0.0.1/udp/9/quic-v1/p2p/{peer}");
    let text_len = u8::try_from(text.len()).expect("a random peer id has at most 52 letters");

    [
        &[0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 1][..], // authoritative answer, 1 answer, 1 additional
        SERVICE,
        &[0, 12, 0, 1], // PTR, IN
        EXPIRED,
        &[0, ENTRY_LEN],
        ENTRY,
        ENTRY,
        &[0, 16, 0x80, 1], // TXT, IN, the only one of this name
        EXPIRED,
        &[0, text_len + 1, text_len],
        text.as_bytes(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packet_ends_where_its_last_length_says() {
        let packet = packet(PeerId::random());
        let text = packet
            .windows(8)
            .position(|eight| eight == b"dnsaddr=")
            .unwrap();

        assert_eq!(usize::from(packet[text - 1]), packet.len() - text);
        assert_eq!(usize::from(packet[text - 2]), packet.len() - text + 1);
    }
}
