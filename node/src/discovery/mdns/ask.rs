//! The controller's side: asks, and passes on who answers.
//!
//! A question may get lost, so it is asked again in growing intervals, each time by a new
//! [generation](super::generation) that starts by asking.

use std::{
    collections::{HashSet, VecDeque},
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use libp2p::{
    Multiaddr, PeerId,
    futures::future::{BoxFuture, FutureExt as _},
};
use proto::id::Fingerprint;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    address::Heard,
    generation::{self, WorkClock, Worker},
    interfaces::usable_interfaces,
    listener::{Listener, Unfit},
};
use crate::discovery::{Candidate, Discovery, LookUpError, Mechanism, Wanted};

/// How many addresses one look-up for all agents yields at most.
pub const MAX_CANDIDATES: usize = 1024;

/// How many addresses one look-up for one agent yields at most: some for each of its interfaces.
pub const MAX_CANDIDATES_OF_ONE: usize = 16;

/// How many of them may be on one host, so that one neighbour who repeats announcements with other
/// ports does not use up the whole number. Whoever announces is at the address that is noted: the
/// packet's source.
const MAX_OF_ONE_HOST: usize = MAX_CANDIDATES_OF_ONE / 4;

/// The same for a look-up for all agents: half of what a controller dials at once.
const MAX_OF_ALL_ON_ONE_HOST: usize = 32;

/// How long to listen until the first repetition. An agent on a LAN answers within 5 ms.
const FIRST_WINDOW: Duration = Duration::from_millis(150);

/// The longest time between two questions; it doubles until then.
const LONGEST_WINDOW: Duration = Duration::from_secs(10);

/// Finds the agents of one mesh on the LAN.
#[derive(Debug, Clone)]
pub struct Mdns {
    mesh: Fingerprint,
}

impl Mdns {
    /// Makes the mechanism that recognises agents of `mesh`.
    #[must_use]
    pub fn new(mesh: Fingerprint) -> Self {
        Self { mesh }
    }
}

impl Discovery for Mdns {
    fn mechanism(&self) -> Mechanism {
        Mechanism::Mdns
    }

    /// Yields each address once, and ends early when it has yielded [`MAX_CANDIDATES`] or, for one
    /// agent, [`MAX_CANDIDATES_OF_ONE`].
    fn look_up<'a>(
        &'a self,
        wanted: &'a Wanted,
        found: mpsc::Sender<Candidate>,
    ) -> BoxFuture<'a, Result<(), LookUpError>> {
        async move {
            usable_interfaces().map_err(|source| LookUpError::Multicast { source })?;
            let question = Question::new(self.mesh, wanted.clone());
            let (tell, ended) = oneshot::channel();
            let _worker = Worker::spawn("mdns-look-up", move |stop| {
                // Nobody waits for the end of a look-up that was dropped.
                let _ = tell.send(ask(question, &found, &stop));
            })
            .map_err(|source| LookUpError::Start { source })?;

            let ended = ended.await.map_err(|_| LookUpError::Died)?;
            ended.map_err(|source| LookUpError::Start { source })
        }
        .boxed()
    }
}

/// Asks in growing intervals until nobody wants more.
fn ask(
    mut question: Question,
    found: &mpsc::Sender<Candidate>,
    stop: &CancellationToken,
) -> io::Result<()> {
    let mut window = FIRST_WINDOW;
    loop {
        let end = Instant::now() + window;
        match generation::live(|clock| listen(&mut question, found, clock, end, stop))?? {
            Ended::Answered => return Ok(()),
            Ended::Window => {}
            Ended::Unfit(unfit) => {
                tracing::debug!(
                    error = &unfit as &dyn std::error::Error,
                    "mDNS look-up rests"
                );
                if !generation::sleep(end.saturating_duration_since(Instant::now()), stop)? {
                    return Ok(());
                }
            }
        }
        window = (window * 2).min(LONGEST_WINDOW);
    }
}

/// Why a generation of the asker ended.
enum Ended {
    /// Nobody wants more, or there may be no more.
    Answered,
    /// It is time to ask again.
    Window,
    /// The listener must be replaced.
    Unfit(Unfit),
}

/// Asks once and listens until `end`.
async fn listen(
    question: &mut Question,
    found: &mpsc::Sender<Candidate>,
    clock: Arc<WorkClock>,
    end: Instant,
    stop: &CancellationToken,
) -> io::Result<Ended> {
    let mut listener = Listener::open(PeerId::random(), clock)?;
    let over = tokio::time::sleep_until(end.into());
    tokio::pin!(over);

    while !question.is_answered() {
        tokio::select! {
            () = stop.cancelled() => break,
            () = found.closed() => break,
            () = &mut over => return Ok(Ended::Window),
            Ok(permit) = found.reserve(), if !question.fresh.is_empty() => {
                if let Some(candidate) = question.fresh.pop_front() {
                    permit.send(candidate);
                }
            }
            heard = listener.heard(), if !question.is_full() => match heard {
                Ok(entries) => question.handle_entries(&entries),
                Err(unfit) => return Ok(Ended::Unfit(unfit)),
            },
        }
    }
    Ok(Ended::Answered)
}

/// What is looked for, and what was found of it. Outlives generations.
#[derive(Debug)]
struct Question {
    mesh: Fingerprint,
    wanted: Wanted,
    most: usize,
    most_of_one_host: usize,
    seen: HashSet<SocketAddr>,
    /// Found, but not yet passed on.
    fresh: VecDeque<Candidate>,
}

