//! A socket that hears what comes to the mDNS port, to notice questions.
//!
//! It serves two ends. When a question came from this very host, the agent's own may be among
//! them, and is [hushed](super::hush). And since it wakes the task that owns the
//! [`Listener`](super::listener::Listener) whenever something is going on, the listener's budget
//! is looked at even while strangers only ask, which libp2p-mdns does not report.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
};

use libp2p::mdns::IPV4_MDNS_MULTICAST_ADDRESS;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::UdpSocket;

/// The port of multicast DNS (RFC 6762 §3).
pub(super) const MDNS_PORT: u16 = 5353;

/// Opens the mDNS port as libp2p-mdns does: together with whoever else has it.
pub(super) fn bind() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(std::net::SocketAddrV4::new(
        Ipv4Addr::UNSPECIFIED,
        MDNS_PORT,
    )))?;
    Ok(socket)
}

/// The listening socket.
#[derive(Debug)]
pub(super) struct Ear {
    socket: UdpSocket,
}

impl Ear {
    /// Opens the port.
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self {
            socket: UdpSocket::from_std(bind()?.into())?,
        })
    }

    /// Listens on the interface whose address is `ip`, too.
    pub(super) fn join(&self, ip: Ipv4Addr) {
        if let Err(error) = self
            .socket
            .join_multicast_v4(IPV4_MDNS_MULTICAST_ADDRESS, ip)
        {
            // The second address of one interface, or one that is gone again.
            tracing::debug!(%error, "did not join the mDNS group");
        }
    }

    /// Waits for a question and returns who asked.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn question(&self) -> IpAddr {
        // Some systems report a datagram that does not fit as an error; it is no question of ours.
        let mut packet = [0; 512];
        loop {
            if let Ok((len, from)) = self.socket.recv_from(&mut packet).await
                && is_question(&packet[..len])
            {
                return from.ip();
            }
        }
    }
}

/// Tells a DNS query from a response (RFC 1035 §4.1.1, the QR bit).
fn is_question(packet: &[u8]) -> bool {
    packet.len() > 12 && packet[2] & 0x80 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_and_fragments_are_no_questions() {
        let query = [&[0; 12][..], b"\x04_p2p"].concat();
        let response = [&[0, 0, 0x84][..], &[0; 20]].concat();

        assert!(is_question(&query));
        assert!(!is_question(&response));
        assert!(!is_question(&query[..12]));
        assert!(!is_question(b""));
    }
}
