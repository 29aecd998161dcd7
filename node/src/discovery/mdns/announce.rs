//! The agent's side: answers who asks, on every interface, and is silent otherwise.
//!
//! **Invariant:** only addresses at which the agent listens are announced: one per interface, each
//! on its own interface only, and none that is gone.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use if_watch::{IfEvent, tokio::IfWatcher};
use libp2p::{Multiaddr, PeerId, futures::StreamExt as _};
use proto::id::{Fingerprint, NodeName};
use tokio_util::sync::CancellationToken;

use super::{
    address,
    ear::{self, Ear},
    generation::{self, WorkClock, Worker},
    hush::hush,
    interfaces::{self, MulticastError},
    listener::{Listener, Unfit},
};

/// The pause after a first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause, to which up to as much again is added at random.
///
/// Each new start is a question that all agents of the LAN answer, and all of them hear. Under a
/// flood all of them start anew: every 30 s, two hundred agents cause each other 1,300 answers a
/// second, just within the budget.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// What an agent tells the controllers of its mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The mesh that may recognise the agent.
    pub mesh: Fingerprint,
    /// The agent's name.
    pub name: NodeName,
    /// Where the agent listens. An unspecified IP stands for that of every interface.
    pub listen: SocketAddr,
}

/// Why an agent cannot announce itself.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    /// Nobody on the LAN could reach the address.
    #[error(
        "{listen} cannot be announced: listen on 0.0.0.0 or on an IPv4 address of the LAN, or switch mDNS off"
    )]
    NotOnLan {
        /// Where the agent listens.
        listen: SocketAddr,
    },
    /// The mDNS port is taken.
    #[error("announce the agent by mDNS")]
    Multicast {
        /// What is missing.
        #[source]
        source: MulticastError,
    },
    /// The operating system refused a thread.
    #[error("start the mDNS thread")]
    Start {
        /// What it said.
        #[source]
        source: io::Error,
    },
}

/// Answers for the agent until it is dropped. Then its thread has ended and its sockets are closed.
#[derive(Debug)]
pub struct Announcer {
    _worker: Worker,
}

impl Announcer {
    /// Starts a thread that answers who asks for agents.
    ///
    /// A machine without a network is no error: interfaces are followed as they come and go.
    ///
    /// # Errors
    ///
    /// The announcement would be useless, or the mDNS port or a thread is refused.
    pub fn spawn(announcement: Announcement) -> Result<Self, AnnounceError> {
        let listen = announcement.listen;
        if !is_announceable(listen.ip()) {
            return Err(AnnounceError::NotOnLan { listen });
        }
        ear::bind().map_err(|source| {
            let source = MulticastError::Port { source };
            AnnounceError::Multicast { source }
        })?;
        let worker = Worker::spawn("mdns", move |stop| keep_announcing(&announcement, &stop))
            .map_err(|source| AnnounceError::Start { source })?;

        Ok(Self { _worker: worker })
    }
}

fn is_announceable(ip: IpAddr) -> bool {
    ip.is_unspecified() || interfaces::lan_address(ip).is_some()
}

/// Announces in generations until told to stop: after a failure, with a new peer id.
fn keep_announcing(announcement: &Announcement, stop: &CancellationToken) {
    let mut pause = FIRST_PAUSE;
    loop {
        let started = Instant::now();
        let ended = generation::live(|clock| serve(announcement, clock, stop));
        let error = match ended.unwrap_or_else(|source| Err(ServeError::Runtime { source })) {
            Ok(()) => return,
            Err(error) => error,
        };

        if started.elapsed() > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        tracing::warn!(
            ?pause,
            error = &error as &dyn std::error::Error,
            "mDNS rests"
        );
        match generation::sleep(pause + jitter(pause), stop) {
            Ok(true) => {}
            Ok(false) => return,
            Err(_) => std::thread::sleep(pause), // not even a runtime: then a slower stop, too
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Returns up to `most`, at random, so that a flooded LAN's agents do not come back all at once.
fn jitter(most: Duration) -> Duration {
    let [.., random] = PeerId::random().to_bytes()[..] else {
        return Duration::ZERO;
    };
    most * u32::from(random) / u32::from(u8::MAX)
}

/// Why a generation of the announcer ended.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("start a runtime")]
    Runtime { source: io::Error },
    #[error("watch the network interfaces")]
    Interfaces { source: io::Error },
    #[error("share UDP port 5353")]
    Port { source: io::Error },
    #[error("listen")]
    Unfit { source: Unfit },
}

/// Answers until told to stop.
async fn serve(
    announcement: &Announcement,
    clock: Arc<WorkClock>,
    stop: &CancellationToken,
) -> Result<(), ServeError> {
    let watch = |source| ServeError::Interfaces { source };
    let mut watcher = IfWatcher::new().map_err(watch)?;
    let mut lan = Lan::open(announcement, clock)?;
    for ip in interfaces::addresses().map_err(watch)? {
        lan.on_up(ip);
    }

    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            heard = lan.listener.heard() => drop(heard.map_err(|source| ServeError::Unfit { source })?),
            from = lan.ear.question() => lan.on_question(from),
            Some(change) = watcher.next() => lan.on_change(change.map_err(watch)?),
        }
    }
    lan.withdraw_all();
    Ok(())
}

