//! How large a packet may be on the way to a peer, as far as this host knows.
//!
//! quinn finds out what a path really carries by probing (RFC 8899), between 1,200 bytes and an upper
//! bound that is 1,452 unless somebody knows better: the Internet carries no more. A link whose own
//! interface carries jumbo frames, or the loopback, does. The bound comes from the route to the peer,
//! so that nothing is probed in vain where the interface is an ordinary one.
//!
//! Larger is better, up to a cliff: quinn hands ten packets at a time to the kernel, which takes no more
//! than 65,507 bytes at once (UDP's longest datagram, also where it cuts it into segments) and loses
//! what is longer (`EMSGSIZE`, which quinn-udp 0.5 takes for a probe of the path). Seconds for 1 GiB of
//! a run's output on the loopback of a two-core machine, by the bound: 1,452 bytes 1.41, 4,000 bytes
//! 0.96, 8,952 bytes, which is beyond the cliff, 1.86; and in a later measurement 4,000 bytes 1.29,
//! 6,400 bytes 1.19.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// quinn's own bound: what an IPv6 packet on Ethernet carries.
pub(super) const ORDINARY: u16 = 1452;

/// The most that is ever tried: ten of them are one call.
pub(super) const LARGEST: u16 = 6500;

/// Packets that quinn 0.11 hands to the kernel in one call (`MAX_TRANSMIT_SEGMENTS`).
const PACKETS_OF_A_CALL: u32 = 10;

/// Bytes of all of them together, at most.
const BYTES_OF_A_CALL: u32 = 65_507;

const _: () = assert!(LARGEST as u32 * PACKETS_OF_A_CALL <= BYTES_OF_A_CALL);

/// Bytes of the headers of IP and UDP.
const IPV4_HEADERS: u32 = 28;
const IPV6_HEADERS: u32 = 48;

/// Returns how many bytes of UDP payload the route to `peer` may carry.
pub(super) fn largest_payload(peer: SocketAddr) -> u16 {
    let known = route_mtu(SocketAddr::new(peer.ip().to_canonical(), peer.port()));
    let known = known.and_then(|bytes| u16::try_from(bytes.min(LARGEST.into())).ok());
    known.unwrap_or(ORDINARY).clamp(ORDINARY, LARGEST)
}

#[cfg(target_os = "linux")]
fn route_mtu(peer: SocketAddr) -> Option<u32> {
    use rustix::net::sockopt::{ip_mtu, ipv6_mtu};

    // Connecting a UDP socket sends nothing; it only looks the route up.
    let connected = |any: SocketAddr| {
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(peer).ok()?;
        Some(socket)
    };
    match peer {
        SocketAddr::V4(_) => {
            let socket = connected((Ipv4Addr::UNSPECIFIED, 0).into())?;
            ip_mtu(&socket).ok()?.checked_sub(IPV4_HEADERS)
        }
        SocketAddr::V6(_) => {
            let socket = connected((Ipv6Addr::UNSPECIFIED, 0).into())?;
            ipv6_mtu(&socket).ok()?.checked_sub(IPV6_HEADERS)
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn route_mtu(_peer: SocketAddr) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_loopback_carries_the_largest_packets() {
        assert_eq!(largest_payload(([127, 0, 0, 1], 9).into()), LARGEST);
    }

    #[test]
    fn where_the_route_is_not_known_the_bound_is_the_ordinary_one() {
        // Linux refuses to connect to the broadcast address without being asked to.
        assert_eq!(largest_payload(([255, 255, 255, 255], 9).into()), ORDINARY);
    }
}
