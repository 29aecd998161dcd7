//! Links that stay up between their uses.
//!
//! Owns which links are kept, for how long, and when one is no longer believed. How an agent is
//! found and dialled is `links`' business.
//!
//! A link that is closed shows it. One whose agent died without a word does not, for as long as a
//! link may be silent; so each use is watched: when nothing comes back, the agent is dialled anew
//! beside it, and only a new link that is up replaces the silent one.
//!
//! A link is kept no longer than the handshake that made it could be made again: past the end of a
//! certificate or of the revocation list, the agent has to prove itself anew. What runs over the link
//! then keeps it.
//!
//! **Invariant:** at most one look-up of an agent is in progress for all who want it. Guarded by
//! `many_callers_of_one_agent_share_one_link` of the scenarios.

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ::time::OffsetDateTime;
use proto::id::NodeName;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{Found, Unreachable, Ways};
use crate::{close::CloseCode, discovery::Mechanism, link::Link};

/// For how long a failed look-up answers for the next ones: just so long that many who want a dead
/// host at once do not each wait for it, and that nobody who starts an agent notices.
const BACK_OFF: Duration = Duration::from_millis(500);

/// How long an agent that was spoken to may stay silent, besides four round trips. It may delay an
/// acknowledgement by a sixth of it (RFC 9000 §18.2).
const SILENCE: Duration = Duration::from_millis(150);

/// How long an agent is looked for whose link is silent.
const SECOND_LOOK: Duration = Duration::from_secs(2);

/// Of a full house, one link in so many makes room, so that it is not searched for each newcomer.
const SHARE_EVICTED: usize = 16;

/// How many links are kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WarmLimits {
    /// Links at most; the one that was used least lately makes room.
    pub most: usize,
    /// How long one is kept that nobody uses.
    pub idle: Duration,
}

impl Default for WarmLimits {
    /// 8,192 links for 10 minutes: a large fleet, at some 40 KiB a link.
    fn default() -> Self {
        Self {
            most: 8192,
            idle: Duration::from_secs(600),
        }
    }
}

/// A link that is kept, as one shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmLink {
    /// To whom.
    pub name: NodeName,
    /// Where.
    pub addr: SocketAddr,
    /// Who knew the address.
    pub mechanism: Mechanism,
    /// The current estimate of the round trip.
    pub rtt: Duration,
    /// How long ago it was asked for last.
    pub idle: Duration,
}

/// The links that are kept.
pub(super) struct Warm {
    limits: WarmLimits,
    seats: Mutex<HashMap<NodeName, Arc<Seat>>>,
    watches: Mutex<JoinSet<()>>,
}

impl fmt::Debug for Warm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Warm")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Where one agent's link is kept.
#[derive(Default)]
pub(super) struct Seat {
    /// Held by whoever looks for the agent.
    pub(super) looking: tokio::sync::Mutex<()>,
    /// Never locked across an await.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: Option<Kept>,
    failed: Option<(Instant, Unreachable)>,
}

struct Kept {
    found: Found,
    used: Instant,
    /// Packets that had come from the agent when it was asked for last.
    heard: u64,
    watched: bool,
}

impl Warm {
    pub(super) fn new(limits: WarmLimits) -> Self {
        Self {
            limits,
            seats: Mutex::default(),
            watches: Mutex::default(),
        }
    }

    /// Returns the kept link to `name`, or makes one.
    pub(super) async fn to(
        &self,
        ways: &Arc<Ways>,
        name: &NodeName,
        window: Duration,
    ) -> Result<Found, Unreachable> {
        let asked = Instant::now();
        let seat = self.seat(name);
        if let Some(found) = self.take(ways, &seat) {
            return Ok(found);
        }
        let Ok(_looking) = timeout(window, seat.looking.lock()).await else {
            return Err(nobody_yet(ways, name, window));
        };
        if let Some(found) = self.take(ways, &seat) {
            return Ok(found);
        }
        if let Some(failed) = seat.failure(ways, asked, window) {
            return Err(failed);
        }
        // Whoever waited for another's look-up has so much less time for its own.
        let left = window.saturating_sub(asked.elapsed());
        match ways.to(name, left).await {
            Ok(found) => {
                self.put(&seat, found.clone());
                Ok(found)
            }
            Err(unreachable) => {
                let failed = Unreachable {
                    window,
                    ..unreachable
                };
                seat.state().failed = Some((Instant::now(), failed.clone()));
                Err(failed)
            }
        }
    }

