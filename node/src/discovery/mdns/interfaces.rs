//! Which interfaces can multicast.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, UdpSocket},
};

use libp2p::mdns::IPV4_MDNS_MULTICAST_ADDRESS;

use super::ear;

/// Why this machine can neither find nor be found by mDNS.
#[derive(Debug, thiserror::Error)]
pub enum MulticastError {
    /// The operating system does not list its interfaces.
    #[error("list the network interfaces")]
    Interfaces {
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// Another program has the mDNS port for itself.
    #[error(
        "share UDP port 5353 with the other mDNS programs of this machine: stop the one that holds it alone, or give the agent's address"
    )]
    Port {
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// No interface will do.
    #[error(
        "no network interface with an IPv4 address can multicast: connect this machine to the LAN, or give the agent's address"
    )]
    NoInterface,
}

/// Returns the IPv4 addresses of the interfaces on which mDNS can work, loopback excluded.
///
/// Sends nothing.
///
/// # Errors
///
/// There is none, or the mDNS port cannot be used.
pub fn usable_interfaces() -> Result<Vec<Ipv4Addr>, MulticastError> {
    let addresses = addresses().map_err(|source| MulticastError::Interfaces { source })?;
    let socket = ear::bind().map_err(|source| MulticastError::Port { source })?;
    let usable: Vec<_> = addresses
        .into_iter()
        .filter(|ip| {
            // A second address of one interface cannot join again.
            let joined = socket.join_multicast_v4(&IPV4_MDNS_MULTICAST_ADDRESS, ip);
            let _ = socket.leave_multicast_v4(&IPV4_MDNS_MULTICAST_ADDRESS, ip);
            joined.is_ok() && has_route(*ip)
        })
        .collect();

    if usable.is_empty() {
        Err(MulticastError::NoInterface)
    } else {
        Ok(usable)
    }
}

/// Returns the IPv4 addresses of this host, loopback excluded.
pub(super) fn addresses() -> io::Result<Vec<Ipv4Addr>> {
    let interfaces = if_addrs::get_if_addrs()?;
    Ok(interfaces
        .iter()
        .filter_map(|interface| lan_address(interface.ip()))
        .collect())
}

/// Returns `ip` if libp2p-mdns would use it.
pub(super) fn lan_address(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) if !ip.is_loopback() => Some(ip),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// Tells whether a multicast from `ip` finds a way out. Connecting a UDP socket sends nothing.
fn has_route(ip: Ipv4Addr) -> bool {
    UdpSocket::bind((ip, 0))
        .and_then(|socket| socket.connect((IPV4_MDNS_MULTICAST_ADDRESS, ear::MDNS_PORT)))
        .is_ok()
}