/// The interfaces, and what is announced on each.
struct Lan<'a> {
    announcement: &'a Announcement,
    peer: PeerId,
    listener: Listener,
    ear: Ear,
    addresses: BTreeSet<Ipv4Addr>,
}

impl<'a> Lan<'a> {
    fn open(announcement: &'a Announcement, clock: Arc<WorkClock>) -> Result<Self, ServeError> {
        let peer = PeerId::random();
        let listener =
            Listener::open(peer, clock).map_err(|source| ServeError::Interfaces { source })?;
        let ear = Ear::open().map_err(|source| ServeError::Port { source })?;

        Ok(Self {
            announcement,
            peer,
            listener,
            ear,
            addresses: BTreeSet::new(),
        })
    }

    fn on_change(&mut self, change: IfEvent) {
        let (IfEvent::Up(net) | IfEvent::Down(net)) = change;
        let Some(ip) = interfaces::lan_address(net.addr()) else {
            return;
        };
        match change {
            IfEvent::Up(_) => self.on_up(ip),
            IfEvent::Down(_) => self.on_down(ip),
        }
    }

    fn on_up(&mut self, ip: Ipv4Addr) {
        if !self.addresses.insert(ip) {
            return;
        }
        self.ear.join(ip);
        self.listener.expect_interfaces(self.addresses.len());
        if let Some(announced) = self.announced(ip) {
            tracing::debug!(%ip, "announced by mDNS");
            self.listener.announce(&announced);
        }
    }

    fn on_down(&mut self, ip: Ipv4Addr) {
        if !self.addresses.remove(&ip) {
            return;
        }
        self.listener.expect_interfaces(self.addresses.len());
        if let Some(announced) = self.announced(ip) {
            tracing::debug!(%ip, "no longer announced by mDNS");
            self.listener.withdraw(&announced);
        }
    }

    /// Stops our own asking, if that is what was heard.
    fn on_question(&self, from: IpAddr) {
        let Some(ip) = interfaces::lan_address(from).filter(|ip| self.addresses.contains(ip))
        else {
            return; // a stranger's: libp2p-mdns answers
        };
        if let Err(error) = hush(ip) {
            tracing::debug!(%ip, %error, "did not answer our own question");
        }
    }

    fn announced(&self, ip: Ipv4Addr) -> Option<Multiaddr> {
        let Announcement { mesh, name, listen } = self.announcement;
        let ip = IpAddr::V4(ip);
        let listens = listen.ip().is_unspecified() || listen.ip() == ip;

        listens
            .then(|| address::announced(SocketAddr::new(ip, listen.port()), mesh, name, &self.peer))
    }

    fn withdraw_all(&mut self) {
        for ip in self.addresses.clone() {
            self.on_down(ip);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_nobody_on_the_lan_can_reach_is_refused() {
        for listen in ["127.0.0.1:4433", "[::1]:4433", "[2001:db8::1]:4433"] {
            let refused = Announcer::spawn(announcement(listen)).unwrap_err();

            assert!(
                matches!(refused, AnnounceError::NotOnLan { .. }),
                "{listen}: {refused}"
            );
        }
    }

    #[test]
    fn every_address_of_the_host_is_announceable() {
        for ip in ["0.0.0.0", "::", "192.0.2.7"] {
            assert!(is_announceable(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn jitter_stays_within_its_bound() {
        for _ in 0..1_000 {
            assert!(jitter(LONGEST_PAUSE) <= LONGEST_PAUSE);
        }
    }

    fn announcement(listen: &str) -> Announcement {
        Announcement {
            mesh: Fingerprint::of_certificate(b"ours"),
            name: "srv-linux-01".parse().unwrap(),
            listen: listen.parse().unwrap(),
        }
    }
}
