//! From a name to a verified link.
//!
//! Owns the race: every mechanism of discovery looks at once, every address is dialled as soon as it
//! is known, and the first node that proves to be the wanted one wins. Addresses are hints from a
//! network that may lie; a wrong one costs a handshake and nothing else.

mod back;
mod dialled;
mod unreachable;
mod warm;

use std::{
    collections::{BTreeMap, HashMap, VecDeque, btree_map, hash_map::Entry},
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use libp2p::futures::{
    FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered,
};
use pki::{Expect, Identity, Revocation};
use proto::id::{NodeId, NodeName, Role};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    close::CloseCode,
    discovery::{
        Candidate, Discovery, LookUpError, Mechanism, Wanted,
        fixed::{Fixed, KnownAddress},
        mechanisms,
    },
    link::{DialError, Link},
    transport::{BindError, Readers, Transport},
};

use self::warm::Warm;
pub use self::{
    unreachable::Unreachable,
    warm::{WarmLimits, WarmLink},
};

use self::dialled::Dialled;

/// How long known addresses are tried alone, so that the ordinary case disturbs nobody by multicast.
///
/// A handshake on a LAN takes a few milliseconds; on a longer path the look-up starts meanwhile.
const HEAD_START: Duration = Duration::from_millis(20);

/// Silence after the last answer that ends a listing.
const LISTING_QUIET: Duration = Duration::from_millis(300);

/// Handshakes in progress at once. More would only slow each other down.
const MAX_DIALS: usize = 64;

/// Look-ups on the LAN in progress at once: each has a thread and sockets of its own, so a command
/// on many targets must not begin one for each of them. The others wait, while their known
/// addresses are tried.
const MAX_LAN_LOOK_UPS: usize = 4;

/// Dials on the way back to lost links in progress at once, of all runs: enough for one that dials every
/// 40 ms, and no storm where a thousand lost theirs together.
const MAX_SEARCHES: usize = 256;

/// How long a handshake counts among those, unless others have taken a good part of that. Afterwards
/// it waits for a host that may be gone, which costs nothing and must not keep others waiting.
const TURN: Duration = Duration::from_millis(200);

/// Addresses dialled in one look-up at most, besides known ones: an attacker on the LAN can announce
/// any number.
const MAX_ADDRESSES: usize = 1024;

/// Addresses that are learnt on the way and kept, the newest first.
const MAX_LEARNT: usize = 16 * 1024;

/// The ways from this controller to its agents.
pub struct Links {
    ways: Arc<Ways>,
    warm: Option<Warm>,
}

/// What finding and dialling needs.
struct Ways {
    transport: Transport,
    mechanisms: Vec<Box<dyn Discovery>>,
    known: Vec<KnownAddress>,
    /// Never locked across an await.
    learnt: Mutex<VecDeque<KnownAddress>>,
    lan: Lan,
    lan_look_ups: Semaphore,
    /// Dials on the way back, of all runs.
    searches: Arc<Semaphore>,
}

/// What becomes of a link after its use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It ends with its last user, as one command needs it.
    Nothing,
    /// It stays up for the next one, within these limits.
    Warm(WarmLimits),
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links")
            .field("transport", &self.ways.transport)
            .field("warm", &self.warm)
            .finish_non_exhaustive()
    }
}

/// Whether agents are looked for on the LAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lan {
    /// By mDNS, on every interface.
    Ask,
    /// Nothing is sent there.
    Ignore,
}

/// A link, and how its address was learnt.
#[derive(Debug, Clone)]
pub struct Found {
    /// The link.
    pub link: Arc<Link>,
    /// Who knew the address.
    pub mechanism: Mechanism,
}

