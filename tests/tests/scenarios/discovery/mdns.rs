//! Packets of multicast DNS, as an attacker writes them (RFC 6762 §18).

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
};

use socket2::{Domain, Protocol, Socket, Type};

/// Where everybody on a LAN listens.
const GROUP: (Ipv4Addr, u16) = (Ipv4Addr::new(224, 0, 0, 251), 5353);

/// The service that every libp2p program announces.
const SERVICE: &[u8] = b"\x04_p2p\x04_udp\x05local\0";

/// Some peer of libp2p.
pub(super) const PEER: &str = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X";

/// The two sizes of an mDNS packet that must not occur: beyond RFC 6762 §17, and beyond a datagram.
pub(super) const OVERSIZED: [usize; 2] = [9_001, 65_000];

/// A place in the group, at the interface with the address `ip`.
pub(super) struct Group(UdpSocket);

impl Group {
    pub(super) fn join(ip: Ipv4Addr) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, GROUP.1)).into())?;
        socket.join_multicast_v4(&GROUP.0, &ip)?;
        socket.set_multicast_if_v4(&ip)?;
        socket.set_multicast_loop_v4(false)?;
        Ok(Self(socket.into()))
    }

    pub(super) fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.0.send_to(packet, GROUP).map(drop)
    }

    pub(super) fn receive(&self) -> io::Result<Vec<u8>> {
        let mut packet = vec![0; 1 << 16];
        let (length, _) = self.0.recv_from(&mut packet)?;
        packet.truncate(length);
        Ok(packet)
    }
}

/// Tells whether `packet` asks, and does not answer.
pub(super) fn is_question(packet: &[u8]) -> bool {
    packet.get(2).is_some_and(|flags| flags & 0x80 == 0)
}

/// The question which libp2p programs there are.
pub(super) fn question() -> Vec<u8> {
    [
        &[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..],
        SERVICE,
        &[0, 12, 0, 1],
    ]
    .concat()
}

/// An answer with one entry that names these addresses.
pub(super) fn answer(addresses: &[String]) -> Vec<u8> {
    const ENTRY: &[u8] = b"\x08attacker\0";
    let ttl = 120_u32.to_be_bytes();
    let count = u16::try_from(addresses.len()).unwrap().to_be_bytes();
    let mut packet = vec![0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0];
    packet.extend(count);
    packet.extend(SERVICE);
    packet.extend([0, 12, 0, 1]);
    packet.extend(ttl);
    packet.extend([0, 10]);
    packet.extend(ENTRY);
    for address in addresses {
        let text = format!("dnsaddr={address}");
        let length = u8::try_from(text.len()).unwrap();
        packet.extend(ENTRY);
        packet.extend([0, 16, 0x80, 1]);
        packet.extend(ttl);
        packet.extend([0, length + 1, length]);
        packet.extend(text.as_bytes());
    }
    packet
}

/// `packet`, an answer, with `port` in place of each port that it names, if that is as long.
pub(super) fn with_port(packet: &[u8], port: u16) -> Vec<u8> {
    const BEFORE: &[u8] = b"/udp/";
    let port = port.to_string();
    let mut changed = packet.to_vec();
    let starts = (0..packet.len()).filter(|at| packet[*at..].starts_with(BEFORE));
    for start in starts.map(|at| at + BEFORE.len()) {
        let digits = packet[start..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit());
        if digits.count() == port.len() {
            changed[start..start + port.len()].copy_from_slice(port.as_bytes());
        }
    }
    changed
}
