//! What passed a proxy, kept for searches and replays.

use std::{net::SocketAddr, time::Instant};

/// How much a record keeps: 64 MiB, many times what a scenario that searches it sends.
const KEPT: usize = 64 << 20;

/// The direction of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From a client to the server.
    ToServer,
    /// From the server to a client.
    ToClient,
}

/// A packet as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Where it was going.
    pub way: Way,
    /// The client to whose flow it belongs.
    pub client: SocketAddr,
    /// When it came in.
    pub at: Instant,
    /// What it carries.
    pub bytes: Vec<u8>,
}

/// The packets of a proxy, in the order of their coming.
#[derive(Debug, Clone, Default)]
pub struct Record {
    packets: Vec<Packet>,
    kept_bytes: usize,
    left_out: u64,
}

impl Record {
    /// Returns the packets.
    #[must_use]
    pub fn packets(&self) -> &[Packet] {
        &self.packets
    }

    /// Returns the packets that went `way`.
    pub fn on_way(&self, way: Way) -> impl Iterator<Item = &Packet> {
        self.packets.iter().filter(move |packet| packet.way == way)
    }

    /// Returns whether any packet carries `canary`.
    ///
    /// # Panics
    /// When the record is not complete, for then "no" would mean nothing, and when the canary is
    /// so short that it occurs by chance.
    #[must_use]
    #[track_caller]
    pub fn contains(&self, canary: &[u8]) -> bool {
        assert_eq!(self.left_out, 0, "more packets passed than a record keeps");
        assert!(canary.len() >= 8, "a canary has at least 8 bytes");
        self.packets.iter().any(|packet| {
            packet
                .bytes
                .windows(canary.len())
                .any(|window| window == canary)
        })
    }

    pub(super) fn seen(&self) -> u64 {
        self.packets.len() as u64 + self.left_out
    }

    pub(super) fn keep(&mut self, packet: Packet) {
        if self.kept_bytes + packet.bytes.len() > KEPT {
            self.left_out += 1;
            return;
        }
        self.kept_bytes += packet.bytes.len();
        self.packets.push(packet);
    }
}