impl Links {
    /// Binds a socket to dial from.
    ///
    /// # Errors
    /// The socket or TLS could not be set up.
    pub fn bind(
        identity: &Identity,
        revocation: &Revocation,
        known: Vec<KnownAddress>,
        lan: Lan,
        keep: Keep,
    ) -> Result<Self, BindError> {
        let (readers, warm) = match keep {
            Keep::Nothing => (Readers::One, None),
            Keep::Warm(limits) => (Readers::Many, Some(Warm::new(limits))),
        };
        let transport = Transport::bind_caller(identity, revocation, readers)?;
        let mut mechanisms = mechanisms(identity.fingerprint(), known.clone());
        mechanisms.retain(|one| lan == Lan::Ask || one.mechanism() != Mechanism::Mdns);
        let ways = Arc::new(Ways {
            transport,
            mechanisms,
            known,
            learnt: Mutex::default(),
            lan,
            lan_look_ups: Semaphore::new(MAX_LAN_LOOK_UPS),
            searches: Arc::new(Semaphore::new(MAX_SEARCHES)),
        });
        Ok(Self { ways, warm })
    }

    /// Takes note of an address besides those that were known at first.
    pub fn learn(&self, address: KnownAddress) {
        let mut learnt = self.ways.learnt();
        if learnt.front() == Some(&address) {
            return;
        }
        learnt.retain(|known| *known != address);
        learnt.push_front(address);
        learnt.truncate(MAX_LEARNT);
    }

    /// Finds the agent called `name` and links to it: the first address at which it proves itself.
    /// A link that was kept is taken where it is up.
    ///
    /// # Errors
    /// Nobody did within `window`.
    ///
    /// # Cancel safety
    /// Dropping the future ends the look-up and its handshakes.
    pub async fn to(&self, name: &NodeName, window: Duration) -> Result<Found, Unreachable> {
        match &self.warm {
            Some(warm) => warm.to(&self.ways, name, window).await,
            None => self.ways.to(name, window).await,
        }
    }

    /// Links anew to every agent that answers; ends a moment after the last answer, and after
    /// `window` at the latest. One link per agent: the first that came up.
    ///
    /// # Cancel safety
    /// Dropping the future ends the look-up and its handshakes.
    pub async fn all(&self, window: Duration) -> (BTreeMap<NodeName, Found>, Vec<LookUpError>) {
        let (agents, blind) = self.ways.all(window).await;
        if let Some(warm) = &self.warm {
            agents.values().for_each(|found| warm.keep(found));
        }
        (agents, blind)
    }

    /// Returns the links that are kept.
    #[must_use]
    pub fn kept(&self) -> Vec<WarmLink> {
        self.warm.as_ref().map(Warm::list).unwrap_or_default()
    }

    /// Lets go of links that have been idle for too long, and of those that are closed.
    pub fn sweep(&self) {
        self.warm.as_ref().inspect(|warm| warm.sweep());
    }

    /// Closes every link. The peers are told once; one that does not hear it sees the silence.
    ///
    /// Does not wait for the draining period of RFC 9000 §10.2, which would cost each command three
    /// round trips and the peer's acknowledgement delay.
    pub async fn shutdown(&self) {
        self.close(CloseCode::Done).await;
    }

    /// Closes every link as [`Links::shutdown`] does, and says why.
    pub async fn close(&self, code: CloseCode) {
        self.ways.transport.farewell(code).await;
    }
}

