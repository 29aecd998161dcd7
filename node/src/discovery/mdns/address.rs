//! The multiaddr of an announcement: written by agents, read by controllers.
//!
//! `/ip4/IP/udp/PORT/quic-v1/certhash/MESH/certhash/AGENT/p2p/PEER`, where MESH and AGENT are
//! [tags](super::tags). The IP that arrives is the packet's source; libp2p-mdns puts it there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use proto::id::{Fingerprint, NodeName};

use super::tags::Tag;
use crate::discovery::Wanted;

/// Returns what an agent announces on the interface with the address `ip`. libp2p-mdns adds `peer`.
pub(super) fn announced(
    listen: SocketAddr,
    mesh: &Fingerprint,
    name: &NodeName,
    peer: &PeerId,
) -> Multiaddr {
    Multiaddr::from(listen.ip())
        .with(Protocol::Udp(listen.port()))
        .with(Protocol::QuicV1)
        .with(Protocol::Certhash(Tag::of_mesh(mesh, peer).0))
        .with(Protocol::Certhash(Tag::of_agent(mesh, peer, name).0))
}

/// What somebody on the LAN announced, in the form of an agent's announcement.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// Where the agent listens.
    pub(super) addr: SocketAddr,
    of_mesh: Tag,
    of_agent: Tag,
    peer: PeerId,
}

impl Heard {
    /// Reads an announcement. Anything else that a libp2p program announces is `None`.
    pub(super) fn read(announcement: &Multiaddr) -> Option<Self> {
        let mut parts = announcement.iter();
        let read = (
            parts.next()?,
            parts.next()?,
            parts.next()?,
            parts.next()?,
            parts.next()?,
            parts.next()?,
            parts.next(),
        );
        let (
            Protocol::Ip4(ip),
            Protocol::Udp(port),
            Protocol::QuicV1,
            Protocol::Certhash(of_mesh),
            Protocol::Certhash(of_agent),
            Protocol::P2p(peer),
            None,
        ) = read
        else {
            return None;
        };
        let addr = SocketAddr::new(IpAddr::V4(ip), port);

        (is_dialable(ip) && port != 0).then_some(Self {
            addr,
            of_mesh: Tag(of_mesh),
            of_agent: Tag(of_agent),
            peer,
        })
    }

    /// Tells whether this claims to be an agent of `mesh` that is `wanted`.
    pub(super) fn is_wanted(&self, mesh: &Fingerprint, wanted: &Wanted) -> bool {
        self.of_mesh == Tag::of_mesh(mesh, &self.peer)
            && match wanted {
                Wanted::Agent(name) => self.of_agent == Tag::of_agent(mesh, &self.peer, name),
                Wanted::AllAgents => true,
            }
    }
}

