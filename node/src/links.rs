//! From a name to a verified link.
//!
//! Owns the race: every mechanism of discovery looks at once, every address is dialled as soon as it
//! is known, and the first node that proves to be the wanted one wins. Addresses are hints from a
//! network that may lie; a wrong one costs a handshake and nothing else.

mod dialled;

use std::{
    collections::{BTreeMap, HashMap, VecDeque, btree_map, hash_map::Entry},
    fmt::{self, Write as _},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use libp2p::futures::{
    FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered,
};
use pki::{Expect, Identity, Revocation};
use proto::id::{NodeId, NodeName, Role};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    close::CloseCode,
    discovery::{
        Candidate, Discovery, LookUpError, Mechanism, Wanted, fixed::KnownAddress, mechanisms,
    },
    link::{DialError, Link},
    transport::{BindError, Transport},
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

/// How long a handshake counts among those, unless others have taken a good part of that. Afterwards
/// it waits for a host that may be gone, which costs nothing and must not keep others waiting.
const TURN: Duration = Duration::from_millis(200);

/// Addresses dialled in one look-up at most, besides known ones: an attacker on the LAN can announce
/// any number.
const MAX_ADDRESSES: usize = 1024;

/// Addresses that a message tells of, so that a liar on the LAN cannot fill the screen.
const MAX_REASONS: usize = 4;

/// The ways from this controller to its agents.
pub struct Links {
    transport: Transport,
    mechanisms: Vec<Box<dyn Discovery>>,
    known: Vec<KnownAddress>,
    lan: Lan,
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links")
            .field("transport", &self.transport)
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
#[derive(Debug)]
pub struct Found {
    /// The link.
    pub link: Arc<Link>,
    /// Who knew the address.
    pub mechanism: Mechanism,
}

/// Nobody proved to be the wanted node in time.
#[derive(Debug)]
pub struct Unreachable {
    /// Who was wanted.
    pub name: NodeName,
    /// How long was waited.
    pub window: Duration,
    /// What came of each address.
    pub tried: Vec<(Candidate, DialError)>,
    /// Whether the LAN was asked.
    pub lan: Lan,
    /// Mechanisms that could not look at all.
    pub blind: Vec<LookUpError>,
}

impl std::error::Error for Unreachable {}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            window,
            tried,
            blind,
            lan,
        } = self;
        let looked = *lan == Lan::Ask;
        write!(f, "{name} is not reachable: ")?;
        let mut reasons = Vec::new();
        if tried.is_empty() && !looked {
            reasons
                .push("no address of it is known, and the LAN is not asked (mdns = false)".into());
        } else if looked
            && blind.is_empty()
            && !tried
                .iter()
                .any(|(from, _)| from.mechanism == Mechanism::Mdns)
        {
            reasons.push(format!(
                "no answer on the LAN within {} s",
                window.as_secs_f32()
            ));
        }
        for error in blind {
            reasons.push(chain(error));
        }
        let most = tried.iter().map(|(_, error)| error.weight()).max();
        let telling = tried
            .iter()
            .filter(|(_, error)| Some(error.weight()) == most);
        for (from, error) in telling.clone().take(MAX_REASONS) {
            reasons.push(format!("{} ({})", chain(error), from.mechanism));
        }
        let more = telling.skip(MAX_REASONS).count();
        if more > 0 {
            reasons.push(format!("and {more} more addresses alike"));
        }
        f.write_str(&reasons.join("; "))
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
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
    ) -> Result<Self, BindError> {
        let transport = Transport::bind_caller(identity, revocation)?;
        let mut mechanisms = mechanisms(identity.fingerprint(), known.clone());
        mechanisms.retain(|one| lan == Lan::Ask || one.mechanism() != Mechanism::Mdns);
        Ok(Self {
            transport,
            mechanisms,
            known,
            lan,
        })
    }

    /// Finds the agent called `name` and links to it: the first address at which it proves itself.
    ///
    /// # Errors
    /// Nobody did within `window`.
    ///
    /// # Cancel safety
    /// Dropping the future ends the look-up and its handshakes.
    pub async fn to(&self, name: &NodeName, window: Duration) -> Result<Found, Unreachable> {
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
    pub async fn all(&self, window: Duration) -> (BTreeMap<NodeName, Found>, Vec<LookUpError>) {
        let wanted = Wanted::AllAgents;
        let mut race = Race::new(self, &wanted, Expect::AnyOf(Role::Agent));
        race.known_left = self.known.len();
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
        self.known.iter().any(|known| wanted.includes(&known.name))
    }

    /// Closes every link. The peers are told once; one that does not hear it sees the silence.
    ///
    /// Does not wait for the draining period of RFC 9000 §10.2, which would cost each command three
    /// round trips and the peer's acknowledgement delay.
    pub async fn shutdown(&self) {
        self.transport.farewell(CloseCode::Done).await;
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
    fn new(links: &'a Links, wanted: &'a Wanted, expect: Expect) -> Self {
        // As many as are dialled at once; the mechanisms wait for the rest.
        let (found, candidates) = mpsc::channel(MAX_DIALS);
        let looking = FuturesUnordered::new();
        for mechanism in &links.mechanisms {
            let found = found.clone();
            looking.push(
                async move {
                    if mechanism.mechanism() != Mechanism::Fixed && links.knows(wanted) {
                        sleep(HEAD_START).await;
                    }
                    mechanism.look_up(wanted, found).await
                }
                .boxed(),
            );
        }
        Self {
            transport: &links.transport,
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
            blind: std::mem::take(&mut self.blind),
        }
    }
}