impl Ways {
    async fn to(&self, name: &NodeName, window: Duration) -> Result<Found, Unreachable> {
        let expect = Expect::Node(NodeId {
            role: Role::Agent,
            name: name.clone(),
        });
        let wanted = Wanted::Agent(name.clone());
        let mut race = Race::new(self, &wanted, expect);
        let deadline = sleep(window);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                won = race.next() => match won {
                    Some(Ok(found)) => return Ok(found),
                    Some(Err(_)) => {}
                    None => break,
                },
                () = &mut deadline => break,
            }
        }
        Err(race.lost(name.clone(), window, self.lan))
    }

    /// Links to every agent that answers and introduces itself; ends a moment after the last answer,
    /// and `window` after the last known address was dialled at the latest. One link per agent: the
    /// first that came up.
    ///
    /// # Cancel safety
    /// Dropping the future ends the look-up and its handshakes.
    async fn all(&self, window: Duration) -> (BTreeMap<NodeName, Found>, Vec<LookUpError>) {
        let wanted = Wanted::AllAgents;
        let mut race = Race::new(self, &wanted, Expect::AnyOf(Role::Agent));
        race.known_left = self.known.len() + self.learnt().len();
        let mut agents = BTreeMap::<NodeName, Found>::new();
        loop {
            let wait = race.listing_wait(agents.is_empty(), window);
            tokio::select! {
                won = race.next() => match won {
                    Some(Ok(found)) => match agents.entry(found.link.peer().name.clone()) {
                        btree_map::Entry::Vacant(entry) => drop(entry.insert(found)),
                        btree_map::Entry::Occupied(_) => found.link.close(CloseCode::Superfluous),
                    },
                    Some(Err(_)) => {}
                    None => break,
                },
                () = sleep_until(wait.until) => if wait.is_last { break },
            }
        }
        let blind = std::mem::take(&mut race.blind);
        (agents, blind)
    }

    fn knows(&self, wanted: &Wanted) -> bool {
        let learnt = self.learnt();
        let mut known = self.known.iter().chain(learnt.iter());
        known.any(|known| wanted.includes(&known.name))
    }

    fn learnt(&self) -> std::sync::MutexGuard<'_, VecDeque<KnownAddress>> {
        // Addresses are hints: whatever a panic elsewhere left of them will do.
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether a failed look-up tried every address that is known by now.
    fn has_tried(&self, failed: &Unreachable) -> bool {
        let tried = |addr| failed.tried.iter().any(|(from, _)| from.addr == addr);
        let learnt = self.learnt();
        let mut known = learnt.iter().filter(|known| known.name == failed.name);
        known.all(|known| tried(known.addr))
    }

    /// Returns what was learnt of `wanted`, for a mechanism that only repeats it.
    fn recall(&self, wanted: &Wanted) -> Fixed {
        let learnt = self.learnt();
        let known = learnt.iter().filter(|known| wanted.includes(&known.name));
        Fixed::new(known.cloned().collect())
    }
}

/// What a listing waits for.
struct Wait {
    until: Instant,
    /// Whether the listing is over then.
    is_last: bool,
}

/// Look-ups and handshakes in progress.
struct Race<'a> {
    transport: &'a Transport,
    expect: Expect,
    looking: FuturesUnordered<BoxFuture<'a, Result<(), LookUpError>>>,
    candidates: mpsc::Receiver<Candidate>,
    /// Known addresses of a listing that wait to be dialled.
    known_left: usize,
    /// When the last known address was dialled; the start, before that.
    last_known: Instant,
    /// When the last handshake ended; the start, before that.
    progress: Instant,
    /// The longest that a handshake took which made a link.
    slowest: Duration,
    /// The handshakes that count as being in progress, the oldest first.
    on_turn: VecDeque<(Instant, SocketAddr)>,
    /// How many addresses were dialled that nobody vouched for.
    strangers: usize,
    /// Every address that was dialled, and who knew it.
    seen: HashMap<SocketAddr, Candidate>,
    dials: JoinSet<Dialled>,
    tried: Vec<(Candidate, DialError)>,
    blind: Vec<LookUpError>,
}

impl<'a> Race<'a> {
    fn new(ways: &'a Ways, wanted: &'a Wanted, expect: Expect) -> Self {
        // As many as are dialled at once; the mechanisms wait for the rest.
        let (found, candidates) = mpsc::channel(MAX_DIALS);
        let looking = FuturesUnordered::new();
        let learnt = ways.recall(wanted);
        let told = found.clone();
        looking.push(async move { learnt.look_up(wanted, told).await }.boxed());
        for mechanism in &ways.mechanisms {
            let found = found.clone();
            looking.push(
                async move {
                    if mechanism.mechanism() != Mechanism::Fixed && ways.knows(wanted) {
                        sleep(HEAD_START).await;
                    }
                    let _turn = match mechanism.mechanism() {
                        // Never closed.
                        Mechanism::Mdns => ways.lan_look_ups.acquire().await.ok(),
                        Mechanism::Fixed => None,
                    };
                    mechanism.look_up(wanted, found).await
                }
                .boxed(),
            );
        }
        Self {
            transport: &ways.transport,
            expect,
            looking,
            candidates,
            known_left: 0,
            last_known: Instant::now(),
            progress: Instant::now(),
            slowest: Duration::ZERO,
            on_turn: VecDeque::new(),
            strangers: 0,
            seen: HashMap::new(),
            dials: JoinSet::new(),
            tried: Vec::new(),
            blind: Vec::new(),
        }
    }

