//! A UDP proxy between a client and a server, which plays the network and the attacker.
//!
//! It delays, loses, doubles and reorders packets by a seeded generator, cuts the line, keeps
//! what passed, and sends what a test hands it. It never looks into packets, except to search
//! them for bytes that must not be there.
//!
//! Everything is bounded: the flows, the packets under way, and what is kept.

mod engine;
mod record;

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use engine::{Engine, Order};
pub use record::{Packet, Record, Way};
use tokio::sync::mpsc;

/// How the line treats packets; the default is a perfect line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weather {
    /// How long each packet is under way.
    pub delay: Duration,
    /// How many of a thousand packets are lost.
    pub lost_per_mille: u16,
    /// How many of a thousand packets arrive twice.
    pub doubled_per_mille: u16,
    /// How many of a thousand packets take [`detour`](Self::detour) longer, and so arrive late.
    pub reordered_per_mille: u16,
    /// How much longer a reordered packet takes.
    pub detour: Duration,
    /// Whether nothing passes at all.
    pub cut: bool,
}

/// A proxy in front of one server; clients talk to [`Proxy::address`].
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    orders: Option<mpsc::Sender<Order>>,
    engine: Option<JoinHandle<()>>,
}

/// What the test and the engine both hold.
#[derive(Debug, Default)]
struct Shared {
    weather: Mutex<Weather>,
    record: Mutex<Record>,
}

impl Proxy {
    /// Starts a proxy on the loopback in front of `server`; `seed` decides the fate of packets.
    ///
    /// # Panics
    /// When no socket can be had.
    #[must_use]
    #[track_caller]
    pub fn start(server: SocketAddr, seed: u64) -> Self {
        let bound = UdpSocket::bind("127.0.0.1:0").and_then(|socket| {
            socket.set_nonblocking(true)?;
            Ok((socket.local_addr()?, socket))
        });
        let (address, socket) = match bound {
            Ok(bound) => bound,
            Err(error) => panic!("no socket for a proxy: {error}"),
        };

        let shared = Arc::<Shared>::default();
        // A test sends one order at a time; more wait their turn in its own thread.
        let (orders, inbox) = mpsc::channel(16);
        let engine = Engine::new(server, seed, Arc::clone(&shared));
        let engine = thread::spawn(move || engine.run(socket, inbox));
        Self {
            address,
            shared,
            orders: Some(orders),
            engine: Some(engine),
        }
    }

    /// Returns the address for clients.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the weather for packets that come from now on.
    pub fn set_weather(&self, weather: Weather) {
        *lock(&self.shared.weather) = weather;
    }

    /// Cuts the line.
    pub fn cut(&self) {
        lock(&self.shared.weather).cut = true;
    }

    /// Mends the line.
    pub fn mend(&self) {
        lock(&self.shared.weather).cut = false;
    }

    /// Returns a copy of the packets that have come in so far, lost ones included.
    #[must_use]
    pub fn record(&self) -> Record {
        lock(&self.shared.record).clone()
    }

    /// Returns how many packets have come in so far, kept or not.
    #[must_use]
    pub fn packets_seen(&self) -> u64 {
        lock(&self.shared.record).seen()
    }

    /// Sends a kept packet once more, as from where it came, whatever the weather.
    pub fn replay(&self, packet: &Packet) {
        self.inject(packet.way, packet.client, packet.bytes.clone());
    }

    /// Sends `bytes` to the server as from the proxy's `client`, or to that client as from the
    /// server, whatever the weather.
    pub fn inject(&self, way: Way, client: SocketAddr, bytes: Vec<u8>) {
        self.order(Order::Send { way, client, bytes });
    }

    /// Sends `bytes` to the server from an address that it has never seen.
    pub fn inject_from_stranger(&self, bytes: Vec<u8>) {
        self.order(Order::SendFromStranger { bytes });
    }

    /// Gives every flow a new address towards the server, as a NAT that forgot them does.
    pub fn rebind(&self) {
        self.order(Order::Rebind);
    }

    /// Leads to another server from now on, which the flows reach from new addresses.
    pub fn redirect(&self, server: SocketAddr) {
        self.order(Order::Redirect { server });
    }

    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // The engine ends before the sender only by a panic, which `drop` reports.
            let _ = orders.blocking_send(order);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.orders.take());
        let ended = self.engine.take().map(JoinHandle::join);
        if let Some(Err(_)) = ended
            && !thread::panicking()
        {
            panic!("the proxy's engine panicked; see its message above");
        }
    }
}

/// A panic in a test thread must not stop the proxy of another.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