impl Question {
    fn new(mesh: Fingerprint, wanted: Wanted) -> Self {
        let (most, most_of_one_host) = match wanted {
            Wanted::Agent(_) => (MAX_CANDIDATES_OF_ONE, MAX_OF_ONE_HOST),
            Wanted::AllAgents => (MAX_CANDIDATES, MAX_OF_ALL_ON_ONE_HOST),
        };
        Self {
            mesh,
            wanted,
            most,
            most_of_one_host,
            seen: HashSet::new(),
            fresh: VecDeque::new(),
        }
    }

    fn handle_entries(&mut self, entries: &[(PeerId, Multiaddr)]) {
        let heard = entries
            .iter()
            .filter_map(|(_, announcement)| Heard::read(announcement));
        for heard in heard.filter(|heard| heard.is_wanted(&self.mesh, &self.wanted)) {
            if !self.is_full() && self.has_room_for(heard.addr) && self.seen.insert(heard.addr) {
                self.fresh.push_back(Candidate {
                    addr: heard.addr,
                    mechanism: Mechanism::Mdns,
                });
            }
        }
    }

    fn has_room_for(&self, addr: SocketAddr) -> bool {
        let of_host = self.seen.iter().filter(|seen| seen.ip() == addr.ip());
        of_host.count() < self.most_of_one_host
    }

    fn is_full(&self) -> bool {
        self.seen.len() >= self.most
    }

    fn is_answered(&self) -> bool {
        self.is_full() && self.fresh.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use libp2p::multiaddr::Protocol;
    use proptest::prelude::*;

    use super::{super::address, *};

    #[test]
    fn only_the_wanted_agent_of_the_own_mesh_is_passed_on() {
        let mut question = Question::new(mesh(b"ours"), agent("srv-linux-01"));

        question.handle_entries(&[
            entry("192.0.2.1:4433", b"theirs", "srv-linux-01"),
            entry("192.0.2.2:4433", b"ours", "srv-linux-02"),
            foreign("/ip4/192.0.2.3/tcp/4001"),
            entry("192.0.2.4:4433", b"ours", "srv-linux-01"),
        ]);

        assert_eq!(fresh(&question), ["192.0.2.4:4433"]);
    }

    #[test]
    fn a_look_up_for_one_agent_is_answered_when_its_limit_is_reached() {
        let mut question = Question::new(mesh(b"ours"), agent("alpha"));
        let flood: Vec<_> = (1..=100)
            .map(|host| entry(&format!("192.0.2.{host}:4433"), b"ours", "alpha"))
            .collect();

        question.handle_entries(&flood);
        assert_eq!(question.fresh.len(), MAX_CANDIDATES_OF_ONE);
        assert!(!question.is_answered());

        question.fresh.clear();
        question.handle_entries(&flood);
        assert!(question.is_answered());
    }

    #[test]
    fn one_host_with_many_ports_leaves_room_for_others() {
        let mut question = Question::new(mesh(b"ours"), agent("alpha"));
        let flood: Vec<_> = (1..=100)
            .map(|port| entry(&format!("192.0.2.66:{port}"), b"ours", "alpha"))
            .collect();

        question.handle_entries(&flood);
        question.handle_entries(&[entry("192.0.2.1:4433", b"ours", "alpha")]);

        let fresh = fresh(&question);
        assert_eq!(fresh.len(), MAX_OF_ONE_HOST + 1);
        assert!(fresh.contains(&"192.0.2.1:4433".to_owned()));
    }

    proptest! {
        #[test]
        fn a_look_up_yields_no_address_twice_and_no_more_than_its_limit(
            hosts in prop::collection::vec(1_u16..40, 0..60),
        ) {
            let mut question = Question::new(mesh(b"ours"), agent("alpha"));
            for host in &hosts {
                question.handle_entries(&[entry(&format!("192.0.2.{host}:4433"), b"ours", "alpha")]);
            }

            let distinct: HashSet<_> = hosts.iter().collect();
            let yielded: HashSet<_> = question.fresh.iter().map(|one| one.addr).collect();
            prop_assert_eq!(yielded.len(), question.fresh.len());
            prop_assert_eq!(yielded.len(), distinct.len().min(MAX_CANDIDATES_OF_ONE));
        }
    }

    fn entry(listen: &str, certificate: &[u8], name: &str) -> (PeerId, Multiaddr) {
        let peer = PeerId::random();
        let name = name.parse().unwrap();
        let addr = address::announced(listen.parse().unwrap(), &mesh(certificate), &name, &peer);
        (peer, addr.with(Protocol::P2p(peer)))
    }

    fn foreign(addr: &str) -> (PeerId, Multiaddr) {
        let peer = PeerId::random();
        (
            peer,
            addr.parse::<Multiaddr>().unwrap().with(Protocol::P2p(peer)),
        )
    }

    fn fresh(question: &Question) -> Vec<String> {
        question
            .fresh
            .iter()
            .map(|candidate| candidate.addr.to_string())
            .collect()
    }

    fn agent(name: &str) -> Wanted {
        Wanted::Agent(name.parse().unwrap())
    }

    fn mesh(certificate: &[u8]) -> Fingerprint {
        Fingerprint::of_certificate(certificate)
    }
}