    /// Returns what came of the next handshake; `None` when nothing more can come.
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped.
    async fn next(&mut self) -> Option<Result<Found, ()>> {
        loop {
            let end_of_turn = self.end_of_turn();
            tokio::select! {
                Some(candidate) = self.candidates.recv(), if self.on_turn.len() < MAX_DIALS => {
                    self.dial(candidate);
                }
                () = sleep_until(end_of_turn), if self.on_turn.len() >= MAX_DIALS => {
                    self.on_turn.pop_front();
                }
                Some(dialled) = self.dials.join_next() => match dialled {
                    Ok(Dialled { from, result: Ok(link), taken }) => {
                        self.over(&from);
                        self.slowest = self.slowest.max(taken);
                        return Some(Ok(Found { link: Arc::new(link), mechanism: from.mechanism }));
                    }
                    Ok(Dialled { from, result: Err(error), .. }) => {
                        self.over(&from);
                        tracing::debug!(addr = %from.addr, %error, "an address did not lead to the agent");
                        self.tried.push((from, error));
                        return Some(Err(()));
                    }
                    Err(broken) => tracing::error!(error = %broken, "a dial broke"),
                },
                Some(looked) = self.looking.next() => {
                    self.blind.extend(looked.err());
                }
                else => return None,
            }
        }
    }

    fn dial(&mut self, candidate: Candidate) {
        match candidate.mechanism {
            Mechanism::Fixed => {
                self.known_left = self.known_left.saturating_sub(1);
                self.last_known = Instant::now();
            }
            Mechanism::Mdns if self.strangers >= MAX_ADDRESSES => return,
            Mechanism::Mdns => {}
        }
        let Entry::Vacant(seen) = self.seen.entry(candidate.addr) else {
            return;
        };
        seen.insert(candidate);
        self.strangers += usize::from(candidate.mechanism == Mechanism::Mdns);
        let (transport, expect) = (self.transport.clone(), self.expect.clone());
        self.dials.spawn(Dialled::by(transport, expect, candidate));
        self.on_turn.push_back((Instant::now(), candidate.addr));
    }

    /// Notes that a handshake has ended.
    fn over(&mut self, from: &Candidate) {
        self.progress = Instant::now();
        self.on_turn.retain(|(_, addr)| *addr != from.addr);
    }

    /// Says when the oldest handshake has had its turn: where handshakes take long, turns do, too, or
    /// ever more of them would slow each other down.
    fn end_of_turn(&self) -> Instant {
        let oldest = self.on_turn.front();
        let begun = oldest.map_or_else(Instant::now, |(begun, _)| *begun);
        begun + TURN.max(4 * self.slowest)
    }

    /// Says how long a listing waits for what comes next.
    fn listing_wait(&self, nobody_yet: bool, window: Duration) -> Wait {
        if self.known_left > 0 {
            // Who was not asked yet has not been silent.
            let until = Instant::now() + window.min(LISTING_QUIET);
            let is_last = false;
            return Wait { until, is_last };
        }
        let end = self.last_known + window;
        // Where answers take long, so does the silence that means something.
        let quiet = LISTING_QUIET.max(2 * self.slowest);
        let until = match nobody_yet {
            true => end,
            false => end.min(self.progress.max(self.last_known) + quiet),
        };
        let is_last = true;
        Wait { until, is_last }
    }

    fn lost(mut self, name: NodeName, window: Duration, lan: Lan) -> Unreachable {
        for (from, _) in &self.tried {
            self.seen.remove(&from.addr);
        }
        let unanswered = self
            .seen
            .drain()
            .map(|(addr, from)| (from, DialError::NoAnswer { addr }));
        self.tried.extend(unanswered);
        Unreachable {
            name,
            window,
            lan,
            tried: std::mem::take(&mut self.tried),
            blind: std::mem::take(&mut self.blind)
                .into_iter()
                .map(Arc::new)
                .collect(),
        }
    }
}