    /// Keeps `found`, unless there is a link to that agent already.
    pub(super) fn keep(&self, found: &Found) {
        let seat = self.seat(&found.link.peer().name);
        let is_free = seat.state().live(OffsetDateTime::now_utc()).is_none();
        if is_free {
            self.put(&seat, found.clone());
        }
    }

    /// Returns what is kept, by name.
    pub(super) fn list(&self) -> Vec<WarmLink> {
        let seats = self.seats();
        let kept = seats.iter().filter_map(|(name, seat)| {
            let mut state = seat.state();
            let kept = state.live(OffsetDateTime::now_utc())?;
            Some(WarmLink {
                name: name.clone(),
                addr: kept.found.link.remote_address(),
                mechanism: kept.found.mechanism,
                rtt: kept.found.link.rtt(),
                idle: kept.used.elapsed(),
            })
        });
        let mut kept: Vec<_> = kept.collect();
        kept.sort_by(|a, b| a.name.cmp(&b.name));
        kept
    }

    /// Lets go of what is closed, idle for too long, or of no use.
    pub(super) fn sweep(&self) {
        let idle = self.limits.idle;
        self.seats().retain(|_, seat| {
            if Arc::strong_count(seat) > 1 {
                return true; // somebody is about to use it
            }
            let mut state = seat.state();
            let recent = |(at, _): &(Instant, Unreachable)| at.elapsed() < BACK_OFF;
            let failed = state.failed.as_ref().is_some_and(recent);
            match state.live(OffsetDateTime::now_utc()) {
                Some(kept) if kept.is_free() && kept.used.elapsed() >= idle => {
                    kept.found.link.close(CloseCode::Done);
                    failed
                }
                Some(_) => true,
                None => failed,
            }
        });
    }

    pub(super) fn seat(&self, name: &NodeName) -> Arc<Seat> {
        let mut seats = self.seats();
        if let Some(seat) = seats.get(name) {
            return Arc::clone(seat);
        }
        let seat = Arc::<Seat>::default();
        seats.insert(name.clone(), Arc::clone(&seat));
        seat
    }

    /// Takes the link that is kept, and sees to it that it is watched.
    fn take(&self, ways: &Arc<Ways>, seat: &Arc<Seat>) -> Option<Found> {
        let mut state = seat.state();
        let kept = state.live(OffsetDateTime::now_utc())?;
        kept.used = Instant::now();
        kept.heard = kept.found.link.heard();
        let found = kept.found.clone();
        if !std::mem::replace(&mut kept.watched, true) {
            let watch = watch(Arc::clone(ways), Arc::clone(seat), Arc::clone(&found.link));
            let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
            while watches.try_join_next().is_some() {}
            watches.spawn(watch);
        }
        Some(found)
    }

    pub(super) fn put(&self, seat: &Seat, found: Found) {
        self.make_room();
        *seat.state() = State {
            kept: Some(Kept::new(found)),
            failed: None,
        };
    }

    /// Lets go of the links that were used least lately, if there are as many as there may be.
    fn make_room(&self) {
        let mut seats = self.seats();
        if seats.len() <= self.limits.most {
            return;
        }
        let mut free: Vec<(Instant, NodeName)> = seats
            .iter()
            .filter(|(_, seat)| Arc::strong_count(seat) == 1)
            .filter_map(|(name, seat)| Some((seat.state().free_since()?, name.clone())))
            .collect();
        free.sort();
        for (_, name) in free.iter().take(self.limits.most.div_ceil(SHARE_EVICTED)) {
            let seat = seats.remove(name);
            if let Some(kept) = seat.and_then(|seat| seat.state().kept.take()) {
                kept.found.link.close(CloseCode::Done);
            }
        }
    }