/// Tells whether `ip` can be one host of a LAN: a controller dials nothing else on hearsay.
fn is_dialable(ip: Ipv4Addr) -> bool {
    !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || ip.is_broadcast())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_controller_reads_the_address_and_recognises_the_agent() {
        let (mesh, peer) = (mesh(b"ours"), PeerId::random());
        let heard = Heard::read(&announcement("192.0.2.7:4433", &mesh, "srv-linux-01", peer));

        let heard = heard.unwrap();

        assert_eq!(heard.addr, "192.0.2.7:4433".parse().unwrap());
        assert!(heard.is_wanted(&mesh, &Wanted::AllAgents));
        assert!(heard.is_wanted(&mesh, &agent("srv-linux-01")));
    }

    #[test]
    fn agents_of_another_mesh_or_name_are_not_wanted() {
        let (ours, theirs) = (mesh(b"ours"), mesh(b"theirs"));
        let heard = announcement("192.0.2.7:4433", &ours, "srv-linux-01", PeerId::random());

        let heard = Heard::read(&heard).unwrap();

        assert!(!heard.is_wanted(&theirs, &Wanted::AllAgents));
        assert!(!heard.is_wanted(&theirs, &agent("srv-linux-01")));
        assert!(!heard.is_wanted(&ours, &agent("srv-linux-02")));
    }

    #[test]
    fn tags_copied_under_another_peer_id_are_not_wanted() {
        let mesh = mesh(b"ours");
        let mut copied = announcement("192.0.2.7:4433", &mesh, "srv-linux-01", PeerId::random());
        copied.pop();
        let copied = Heard::read(&copied.with(Protocol::P2p(PeerId::random()))).unwrap();

        assert!(!copied.is_wanted(&mesh, &Wanted::AllAgents));
    }

    #[test]
    fn what_no_agent_announces_is_not_read() {
        let peer = "/p2p/12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X";
        let hash = "/certhash/uEiDDq4_xNyDorZBH3TlGazyJdOWSwvo4PUo5YHFMrvDE8g";
        let foreign = [
            String::new(),
            format!("/ip4/192.0.2.7/tcp/4001{peer}"),
            format!("/ip4/192.0.2.7/udp/4001/quic-v1{peer}"),
            format!("/ip4/192.0.2.7/udp/4001/quic-v1{hash}{peer}"),
            format!("/ip4/192.0.2.7/udp/4001/quic-v1{hash}{hash}"),
            format!("/ip4/192.0.2.7/udp/4001/quic-v1{hash}{hash}{peer}/p2p-circuit"),
            format!("/ip4/192.0.2.7/udp/0/quic-v1{hash}{hash}{peer}"),
            format!("/ip4/127.0.0.1/udp/4001/quic-v1{hash}{hash}{peer}"),
            format!("/ip4/0.0.0.0/udp/4001/quic-v1{hash}{hash}{peer}"),
            format!("/ip4/224.0.0.251/udp/4001/quic-v1{hash}{hash}{peer}"),
            format!("/ip4/255.255.255.255/udp/4001/quic-v1{hash}{hash}{peer}"),
            format!("/ip6/2001:db8::7/udp/4001/quic-v1{hash}{hash}{peer}"),
            format!("/dns4/example.org/udp/4001/quic-v1{hash}{hash}{peer}"),
        ];

        for text in foreign {
            assert_eq!(Heard::read(&text.parse().unwrap()), None, "{text}");
        }
    }

    #[test]
    fn the_longest_announcement_fits_into_one_txt_string() {
        let peer = PeerId::random();
        let longest = "n".repeat(63);
        let addr = announcement("255.255.255.254:65535", &mesh(b"ours"), &longest, peer);

        assert!(format!("dnsaddr={addr}").len() <= 255);
    }

    proptest! {
        #[test]
        fn no_announcement_makes_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let Ok(announcement) = Multiaddr::try_from(bytes) else { return Ok(()) };

            if let Some(heard) = Heard::read(&announcement) {
                prop_assert!(!heard.is_wanted(&mesh(b"ours"), &Wanted::AllAgents));
            }
        }

        #[test]
        fn no_order_of_an_announcements_parts_makes_reading_panic(
            picks in prop::collection::vec(0_usize..8, 0..9), ip: [u8; 4], port: u16,
        ) {
            let parts = parts(ip.into(), port);
            let announcement: Multiaddr = picks.iter().map(|pick| parts[*pick].clone()).collect();

            if let Some(heard) = Heard::read(&announcement) {
                prop_assert_eq!(picks, (0..6).collect::<Vec<_>>());
                prop_assert_eq!(heard.addr, SocketAddr::new(IpAddr::V4(ip.into()), port));
            }
        }
    }

    fn parts(ip: Ipv4Addr, port: u16) -> Vec<Protocol<'static>> {
        let peer = PeerId::from_bytes(&[0, 2, 1, 2]).unwrap();
        let mut parts: Vec<_> =
            announcement(&format!("{ip}:{port}"), &mesh(b"ours"), "alpha", peer)
                .iter()
                .map(|part| part.acquire())
                .collect();
        parts.extend([Protocol::Tcp(port), Protocol::P2pCircuit]);
        parts
    }

    fn announcement(listen: &str, mesh: &Fingerprint, name: &str, peer: PeerId) -> Multiaddr {
        announced(listen.parse().unwrap(), mesh, &name.parse().unwrap(), &peer)
            .with(Protocol::P2p(peer))
    }

    fn agent(name: &str) -> Wanted {
        Wanted::Agent(name.parse().unwrap())
    }

    fn mesh(certificate: &[u8]) -> Fingerprint {
        Fingerprint::of_certificate(certificate)
    }
}