    fn seats(&self) -> MutexGuard<'_, HashMap<NodeName, Arc<Seat>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the failure that answers for this look-up, too: it waited as long, at the same
    /// addresses, and has just ended.
    fn failure(&self, ways: &Ways, asked: Instant, window: Duration) -> Option<Unreachable> {
        let state = self.state();
        let (at, failed) = state.failed.as_ref()?;
        let is_recent = at.elapsed() < BACK_OFF || *at >= asked;
        let answers = is_recent && failed.window >= window && ways.has_tried(failed);
        answers.then(|| failed.clone())
    }

    /// Returns the link that is kept, if it is up and not this one.
    pub(super) fn other_than(&self, link: &Arc<Link>) -> Option<Found> {
        let mut state = self.state();
        let kept = state.live(OffsetDateTime::now_utc())?;
        (!Arc::ptr_eq(&kept.found.link, link)).then(|| kept.found.clone())
    }

    /// Puts `found` in the place of the link that is silent.
    fn replace(&self, silent: &Arc<Link>, found: Found) {
        let mut state = self.state();
        if let Some(kept) = &mut state.kept
            && Arc::ptr_eq(&kept.found.link, silent)
        {
            *kept = Kept::new(found);
        }
    }
}

impl State {
    /// Returns what is kept, if its link is up and still believed.
    fn live(&mut self, now: OffsetDateTime) -> Option<&mut Kept> {
        let is_over = |kept: &mut Kept| {
            kept.found.link.closed().is_some() || now > kept.found.link.trusted_until()
        };
        if let Some(over) = self.kept.take_if(is_over)
            && over.is_free()
        {
            over.found.link.close(CloseCode::Done);
        }
        self.kept.as_mut()
    }

    /// Returns since when nobody needs what is here; `None` if somebody does.
    fn free_since(&mut self) -> Option<Instant> {
        let failed = self.failed.as_ref().map(|(at, _)| *at);
        match self.live(OffsetDateTime::now_utc()) {
            Some(kept) => kept.is_free().then_some(kept.used),
            None => failed,
        }
    }
}

impl Kept {
    fn new(found: Found) -> Self {
        Self {
            heard: found.link.heard(),
            used: Instant::now(),
            watched: false,
            found,
        }
    }

    /// Tells whether nobody uses the link.
    fn is_free(&self) -> bool {
        Arc::strong_count(&self.found.link) == 1
    }
}

/// Sees whether the agent is heard after the uses of its link, until none came meanwhile.
async fn watch(ways: Arc<Ways>, seat: Arc<Seat>, link: Arc<Link>) {
    loop {
        let patience = SILENCE + 4 * link.rtt();
        sleep(patience).await;
        let Some(heard) = still_silent(&seat, &link) else {
            return;
        };
        // Perhaps nothing had to be answered.
        link.nudge();
        sleep(patience).await;
        if link.heard() != heard || link.closed().is_some() {
            continue;
        }
        let name = link.peer().name.clone();
        match ways.to(&name, SECOND_LOOK).await {
            Ok(found) if link.heard() == heard => {
                tracing::info!(peer = %name, "a link was silent, and another one took its place");
                seat.replace(&link, found);
                link.close(CloseCode::Abandoned);
                return;
            }
            Ok(found) => found.link.close(CloseCode::Superfluous),
            // Nobody is there by another way either: the link's own limit of silence decides.
            Err(_) => {}
        }
    }
}

/// Returns the packets that had come at the last use if none has since; else the watch is over.
fn still_silent(seat: &Seat, link: &Arc<Link>) -> Option<u64> {
    let mut state = seat.state();
    let kept = state.live(OffsetDateTime::now_utc())?;
    if !Arc::ptr_eq(&kept.found.link, link) {
        return None;
    }
    kept.watched = kept.found.link.heard() == kept.heard;
    kept.watched.then_some(kept.heard)
}

fn nobody_yet(ways: &Ways, name: &NodeName, window: Duration) -> Unreachable {
    Unreachable {
        name: name.clone(),
        window,
        tried: Vec::new(),
        lan: ways.lan,
        blind: Vec::new(),
    }
}
